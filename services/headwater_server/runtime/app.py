"""Putting the services together, in one process or apart, and running them until they are asked to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import anyio
import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor

from headwater_server.assistant.config import AssistantConfig, AssistantConfigError, NamedProvider
from headwater_server.assistant.failover import FailoverPolicy
from headwater_server.assistant.service import AssistantCore, open_assistants
from headwater_server.interfaces import Retrieval
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog, Retention
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, LogUnavailable
from headwater_server.orchestrator.config import ChatsConfig, OrchestratorConfig
from headwater_server.orchestrator.service import Orchestrator, open_orchestrator
from headwater_server.orchestrator.terms import Backends
from headwater_server.orchestrator.watchdog import Limits
from headwater_server.owned_tasks import owned_tasks
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.embedding.config import EmbeddingConfig, NamedEmbedder
from headwater_server.retrieval.embedding.errors import EmbedderConfigError
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.ranking.config import NamedReranker, RerankingConfig
from headwater_server.retrieval.ranking.errors import RerankerConfigError
from headwater_server.retrieval.splitting.settings import SplitSettings
from headwater_server.runtime import data_dir, security
from headwater_server.runtime.chats import FOLDER as CHATS_FOLDER
from headwater_server.runtime.chats import any_chats, chats_opener
from headwater_server.runtime.connections import connect, follow, reached
from headwater_server.runtime.loops import loop_name
from headwater_server.runtime.memory import give_back_free_memory, leave_what_is_there
from headwater_server.runtime.merging import MergingAssistants
from headwater_server.runtime.processes.peers import connect_within, heard_by_siblings, open_shared_log
from headwater_server.runtime.processes.place import Place
from headwater_server.runtime.remote import remote_assistants, remote_retrieval
from headwater_server.runtime.server import Server
from headwater_server.runtime.servicers import ANSWER, ASSISTANT, RETRIEVAL
from headwater_server.runtime.settings import Settings, SettingsError
from headwater_server.runtime.status import described
from headwater_server.runtime.wakeups import take_at_once

log = structlog.get_logger("headwater.server")

Role = Literal["all", "retrieval", "assistant", "orchestrator", "front"]
"""Which services a process serves. `front` is all but retrieval, as one of several processes of a server."""


_REACHED_SECONDS = 1.0
"""How long a process that is started again waits for the retrieval service: without it there is still much to serve."""


@dataclass(slots=True)
class Running:
    """Services that are being served."""

    address: str
    """Where, with the port that was really taken."""
    _server: Server
    _orchestrator: Orchestrator | None
    _settings: Settings

    async def drain(self) -> None:
        """Stops in order: says so to health's watchers, refuses new calls, lets running ones end within the limit."""
        log.info("server.draining", seconds=self._settings.drain)
        await self._server.announce_drain()
        await anyio.sleep(self._settings.drain_notice)
        await self._server.drain(self._settings.drain, work=self._orchestrator)


@asynccontextmanager
async def running(settings: Settings, role: Role = "all", *, place: Place | None = None) -> AsyncIterator[Running]:
    """Serves until the context is left; leaving it stops at once (`Running.drain` before it stops in order).

    Args:
        settings: The settings.
        role: Which services: all three in one process, or one of them.
        place: This process among those of its server; None where it is the only one.

    Raises:
        SettingsError: A setting cannot work.
        DataDirError: The data folder has another owner, or cannot be used.
        PortInUse: The address cannot be listened on.
    """
    security.check_exposure(settings)
    take_at_once(asyncio.get_running_loop())
    async with AsyncExitStack() as stack:
        opened = await _open(settings, role, stack, place)
        if place is not None and place.retrieval:
            with anyio.move_on_after(None if place.waits else _REACHED_SECONDS):
                await reached(opened.channels[RETRIEVAL.full_name])
        server = Server(settings, opened.services, door=opened.orchestrator, place=place)
        address = await server.start()
        stack.push_async_callback(server.stop)
        await _mirror_health(opened.channels, server, stack)
        yield Running(address, server, opened.orchestrator, settings)


async def serve(
    settings: Settings, role: Role = "all", *, ready: Callable[[str], None], place: Place | None = None
) -> signal.Signals:
    """Serves until SIGTERM or SIGINT, then drains; a second signal stops at once.

    Args:
        settings: The settings.
        role: Which services to serve.
        ready: Called once with the address, as soon as calls are taken.
        place: As `running`.

    Returns:
        The signal that asked it to stop.

    Raises:
        SettingsError: As `running`.
        DataDirError: As `running`.
        PortInUse: As `running`.
    """
    asked = _StopRequest()
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with owned_tasks(cancel=True) as tasks:
            tasks.start_soon(_listen, signals, asked, tasks.cancel_scope)
            tasks.start_soon(give_back_free_memory)
            async with running(settings, role, place=place) as services:
                leave_what_is_there()
                log.info("server.ready", address=services.address, role=role, loop=loop_name())
                ready(services.address)
                await asked.event.wait()
                await services.drain()
    log.info("server.stopped")
    return asked.signal


