"""The gRPC server: how it starts, and how it drains."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from headwater_server.runtime.activity import Activity
from headwater_server.runtime.interceptors import CallerInterceptor, ErrorInterceptor, ValidationInterceptor
from headwater_server.runtime.security import check_exposure, server_credentials, split_address
from headwater_server.runtime.servicers import add_servicer
from headwater_server.runtime.settings import Settings

log = structlog.get_logger("headwater.server")

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""Over the 3 MiB of the contract, so that its own rule answers and not the transport; and what the orchestrator asks an
assistant is such a request with the sources."""

LAST_WORDS = 0.5
"""How long a drained server waits for what is still on its way when the last call has ended, in seconds."""

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # with it, a second server on a port in use would start and take half of the calls
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", 4 * 1024 * 1024),
    ("grpc.max_metadata_size", 16 * 1024),
    # A frozen peer is noticed only with all three set; the minimum interval must admit our clients' pings.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class PortInUse(Exception):
    """The address cannot be listened on; the message says why and what to do."""


class Server:
    """Serves implementations of our services, with health, reflection and, by a setting, channelz beside them."""

    def __init__(self, settings: Settings, services: Mapping[ServiceDescriptor, object]) -> None:
        check_exposure(settings)
        self._settings = settings
        tokens = {tenant: token.get_secret_value() for tenant, token in settings.tokens.items()}
        self._activity = Activity()
        self._server = grpc.aio.server(
            interceptors=[ErrorInterceptor(self._activity), CallerInterceptor(tokens), ValidationInterceptor()],
            options=SERVER_OPTIONS,
        )
        self._health = health.aio.HealthServicer()
        self._names = [service.full_name for service in services]
        for service, implementation in services.items():
            add_servicer(self._server, service, implementation)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection([*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server)
        if settings.channelz:
            channelz.add_channelz_servicer(self._server)

    async def start(self) -> str:
        """Listens; returns the address with the port that was really taken.

        Raises:
            PortInUse: The address cannot be listened on.
        """
        host, port = split_address(self._settings.address)
        wanted = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        credentials = server_credentials(self._settings.tls)
        try:
            if credentials is None:
                bound = self._server.add_insecure_port(wanted)
            else:
                bound = self._server.add_secure_port(wanted, credentials)
        except RuntimeError as error:
            raise PortInUse(
                f"cannot listen on {wanted}: is another server running there, or is it no address of this machine? "
                "Choose another with --address"
            ) from error
        await self._server.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        return f"{wanted.rpartition(':')[0]}:{bound}"

    async def announce_drain(self) -> None:
        """Tells watchers of the health service that no more calls are wanted; calls go on being served."""
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def drain(self, grace: float) -> None:
        """Refuses new calls, lets running ones end for `grace` seconds, then cancels them.

        Streams of health and reflection are not waited for: they have no end of their own.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._server.stop, grace)
            with anyio.move_on_after(grace):
                await self._activity.idle()
            await self._server.stop(LAST_WORDS)

    async def stop(self) -> None:
        """Stops at once: running calls are cancelled."""
        with anyio.CancelScope(shield=True):
            await self._server.stop(0)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)
