"""What callers of a server may do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What callers may do."""

    max_message: int = 8 * 1024 * 1024
    """How many bytes a request may have."""
    max_sent: int = 4 * 1024 * 1024
    """How many bytes a response may have."""
    max_connections: int = 10_000
    """How many connections may be open, those in their TLS handshake among them; one more is closed at once."""
    max_streams: int = 1_000
    """How many calls a connection may have under way."""
    greeting_seconds: float = 20.0
    """How long a new connection may take to greet and to note our settings, and a TLS handshake to end."""
    keepalive_seconds: float = 0.0
    """After how long a silent peer that has calls is asked whether it is there; 0: never."""
    keepalive_answer_seconds: float = 2.0
    """How long it may take to answer."""