class _StopRequest:
    """That the server was asked to stop, and how."""

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.signal = signal.SIGTERM


async def _listen(signals: AsyncIterator[signal.Signals], asked: _StopRequest, everything: anyio.CancelScope) -> None:
    """Asks the server to stop at the first signal, and stops it at the second."""
    async for received in signals:
        if asked.event.is_set():
            log.warning("server.stopped_at_once")
            everything.cancel()
        else:
            asked.signal = received
            asked.event.set()


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a role serves, and with what."""

    services: dict[ServiceDescriptor, object]
    orchestrator: Orchestrator | None = None
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    """To the services that it does not hold itself, by their full names."""


async def _mirror_health(channels: dict[str, grpc.aio.Channel], server: Server, stack: AsyncExitStack) -> None:
    """Says of services that others serve what is so of those; the server's own health does not depend on them.

    A server whose backends are gone still has answers to be read and resumed, and its callers nowhere else to go.
    """
    tasks = await stack.enter_async_context(owned_tasks(cancel=True))
    for name, channel in channels.items():
        await server.set_health(name, serving=False)

        async def changed(serving: bool, name: str = name) -> None:
            log.info("server.backend", service=name, serving=serving)
            await server.set_health(name, serving=serving)

        tasks.start_soon(follow, channel, changed)


async def _open(settings: Settings, role: Role, stack: AsyncExitStack, place: Place | None) -> _Opened:
    """Opens what the role serves; what it does not hold itself it calls over gRPC."""
    retrieval: Retrieval | None = None
    own: AssistantCore | None = None
    if role in {"all", "retrieval"}:
        folder = _folder(settings.data_dir, f"headwater serve, {settings.address}", stack, place)
        try:
            retrieval = await stack.enter_async_context(
                open_retrieval(folder / "retrieval", retrieval_config(settings))
            )
        except (EmbedderConfigError, RerankerConfigError) as error:
            raise SettingsError(str(error)) from error
    if role in {"all", "assistant", "front"}:
        try:
            own = await stack.enter_async_context(open_assistants(assistant_config(settings)))
        except AssistantConfigError as error:
            raise SettingsError(str(error)) from error
    if role in {"retrieval", "assistant"}:
        return _Opened({RETRIEVAL: retrieval} if own is None else {ASSISTANT: MergingAssistants(own)})
    channels = {
        name: await stack.enter_async_context(channel) for name, channel in _channels(settings, role, place).items()
    }
    retrieval = retrieval or remote_retrieval(channels[RETRIEVAL.full_name])
    assistants = own or remote_assistants(channels[ASSISTANT.full_name])
    backends = Backends(retrieval, assistants) if own is None else Backends(retrieval, own, own.expect)
    orchestrator = await _open_answers(settings, backends, stack, place)
    served = {ANSWER: orchestrator, RETRIEVAL: retrieval, ASSISTANT: MergingAssistants(assistants)}
    return _Opened(served, orchestrator, channels)


def _channels(settings: Settings, role: Role, place: Place | None) -> dict[str, grpc.aio.Channel]:
    """To the services that a role does not hold itself, by their full names."""
    if role == "front" and place is not None:
        return {RETRIEVAL.full_name: connect_within(settings, place.retrieval)}
    if role != "orchestrator":
        return {}
    targets = ((RETRIEVAL, settings.retrieval_target), (ASSISTANT, settings.assistant_target))
    return {service.full_name: connect(settings, target, service.full_name) for service, target in targets}


async def _open_answers(
    settings: Settings, backends: Backends, stack: AsyncExitStack, place: Place | None
) -> Orchestrator:
    """Opens the orchestrator, with the answer log and the chats, which processes of one server share."""
    what = f"headwater serve, {settings.address}"
    chats = _folder(settings.data_dir / CHATS_FOLDER, what, stack, place)
    if place is None:
        owners, siblings = None, None
        answer_log: AnswerLog = await _open_answer_log(settings, what, stack)
    else:
        answer_log, siblings, owners = await open_shared_log(settings, place, stack)
    orchestrator = await stack.enter_async_context(
        open_orchestrator(
            backends,
            orchestrator_config(settings),
            answer_log=answer_log,
            describe=described,
            open_chats=chats_opener(settings, chats, name=place.name if place is not None else "", owners=owners),
            any_chats=any_chats(settings, chats),
            siblings=siblings,
        )
    )
    if place is not None:
        await stack.enter_async_context(heard_by_siblings(settings, orchestrator.here, socket=place.socket))
    return orchestrator


def _folder(path: Path, what: str, stack: AsyncExitStack, place: Place | None) -> Path:
    """A folder that this process owns, or the one that has started it."""
    return stack.enter_context(data_dir.owned(path, what=what)) if place is None else data_dir.made(path)


async def _open_answer_log(settings: Settings, what: str, stack: AsyncExitStack) -> AnswerLog:
    """Opens the answer log; its folder has an owner of its own, because apart the data folder is the retrieval's."""
    wanted = settings.answers
    if wanted.log == "memory":
        return await stack.enter_async_context(MemoryAnswerLog.open(max_bytes=wanted.max_memory_bytes))
    folder = stack.enter_context(data_dir.owned(settings.data_dir / "answers", what=what))
    retention = Retention(max_bytes=wanted.max_file_bytes)
    try:
        return await stack.enter_async_context(EmbeddedAnswerLog.open(folder, sync=wanted.sync, retention=retention))
    except LogUnavailable as error:
        raise data_dir.DataDirError(f"cannot use the answers in {folder}: {error}") from error


