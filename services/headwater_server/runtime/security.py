"""Where a server may listen, and with which certificates."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

import grpc

from headwater_server.runtime.front_http2.tls import http2_context
from headwater_server.runtime.settings import Settings, SettingsError, TlsSettings


def split_address(address: str) -> tuple[str, int]:
    """Splits `host:port`; an IPv6 host stands in brackets.

    Raises:
        SettingsError: It is no address.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise SettingsError(f"address: {address!r} is not host:port, such as 127.0.0.1:50051")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings) -> None:
    """Refuses to listen beyond loopback without TLS, unless `insecure` says so.

    Raises:
        SettingsError: It would be exposed.
    """
    host, _ = split_address(settings.address)
    if is_loopback(host) or settings.tls.cert is not None or settings.insecure:
        return
    raise SettingsError(
        f"{settings.address} can be reached from other machines, and there is no TLS: set tls.cert and tls.key, "
        "or listen on 127.0.0.1, or say --insecure if something else protects it"
    )


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials | None:
    """The server's credentials; None without a certificate.

    Raises:
        SettingsError: A file cannot be read, or does not hold what it should.
    """
    if tls.cert is None or tls.key is None:
        return None
    key, cert = _read_pair(tls.key, tls.cert)
    client_ca = _read_authorities(tls.client_ca) if tls.client_ca is not None else None
    return grpc.ssl_server_credentials(
        [(key, cert)], root_certificates=client_ca, require_client_auth=client_ca is not None
    )


def server_context(tls: TlsSettings) -> ssl.SSLContext | None:
    """The same for the front over HTTP/2.

    Raises:
        SettingsError: A file cannot be read, or does not hold what it should.
    """
    if tls.cert is None or tls.key is None:
        return None
    _read_pair(tls.key, tls.cert)
    if tls.client_ca is not None:
        _read_authorities(tls.client_ca)
    return http2_context(tls.cert, tls.key, client_ca=tls.client_ca)


def channel_credentials(tls: TlsSettings) -> grpc.ChannelCredentials | None:
    """The credentials for calls to the other services; None without `upstream_ca`.

    Raises:
        SettingsError: A file cannot be read, or does not hold what it should.
    """
    if tls.upstream_ca is None:
        return None
    key, cert = _read_pair(tls.key, tls.cert) if tls.key is not None and tls.cert is not None else (None, None)
    return grpc.ssl_channel_credentials(_read_authorities(tls.upstream_ca), key, cert)


def _read_pair(key: Path, cert: Path) -> tuple[bytes, bytes]:
    """A private key and its certificate chain, tried out: gRPC would fail without a reason."""
    contents = _read(key), _read(cert)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"{cert} and {key} are not a certificate chain and its private key, PEM, without a password: {error}"
        ) from error
    return contents


def _no_password() -> str:
    raise ValueError("the key has a password")


def _read_authorities(path: Path) -> bytes:
    content = _read(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise SettingsError(f"{path} has no certificates, PEM: {error}") from error
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
