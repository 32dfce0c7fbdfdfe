"""TLS as gRPC wants it: 1.2 or newer, with HTTP/2 agreed on in the handshake."""

from __future__ import annotations

import ssl
from pathlib import Path

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2, those that HTTP/2 does not forbid (RFC 9113, appendix A); those of 1.3 are all good."""


def http2_context(cert: Path, key: Path, *, client_ca: Path | None = None) -> ssl.SSLContext:
    """What a server shows, and asks of its callers.

    Args:
        cert: Its certificate chain, PEM.
        key: The private key, PEM, without a password.
        client_ca: Who has to have signed callers' certificates; None: callers need none.

    Raises:
        OSError: A file cannot be read, or (`ssl.SSLError`) does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
