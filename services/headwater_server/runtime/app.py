"""Putting the services together, in one process or apart, and running them until they are asked to stop."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal

import anyio
import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor

from headwater_server.assistant.config import AssistantConfig, AssistantConfigError, NamedProvider
from headwater_server.assistant.service import open_assistants
from headwater_server.interfaces import Assistants, Retrieval
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog, Retention
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, LogUnavailable
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.run import Backends
from headwater_server.orchestrator.service import Orchestrator, open_orchestrator
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
from headwater_server.runtime.remote import remote_assistants, remote_retrieval
from headwater_server.runtime.server import Server
from headwater_server.runtime.servicers import ANSWER, ASSISTANT, RETRIEVAL
from headwater_server.runtime.settings import Settings, SettingsError
from headwater_server.runtime.status import described

log = structlog.get_logger("headwater.server")

Role = Literal["all", "retrieval", "assistant", "orchestrator"]

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # A frozen peer is noticed only with all three set.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 0),
    # A service that was started again is found again within seconds; gRPC's own waits grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_http_proxy", 0),  # the services are neighbours
)


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
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_answers)
            # One more second for the last messages of the answers that had to be ended.
            await self._server.drain(self._settings.drain + 1)
            tasks.cancel_scope.cancel()

    async def _end_answers(self) -> None:
        await anyio.sleep(self._settings.drain)
        if self._orchestrator is not None:
            self._orchestrator.drain()


@asynccontextmanager
async def running(settings: Settings, role: Role = "all") -> AsyncIterator[Running]:
    """Serves until the context is left; leaving it stops at once (`Running.drain` before it stops in order).

    Args:
        settings: The settings.
        role: Which services: all three in one process, or one of them.

    Raises:
        SettingsError: A setting cannot work.
        DataDirError: The data folder has another owner, or cannot be used.
        PortInUse: The address cannot be listened on.
    """
    security.check_exposure(settings)
    async with AsyncExitStack() as stack:
        services, orchestrator = await _open(settings, role, stack)
        server = Server(settings, services)
        address = await server.start()
        stack.push_async_callback(server.stop)
        yield Running(address, server, orchestrator, settings)


async def serve(settings: Settings, role: Role = "all", *, ready: Callable[[str], None]) -> signal.Signals:
    """Serves until SIGTERM or SIGINT, then drains; a second signal stops at once.

    Args:
        settings: The settings.
        role: Which services to serve.
        ready: Called once with the address, as soon as calls are taken.

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
            async with running(settings, role) as services:
                log.info("server.ready", address=services.address, role=role)
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


async def _open(
    settings: Settings, role: Role, stack: AsyncExitStack
) -> tuple[dict[ServiceDescriptor, object], Orchestrator | None]:
    """Opens what the role serves; what it does not hold itself it calls over gRPC."""
    retrieval: Retrieval | None = None
    assistants: Assistants | None = None
    what = f"headwater serve, {settings.address}"
    if role in {"all", "retrieval"}:
        folder = stack.enter_context(data_dir.owned(settings.data_dir, what=what))
        try:
            retrieval = await stack.enter_async_context(
                open_retrieval(folder / "retrieval", retrieval_config(settings))
            )
        except (EmbedderConfigError, RerankerConfigError) as error:
            raise SettingsError(str(error)) from error
    if role in {"all", "assistant"}:
        try:
            assistants = await stack.enter_async_context(open_assistants(assistant_config(settings)))
        except AssistantConfigError as error:
            raise SettingsError(str(error)) from error
    if role in {"retrieval", "assistant"}:
        return ({RETRIEVAL: retrieval} if retrieval is not None else {ASSISTANT: assistants}), None
    if role == "orchestrator":
        retrieval = remote_retrieval(await _channel(settings, settings.retrieval_target, stack))
        assistants = remote_assistants(await _channel(settings, settings.assistant_target, stack))
    if retrieval is None or assistants is None:
        raise AssertionError(f"a role without backends: {role}")
    answer_log = await _open_answer_log(settings, what, stack)
    orchestrator = await stack.enter_async_context(
        open_orchestrator(
            Backends(retrieval, assistants), orchestrator_config(settings), answer_log=answer_log, describe=described
        )
    )
    return {ANSWER: orchestrator, RETRIEVAL: retrieval, ASSISTANT: assistants}, orchestrator


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


async def _channel(settings: Settings, target: str, stack: AsyncExitStack) -> grpc.aio.Channel:
    credentials = security.channel_credentials(settings.tls)
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
    return await stack.enter_async_context(channel)


def retrieval_config(settings: Settings) -> RetrievalConfig:
    """What the retrieval service needs of the settings."""
    wanted, default = settings.retrieval, RetrievalConfig()
    return replace(
        default,
        max_document_bytes=wanted.max_document_bytes,
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
        default_assistant=settings.assistant, providers=providers, prompt_template=settings.prompt_template
    )


def orchestrator_config(settings: Settings) -> OrchestratorConfig:
    """What the orchestrator needs of the settings."""
    limits = settings.limits
    return OrchestratorConfig(
        assistant=settings.assistant,
        limits=Limits(limits.first_token, limits.between_tokens, limits.total),
        heartbeat=limits.heartbeat,
        max_answers=limits.answers,
        keep=settings.answers.keep,
    )
