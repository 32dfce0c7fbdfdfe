"""Where the server is, and how to connect to it."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from headwater._exceptions import ArgumentError
from headwater._version import __version__

TARGET_VARIABLE = "HEADWATER_TARGET"
DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_PORT = 50051
DEFAULT_TIMEOUT = 30.0
DEFAULT_KEEPALIVE = 1.0

# A terminal message stays under 4 MiB; the rest is room for what newer servers may add.
_MAX_MESSAGE_BYTES = 8 * 1024 * 1024
# With these and the default keepalive a frozen peer is noticed within three seconds.
_KEEPALIVE_TIMEOUT_MS = 1800
_RESOLVERS = ("dns:", "ipv4:", "ipv6:", "xds:")


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How to secure the connection. Each file is PEM, given by its path, or as its bytes."""

    ca: str | Path | bytes | None = None
    """The certificates to trust. None: those that come with gRPC."""
    certificate: str | Path | bytes | None = None
    """The client's own certificate chain, for a server that asks for one."""
    key: str | Path | bytes | None = field(default=None, repr=False)
    """The private key of the client's certificate."""
    server_name: str | None = None
    """The name that the server's certificate must have. None: the host of the target."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ArgumentError("a client's certificate and its key go together: give both, or none")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server, and how to connect to it. Its `repr` has no secret."""

    target: str
    """The address, in gRPC's syntax."""
    options: tuple[tuple[str, int | str], ...]
    """The channel's options."""
    credentials: grpc.ChannelCredentials | None = field(repr=False)
    """What secures the connection. None: plain text."""
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    """What goes with each call."""


def resolve_endpoint(
    target: str | None,
    *,
    token: str | None,
    tls: TlsSettings | None,
    insecure: bool,
    keepalive: float | None,
    user_agent: str,
) -> Endpoint:
    """Decides where and how to connect: in plain text to loopback, with TLS elsewhere unless `insecure` says otherwise.

    Raises:
        ArgumentError: The settings contradict each other, a file cannot be read, or a token would be sent in plain
            text.
    """
    address = _with_port(target or os.environ.get(TARGET_VARIABLE) or DEFAULT_TARGET)
    local = is_loopback(address)
    if tls is not None and insecure:
        raise ArgumentError("tls and insecure=True contradict each other: leave one of them out")
    secure = tls is not None or not (local or insecure)
    if token is not None:
        _check_token(token, address, in_the_clear=not secure and not local)
    return Endpoint(
        target=address,
        options=_options(local=local, keepalive=keepalive, user_agent=user_agent, tls=tls),
        credentials=_credentials(tls or TlsSettings()) if secure else None,
        metadata=(("authorization", f"Bearer {token}"),) if token is not None else (),
    )


def is_loopback(target: str) -> bool:
    """Whether an address stays on this machine: `localhost`, 127.0.0.0/8, ::1, or a Unix socket."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = _host(target)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(target: str) -> str:
    for scheme in _RESOLVERS:
        target = target.removeprefix(scheme)
    address = target.rsplit("/", 1)[-1]
    if "," in address:
        return ""  # several addresses: treated as not local, which is the careful side
    if address.startswith("["):
        return address[1:].split("]")[0]
    return address.rsplit(":", 1)[0] if address.count(":") == 1 else address


def _with_port(target: str) -> str:
    target = target.strip()
    if "://" in target and not target.startswith(("unix:", "unix-abstract:", *_RESOLVERS)):
        raise ArgumentError(f"a target is host:port, without a scheme: {target!r}")
    if not target or target.startswith(("unix:", "unix-abstract:", *_RESOLVERS)):
        return target
    if target.startswith("["):
        return target if "]:" in target else f"{target}:{DEFAULT_PORT}"
    if target.count(":") > 1:
        return f"[{target}]:{DEFAULT_PORT}"
    return target if ":" in target else f"{target}:{DEFAULT_PORT}"


def _check_token(token: str, target: str, *, in_the_clear: bool) -> None:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ArgumentError("a token is printable ASCII without spaces")
    if in_the_clear:
        raise ArgumentError(f"a token is never sent in plain text beyond this machine: connect to {target} with TLS")


def _options(
    *, local: bool, keepalive: float | None, user_agent: str, tls: TlsSettings | None
) -> tuple[tuple[str, int | str], ...]:
    if keepalive is not None and keepalive <= 0:
        raise ArgumentError(f"keepalive is a number of seconds above 0, or None: {keepalive}")
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.primary_user_agent", f"{user_agent} headwater-python/{__version__}".strip()),
        # A server that was started again is found again within seconds; gRPC's own waits grow to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5000),
    ]
    if keepalive is not None:
        options += [
            ("grpc.keepalive_time_ms", max(1, int(keepalive * 1000))),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.http2.ping_timeout_ms", _KEEPALIVE_TIMEOUT_MS),  # without it grpcio waits a minute all the same
            ("grpc.http2.max_pings_without_data", 0),
        ]
    if local:
        options.append(("grpc.enable_http_proxy", 0))  # a proxy cannot reach this machine's loopback
    if tls is not None and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return tuple(options)


def _credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_pem(tls.ca, "the certificates to trust"),
        private_key=_pem(tls.key, "the client's key"),
        certificate_chain=_pem(tls.certificate, "the client's certificate"),
    )


def _pem(source: str | Path | bytes | None, what: str) -> bytes | None:
    if source is None or isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise ArgumentError(f"{what} cannot be read from {source}: {error.strerror}") from error