def retrieval_config(settings: Settings) -> RetrievalConfig:
    """What the retrieval service needs of the settings."""
    wanted, default = settings.retrieval, RetrievalConfig()
    return replace(
        default,
        max_document_bytes=wanted.max_document_bytes,
        max_waiting_documents=wanted.waiting_documents,
        max_watchers=wanted.watchers,
        workers=wanted.workers or default.workers,
        worker_limits=replace(default.worker_limits, memory_bytes=wanted.worker_memory_bytes),
        document_seconds=wanted.document_timeout,
        silence_seconds=min(default.silence_seconds, wanted.document_timeout),
        split=SplitSettings(wanted.passage_characters, wanted.overlap_characters),
        top_k=wanted.top_k,
        embedding=embedding_config(settings),
        reranking=reranking_config(settings),
    )


def embedding_config(settings: Settings) -> EmbeddingConfig:
    """What the retrieval service needs to know of embedders."""
    embedders = {
        name: NamedEmbedder(
            api=table.api,
            base_url=table.base_url,
            api_key=table.api_key.get_secret_value() if table.api_key is not None else "",
            api_key_env=table.api_key_env or "",
            dimension=table.dimension,
            batch_texts=table.batch_texts,
            batch_tokens=table.batch_tokens,
            concurrency=table.concurrency,
            timeout=table.timeout,
            query_prefix=table.query_prefix,
            document_prefix=table.document_prefix,
            max_characters=table.max_characters,
        )
        for name, table in settings.embedders.items()
    }
    return EmbeddingConfig(default=settings.retrieval.embedder, device=settings.retrieval.device, embedders=embedders)


def reranking_config(settings: Settings) -> RerankingConfig:
    """What the retrieval service needs to know of rerankers."""
    rerankers = {
        name: NamedReranker(
            api=table.api,
            base_url=table.base_url,
            api_key=table.api_key.get_secret_value() if table.api_key is not None else "",
            api_key_env=table.api_key_env or "",
            path=table.path,
            timeout=table.timeout,
            max_characters=table.max_characters,
        )
        for name, table in settings.rerankers.items()
    }
    wanted = settings.retrieval
    return RerankingConfig(reranker=wanted.reranker, candidates=wanted.rerank_candidates, rerankers=rerankers)


def assistant_config(settings: Settings) -> AssistantConfig:
    """What the assistant service needs of the settings."""
    providers = {
        name: NamedProvider(
            api=provider.api,
            base_url=provider.base_url,
            api_key=provider.api_key.get_secret_value() if provider.api_key is not None else "",
            api_key_env=provider.api_key_env or "",
            models=provider.models,
            context_tokens=provider.context_tokens,
            max_output_tokens=provider.max_output_tokens,
            options=provider.model_extra or {},
        )
        for name, provider in settings.assistants.items()
    }
    return AssistantConfig(
        default_assistant=settings.assistant,
        providers=providers,
        prompt_template=settings.prompt_template,
        failover=FailoverPolicy(**dict(settings.failover)),
    )


def orchestrator_config(settings: Settings) -> OrchestratorConfig:
    """What the orchestrator needs of the settings."""
    limits = settings.limits
    return OrchestratorConfig(
        assistant=settings.assistant,
        limits=Limits(limits.first_token, limits.between_tokens, limits.total),
        heartbeat=limits.heartbeat,
        max_answers=limits.answers,
        least_answers=limits.least_answers,
        lateness=limits.lateness,
        buffer_bytes=limits.buffer_bytes,
        keep=settings.answers.keep,
        chats=ChatsConfig(
            follow_up=settings.chats.follow_up,
            max_chats=settings.chats.max_chats,
            max_turns=settings.chats.max_turns,
        ),
        credentials={tenant: token.get_secret_value() for tenant, token in settings.tokens.items()},
    )
