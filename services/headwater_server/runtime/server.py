"""The gRPC server: how it starts, and how it drains."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

import anyio
import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from headwater_server.runtime.activity import Activity
from headwater_server.runtime.admission import AdmissionInterceptor
from headwater_server.runtime.door import Door
from headwater_server.runtime.draining import WATCHES, RefusingInterceptor, draining
from headwater_server.runtime.fronts import Front
from headwater_server.runtime.infrastructure import InfrastructureInterceptor
from headwater_server.runtime.interceptors import CallerInterceptor, ErrorInterceptor, ValidationInterceptor
from headwater_server.runtime.processes.place import Place
from headwater_server.runtime.security import check_exposure, split_address
from headwater_server.runtime.servicers import add_servicer
from headwater_server.runtime.settings import Settings, TlsSettings
from headwater_server.runtime.taking_up import TakingUpInterceptor
from headwater_server.runtime.work import Work
from headwater_server.runtime.wrapping import WrappedOnce

log = structlog.get_logger("headwater.server")

LAST_WORDS = 0.5
"""How long a drained server waits for what is still on its way when the last call has ended, in seconds."""

_DOOR_SECONDS = 2.0
"""How long the address of a draining server may take to be free again."""


class PortInUse(Exception):
    """The address cannot be listened on; the message says why and what to do."""


class Server:
    """Serves implementations of our services, with health, reflection and, by a setting, channelz beside them.

    Args:
        settings: The settings.
        services: What implements each service.
        door: Knows whether one more answer may begin; None where none begin here.
        place: This process among those of its server; None where it is the only one.
    """

    def __init__(
        self,
        settings: Settings,
        services: Mapping[ServiceDescriptor, object],
        *,
        door: Door | None = None,
        place: Place | None = None,
    ) -> None:
        check_exposure(settings)
        self._settings = settings
        self._shares_port = place is not None and place.shares_port
        self._socket = place.socket if place is not None and not place.shares_port else ""
        tokens = {tenant: token.get_secret_value() for tenant, token in settings.tokens.items()}
        self._activity = Activity()
        self._admission = AdmissionInterceptor(door, tokens) if door is not None else None
        self._interceptors = [
            InfrastructureInterceptor(),
            TakingUpInterceptor(),
            ErrorInterceptor(self._activity, leaves_turns=settings.front != "http2"),
            CallerInterceptor(tokens),
            ValidationInterceptor(),
        ]
        self._health = health.aio.HealthServicer()
        self._services = dict(services)
        self._names = [service.full_name for service in services]
        self._bound = ""
        self._tls = TlsSettings() if self._socket else settings.tls
        self._front = self._made(self._interceptors)
        self._server = self._front.server
        self._doorkeeper: grpc.aio.Server | None = None

    def _made(self, interceptors: Sequence[grpc.aio.ServerInterceptor]) -> Front:
        around = WrappedOnce(interceptors)
        front = Front(self._settings, [around], admission=self._admission, shares_port=self._shares_port)
        server = front.server
        for service, implementation in self._services.items():
            add_servicer(server, service, implementation)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        if self._settings.channelz:
            channelz.add_channelz_servicer(server)
        return front

    async def start(self) -> str:
        """Listens; returns the address with the port that was really taken.

        Raises:
            PortInUse: The address cannot be listened on.
        """
        host, port = split_address(self._settings.address)
        wanted = self._socket or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        try:
            bound = self._front.listen(wanted, self._tls)
        except RuntimeError as error:
            raise PortInUse(
                f"cannot listen on {wanted}: is another server running there, or is it no address of this machine? "
                "Choose another with --address"
            ) from error
        self._bound = self._socket or f"{wanted.rpartition(':')[0]}:{bound}"
        await self._server.start()
        for name in ("", *self._names):
            await self.set_health(name, serving=True)
        return self._bound

    async def set_health(self, name: str, *, serving: bool) -> None:
        """Says whether the service of this name serves; once the server drains, none does."""
        status = health_pb2.HealthCheckResponse
        await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def announce_drain(self) -> None:
        """Tells watchers of the health service that no more calls are wanted; calls go on being served."""
        await self._health.enter_graceful_shutdown()

    async def drain(self, grace: float, *, work: Work | None = None) -> None:
        """Refuses new calls, lets running ones end for `grace` seconds, and ends the others with SERVER_DRAINING.

        Streams of health and reflection are not waited for: they have no end of their own.

        Args:
            grace: For how long, in seconds.
            work: What goes on without a call, and has the same time. For as long as it does, callers who come back for
                it are served.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._server.stop, grace + 4 * LAST_WORDS)
            self._activity.end(draining(), methods=WATCHES)
            with anyio.move_on_after(grace):
                if work is not None:
                    await self._keep_the_door()
                    await work.idle()
                await self._activity.idle()
                await self._front.delivered()
            if work is not None:
                work.drain()
            with anyio.move_on_after(LAST_WORDS):  # for those that `work` has ended
                await self._activity.idle()
            self._activity.end(draining())
            if self._doorkeeper is not None:
                await self._doorkeeper.stop(LAST_WORDS)
            await self._server.stop(LAST_WORDS)

    async def _keep_the_door(self) -> None:
        """Listens again where the draining server has stopped to, for those who come back for their answers.

        The draining server itself cannot: it has told its clients to go elsewhere, and refuses whoever comes.
        """
        front = self._made([*self._interceptors, RefusingInterceptor()])
        with anyio.move_on_after(_DOOR_SECONDS):
            while not (self._shares_port or self._socket or _is_free(self._bound)):  # noqa: ASYNC110 (grpc does not say when it has stopped listening)
                await anyio.sleep(_DOOR_SECONDS / 100)
        try:
            front.listen(self._bound, self._tls)
        except RuntimeError:
            log.warning("server.door_shut", address=self._bound)  # somebody else was quicker
            return
        self._doorkeeper = front.server
        with anyio.CancelScope(shield=True):  # grpc's server cannot be stopped that was left while it starts
            await front.server.start()

    async def stop(self) -> None:
        """Stops at once: running calls are cancelled."""
        with anyio.CancelScope(shield=True):
            if self._doorkeeper is not None:
                await self._doorkeeper.stop(0)
            await self._server.stop(0)


def _is_free(address: str) -> bool:
    """Whether an address can be listened on; grpc, asked too early, writes to standard error."""
    host, port = split_address(address)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True
