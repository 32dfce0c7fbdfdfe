"""The two fronts, made and set to listen in one way: grpcio's server, and our own (`front_http2`).

Whatever is a limit of one is a limit of the other, and callers cannot tell which they have.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from headwater_server.runtime.admission import AdmissionInterceptor
from headwater_server.runtime.connections import GIVE_UP_FACTOR, MAX_RESPONSE_BYTES, keepalive_options
from headwater_server.runtime.door import Gate
from headwater_server.runtime.front_http2 import Http2Server, Limits
from headwater_server.runtime.front_http2.fields import MAX_METADATA_BYTES
from headwater_server.runtime.security import server_context, server_credentials
from headwater_server.runtime.settings import Settings, TlsSettings
from headwater_server.runtime.tolerant_server import make_server

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""Over the 3 MiB of the contract, so that its own rule answers and not the transport; and what the orchestrator asks an
assistant is such a request with the sources."""

LEAST_STREAMS = 1_000
"""How many calls one connection may have at once, at least; further ones wait at their caller."""

HANDSHAKE_SECONDS = 20
"""How long a greeting may take; gRPC's own two minutes are long for half of one."""

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    # Clients may ask as often as they like whether we are alive: by default gRPC hangs up on those that do.
    ("grpc.http2.min_ping_interval_without_data_ms", 100),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ("grpc.http2.max_ping_strikes", 0),
    # Calls that wait to be looked at: gRPC ends what is too much, whosever it is, as CANCELLED, and each may hold
    # 100 KiB of headers. Who is refused in good order, and how, is our own rules' matter.
    ("grpc.server.max_pending_requests", 3_000),
    ("grpc.server.max_pending_requests_hard_limit", 5_000),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
)


class Front:
    """A server that listens nowhere yet, of the kind that the settings name.

    Args:
        settings: The settings.
        interceptors: What is around every call, outermost first.
        admission: Is around those, and refuses new answers where there is no room; None: all are taken.
        shares_port: Whether other processes listen at the same address.
    """

    def __init__(
        self,
        settings: Settings,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        *,
        admission: AdmissionInterceptor | None,
        shares_port: bool,
    ) -> None:
        self._shares_port = shares_port
        if admission is not None:
            interceptors = [admission, *interceptors]
        self._http2 = _http2(settings, interceptors, gate=admission) if settings.front == "http2" else None
        self.server: grpc.aio.Server = self._http2 or _grpc(
            settings, interceptors, gate=admission, shares_port=shares_port
        )

    def listen(self, address: str, tls: TlsSettings) -> int:
        """Takes an address; returns its port.

        Raises:
            RuntimeError: It cannot be taken.
            SettingsError: A certificate cannot be read, or does not hold what it should.
        """
        if self._http2 is not None:
            return self._http2.listen(address, server_context(tls), shared=self._shares_port)
        credentials = server_credentials(tls)
        if credentials is None:
            return self.server.add_insecure_port(address)
        return self.server.add_secure_port(address, credentials)

    async def delivered(self) -> None:
        """Returns when readers have taken what ended calls have said: gRPC's server lets a call end only then."""
        if self._http2 is not None:
            await self._http2.delivered()


def _streams(settings: Settings) -> int:
    return max(LEAST_STREAMS, 2 * settings.limits.answers)


def _grpc(
    settings: Settings, interceptors: Sequence[grpc.aio.ServerInterceptor], *, gate: Gate | None, shares_port: bool
) -> grpc.aio.Server:
    # Else a second server on a port in use would start, and take half of the calls.
    port = ("grpc.so_reuseport", int(shares_port))
    streams = ("grpc.max_concurrent_streams", _streams(settings))
    return make_server(interceptors, (port, *_OPTIONS, streams, *keepalive_options(settings.keepalive)), gate)


def _http2(settings: Settings, interceptors: Sequence[grpc.aio.ServerInterceptor], *, gate: Gate | None) -> Http2Server:
    return Http2Server(
        interceptors,
        Limits(
            max_message=MAX_REQUEST_BYTES,
            max_sent=MAX_RESPONSE_BYTES,
            max_streams=_streams(settings),
            greeting_seconds=HANDSHAKE_SECONDS,
            keepalive_seconds=settings.keepalive,
            keepalive_answer_seconds=GIVE_UP_FACTOR * settings.keepalive,
        ),
        gate=gate,
    )
