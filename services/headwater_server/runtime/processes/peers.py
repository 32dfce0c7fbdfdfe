"""How processes with one answer log reach each other: over Unix sockets, about answers that one of them makes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, cast

import anyio
import grpc

from headwater.v1 import answer_pb2
from headwater.v1.answer_service_pb2 import CancelAnswerRequest, ResumeAnswerRequest
from headwater_server.errors import PreconditionFailed, ServiceUnreachable
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog, Retention
from headwater_server.orchestrator.answer_log.owners import Owners
from headwater_server.orchestrator.answer_log.protocol import AnswerLogError, AnswerRecord
from headwater_server.orchestrator.siblings import SiblingGoneError
from headwater_server.runtime.activity import Activity
from headwater_server.runtime.connections import MAX_RESPONSE_BYTES, connect, keepalive_options
from headwater_server.runtime.data_dir import DataDirError, made
from headwater_server.runtime.interceptors import CallerInterceptor, ErrorInterceptor, ValidationInterceptor
from headwater_server.runtime.processes.place import Place
from headwater_server.runtime.remote import remote_answers
from headwater_server.runtime.servicers import ANSWER, RETRIEVAL, add_servicer
from headwater_server.runtime.settings import Settings, TlsSettings
from headwater_server.runtime.tolerant_server import make_server

_STOP_SECONDS = 1.0
"""How long siblings may take to read the end of what they read."""


class Peers:
    """The `Siblings` of a process, as the owners of one answer log.

    Args:
        owners: Who they are.
        answer_log: The log.
        settings: The settings.
        stack: Closes the connections.
    """

    def __init__(
        self, owners: Owners, answer_log: EmbeddedAnswerLog, settings: Settings, stack: AsyncExitStack
    ) -> None:
        self._owners = owners
        self._log = answer_log
        self._settings = settings
        self._stack = stack
        self._services: dict[str, Any] = {}

    @property
    def me(self) -> str:
        """See `Siblings`."""
        return self._owners.me

    def is_alive(self, owner: str) -> bool:
        """See `Siblings`."""
        return self._owners.is_alive(owner)

    async def orphans(self) -> Sequence[AnswerRecord]:
        """See `Siblings`."""
        return await self._log.orphans()

    async def resume(
        self, request: ResumeAnswerRequest, caller: Caller, *, owner: str
    ) -> AsyncGenerator[answer_pb2.AnswerChunk]:
        """See `Siblings`."""
        service = await self._service(owner)
        try:
            async with aclosing(service.resume_answer(request, caller)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (ServiceUnreachable, PreconditionFailed) as error:
            raise SiblingGoneError(str(error)) from error

    async def cancel(self, request: CancelAnswerRequest, caller: Caller, *, owner: str) -> answer_pb2.Answer:
        """See `Siblings`."""
        service = await self._service(owner)
        try:
            return cast("answer_pb2.Answer", await service.cancel_answer(request, caller))
        except (ServiceUnreachable, PreconditionFailed) as error:
            raise SiblingGoneError(str(error)) from error

    async def _service(self, owner: str) -> Any:
        """The answer service of a sibling; its channel is kept, and serves those who come after it as well."""
        target = self._owners.target(owner)
        if not target:
            raise SiblingGoneError(f"nobody knows where {owner} is")
        if target not in self._services:
            channel = grpc.aio.insecure_channel(target, options=_options(self._settings))
            await self._stack.enter_async_context(channel)
            self._services[target] = remote_answers(channel)
        return self._services[target]


async def open_shared_log(
    settings: Settings, place: Place, stack: AsyncExitStack
) -> tuple[EmbeddedAnswerLog, Peers, Owners]:
    """Opens the answer log that a server's processes share, and what stands for the others of them.

    Args:
        settings: The settings.
        place: This process among them.
        stack: Closes everything.

    Raises:
        DataDirError: The log cannot be used.
    """
    wanted = settings.answers
    folder = made(settings.data_dir / "answers")
    retention = Retention(max_bytes=wanted.max_file_bytes)
    try:
        owners = stack.enter_context(Owners.joined(folder / "owners", target=place.socket))
        answer_log = await stack.enter_async_context(
            EmbeddedAnswerLog.open(folder, sync=wanted.sync, retention=retention, owners=owners)
        )
    except AnswerLogError as error:
        raise DataDirError(f"cannot use the answers in {folder}: {error}") from error
    connections = await stack.enter_async_context(AsyncExitStack())
    return answer_log, Peers(owners, answer_log, settings, connections), owners


def connect_within(settings: Settings, target: str) -> grpc.aio.Channel:
    """A channel to the retrieval service of the same server, at a Unix socket that nobody else can reach."""
    return connect(settings.model_copy(update={"tls": TlsSettings()}), target, RETRIEVAL.full_name)


@asynccontextmanager
async def heard_by_siblings(settings: Settings, here: object, *, socket: str) -> AsyncIterator[None]:
    """Serves siblings at a Unix socket for as long as the context lasts, while the server drains too.

    Args:
        settings: The settings.
        here: What they call (`orchestrator.elsewhere.Here`).
        socket: Where, `unix:/…`.
    """
    tokens = {tenant: token.get_secret_value() for tenant, token in settings.tokens.items()}
    interceptors = [ErrorInterceptor(Activity()), CallerInterceptor(tokens), ValidationInterceptor()]
    server = make_server(interceptors, (*_options(settings), *_PINGS))
    add_servicer(server, ANSWER, here)
    server.add_insecure_port(socket)
    await server.start()
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await server.stop(_STOP_SECONDS)


_PINGS: tuple[tuple[str, int], ...] = (
    ("grpc.http2.min_ping_interval_without_data_ms", 100),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ("grpc.http2.max_ping_strikes", 0),
)


def _options(settings: Settings) -> tuple[tuple[str, int], ...]:
    return (
        *keepalive_options(settings.keepalive),
        ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
        ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
        ("grpc.max_concurrent_streams", 2**31 - 1),
        # A sibling that was started again is reached within a moment.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.enable_http_proxy", 0),
    )
