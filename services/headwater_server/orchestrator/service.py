"""The orchestrator's core: everything behind `headwater.v1.AnswerService`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

import anyio
from anyio.abc import TaskGroup
from google.protobuf.empty_pb2 import Empty

from headwater.v1 import answer_pb2, answer_service_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.errors import InvalidRequest, Overloaded, ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, AnswerRecord
from headwater_server.orchestrator.beginning import Beginning
from headwater_server.orchestrator.chats.answers import TurnAnswer
from headwater_server.orchestrator.chats.calls import ChatCalls
from headwater_server.orchestrator.chats.conversations import AnyChats, Conversations, OpenStore, open_conversations
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.elsewhere import Elsewhere, Here
from headwater_server.orchestrator.failures import DescribeFailure, draining, elsewhere, ending, waiting
from headwater_server.orchestrator.kept import Found, KeptAnswers, current
from headwater_server.orchestrator.pressure import Pressure
from headwater_server.orchestrator.provided import check_provided
from headwater_server.orchestrator.reading import follow, replay
from headwater_server.orchestrator.recovery import Recovery
from headwater_server.orchestrator.registry import Registry
from headwater_server.orchestrator.run import AnswerRun
from headwater_server.orchestrator.searching.follow_up import FollowUps
from headwater_server.orchestrator.siblings import Siblings
from headwater_server.orchestrator.terms import Backends
from headwater_server.owned_tasks import owned_tasks

CANCEL_WAIT = 10.0
"""How long `CancelAnswer` waits for the answer to have ended, in seconds."""

MAX_REQUEST_BYTES = 3 * 1024 * 1024


class Orchestrator:
    """Answers prompts, and keeps chats; made by `open_orchestrator`."""

    def __init__(
        self,
        backends: Backends,
        config: OrchestratorConfig,
        tasks: TaskGroup,
        *,
        answer_log: AnswerLog,
        conversations: Conversations,
        describe: DescribeFailure,
        siblings: Siblings | None = None,
    ) -> None:
        self._config = config
        self._log = answer_log
        self._conversations = conversations
        follow_ups = FollowUps(config.chats.follow_up, backends.assistants)
        self._pressure = Pressure(
            most=config.max_answers,
            least=config.least_answers,
            lateness=config.lateness,
            buffer_bytes=config.buffer_bytes,
        )
        self._registry = registry = Registry(config.max_answers, self._pressure)
        self._kept = KeptAnswers(registry, answer_log, conversations=conversations)
        self._chats = ChatCalls(conversations, live=self._kept.live, stop=self._stop, max_chats=config.chats.max_chats)
        self._beginning = Beginning(
            backends,
            config,
            tasks,
            registry=registry,
            answer_log=answer_log,
            conversations=conversations,
            follow_ups=follow_ups,
            describe=describe,
        )
        self._recovery = Recovery(
            config,
            tasks,
            registry=registry,
            answer_log=answer_log,
            beginning=self._beginning,
            conversations=conversations,
            describe=describe,
        )
        self.here = Here(self._kept, read=self._read_here, stop=_cancelled)
        """What siblings call."""
        self._elsewhere: Elsewhere | None = None
        if siblings is not None:
            self._elsewhere = Elsewhere(
                siblings,
                kept=self._kept,
                read_here=self._read_here,
                recovery=self._recovery,
                is_draining=self._beginning.is_draining,
            )
        # The RPCs about chats are methods of this object too, as a servicer wants them.
        self.create_chat = self._chats.create_chat
        self.get_chat = self._chats.get_chat
        self.list_chats = self._chats.list_chats
        self.update_chat = self._chats.update_chat
        self.delete_chat = self._chats.delete_chat
        self.get_turn = self._chats.get_turn
        self.list_turns = self._chats.list_turns

    def recover(self, records: Sequence[AnswerRecord]) -> None:
        """Goes on with the answers whose owner died."""
        self._recovery.start(records)

    def drain(self) -> None:
        """Ends running answers with SERVER_DRAINING, and refuses new ones."""
        self._beginning.drain()

    def refusal(self, tenant: str | None = None) -> Overloaded | None:
        """Why no more answers may begin, or None; `tenant`'s, where it is known."""
        return self._registry.refusal(tenant)

    def has_request(self, request_id: str) -> bool:
        """Whether an answer with this request_id runs, whosever it is."""
        return self._registry.has_request(request_id)

    async def measure(self) -> None:
        """Measures how much the server can carry; runs until it is cancelled."""
        await self._pressure.measure(lambda: len(self._registry), lambda: self._registry.buffered_bytes)

    async def watch_siblings(self) -> None:
        """Takes over the answers of other processes that have died; runs until it is cancelled."""
        if self._elsewhere is not None:
            await self._elsewhere.watch()

    async def idle(self) -> None:
        """Returns when no answer runs."""
        await self._registry.idle()

    async def stream_answer(self, request: StreamAnswerRequest, caller: Caller) -> AsyncGenerator[AnswerChunk]:
        """Answers as a stream. Closing it is a disconnect."""
        start = time.monotonic()
        _check(request)
        found = await self._beginning.attach_or_begin(request, caller, start)
        async with aclosing(self._read(found, caller, after=0)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def generate_answer(self, request: StreamAnswerRequest, caller: Caller) -> answer_pb2.Answer:
        """Answers as one message."""
        async with aclosing(self.stream_answer(request, caller)) as chunks:
            async for chunk in chunks:
                if chunk.HasField("answer"):
                    return chunk.answer
        raise AssertionError("a stream that ends without an error ends with an answer")

    async def resume_answer(
        self, request: answer_service_pb2.ResumeAnswerRequest, caller: Caller
    ) -> AsyncGenerator[AnswerChunk]:
        """Goes on with an answer's stream. Closing it is a disconnect."""
        found = await self._kept.find(caller, request.name)
        after = request.after_sequence if request.HasField("after_sequence") else None
        async with aclosing(self._read(found, caller, after=after)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def get_answer(self, request: answer_service_pb2.GetAnswerRequest, caller: Caller) -> answer_pb2.Answer:
        """An answer as it stands."""
        return await self._kept.standing(await self._kept.find(caller, request.name))

    async def list_answers(
        self, request: answer_service_pb2.ListAnswersRequest, caller: Caller
    ) -> answer_service_pb2.ListAnswersResponse:
        """A page of answers."""
        return await self._kept.page(request, caller)

    async def cancel_answer(self, request: answer_service_pb2.CancelAnswerRequest, caller: Caller) -> answer_pb2.Answer:
        """Stops an answer, and returns it as it ended."""
        by_name = request.WhichOneof("target") == "name"
        found = await (
            self._kept.find(caller, request.name) if by_name else self._kept.find_request(caller, request.request_id)
        )
        return await self._cancelled(found, caller)

    async def delete_answer(self, request: answer_service_pb2.DeleteAnswerRequest, caller: Caller) -> Empty:
        """Forgets an answer; one that runs is stopped first."""
        found = await self._kept.find(caller, request.name)
        if isinstance(found, AnswerRun):
            await _stopped(found)
        elif self._is_elsewhere(found):
            await self._cancelled(found, caller)
        _require_here(found)
        if found.request.chat if isinstance(found, AnswerRun) else found.chat:
            await self._conversations.forget(request.name)  # first: where that fails, the log still knows of it
        await self._log.delete(request.name)
        return Empty()

    async def _stop(self, caller: Caller, name: str) -> None:
        """Stops an answer, if this server makes it."""
        await self._registry.begun(name)
        run = self._registry.find(caller, name)
        if run is not None:
            await _stopped(run)
        elif self._elsewhere is not None:
            with suppress(ResourceNotFound):
                found = await self._kept.find(caller, name)
                if isinstance(found, AnswerRun) or self._is_elsewhere(found):
                    await self._cancelled(found, caller)

    def _is_elsewhere(self, found: Found) -> bool:
        return self._elsewhere is not None and self._elsewhere.makes(found)

    async def _cancelled(self, found: Found, caller: Caller) -> answer_pb2.Answer:
        """An answer as it ended, stopped if it ran, here or in another process of this server."""
        if self._elsewhere is not None and self._elsewhere.makes(found):
            stopped = await self._elsewhere.cancelled(found, caller)
            if isinstance(stopped, answer_pb2.Answer):
                return stopped
            found = stopped
        return await _cancelled(found)

    def _read(self, found: Found, caller: Caller, *, after: int | None) -> AsyncGenerator[AnswerChunk]:
        if self._elsewhere is not None and self._elsewhere.makes(found):
            return self._elsewhere.read(found, caller, after=after)
        return self._read_here(found, after)

    def _read_here(self, found: Found, after: int | None) -> AsyncGenerator[AnswerChunk]:
        if isinstance(found, AnswerRun):
            return follow(
                found, after=after, heartbeat=self._config.heartbeat, left=lambda: self._beginning.left(found)
            )
        _require_ended(found)
        return replay(found, after=after, answer_log=None if isinstance(found, TurnAnswer) else self._log)


@asynccontextmanager
async def open_orchestrator(
    backends: Backends,
    config: OrchestratorConfig,
    *,
    answer_log: AnswerLog,
    describe: DescribeFailure,
    open_chats: OpenStore | None = None,
    any_chats: AnyChats = lambda: True,
    siblings: Siblings | None = None,
) -> AsyncIterator[Orchestrator]:
    """Opens the orchestrator, which owns the tasks of its answers; leaving drains what still runs.

    Answers that an earlier process did not bring to their end go on, or are ended, in tasks of the orchestrator.

    Args:
        backends: The services to use.
        config: What it needs to know.
        answer_log: Where answers are kept; nobody else writes to it, but for siblings.
        describe: Makes a status of a failure, to be kept with the answer.
        open_chats: Opens the store of chats when it is first needed; None: there are no chats.
        any_chats: Whether there may be any in the store.
        siblings: The other processes that share the log; None: there are none.
    """
    unfinished = await answer_log.unsealed()
    async with (
        open_conversations(
            open_chats,
            answer_log=answer_log,
            describe=describe,
            max_turns=config.chats.max_turns,
            any_chats=any_chats,
        ) as conversations,
        owned_tasks(cancel=False) as tasks,
        owned_tasks(cancel=True) as measuring,
    ):
        orchestrator = Orchestrator(
            backends,
            config,
            tasks,
            answer_log=answer_log,
            conversations=conversations,
            describe=describe,
            siblings=siblings,
        )
        orchestrator.recover(unfinished)
        measuring.start_soon(orchestrator.measure)
        if siblings is not None:
            measuring.start_soon(orchestrator.watch_siblings)
        try:
            yield orchestrator
        finally:
            orchestrator.drain()


def _require_here(found: Found) -> None:
    """Refuses what only the server can do that makes the answer, where that is another."""
    if isinstance(found, TurnAnswer) and not found.ending:
        raise elsewhere(found.name)


def _require_ended(found: Found) -> None:
    """Refuses what can only be had of an answer that has ended, where another server, or a later try, goes on with it.

    Raises:
        ServiceError: It has not ended (SERVER_DRAINING).
    """
    _require_here(found)
    if found.ending:
        return
    raise draining(found.name) if isinstance(found, AnswerRun) else waiting(found.name)


async def _cancelled(found: Found) -> answer_pb2.Answer:
    """An answer as it ended, stopped if it ran."""
    if isinstance(found, AnswerRun):
        await _stopped(found)
    _require_ended(found)
    return current(found)


async def _stopped(run: AnswerRun) -> None:
    """Stops an answer, and waits until it has ended.

    Raises:
        ServiceError: It takes too long to end.
    """
    run.cancel()
    with anyio.move_on_after(CANCEL_WAIT):
        await run.ended.wait()
    if not run.ended.is_set():
        raise ending(run.name)


def _check(request: StreamAnswerRequest) -> None:
    """Refuses what cannot be answered.

    Raises:
        InvalidRequest: It is too large, or its sources are not as they must be.
    """
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise InvalidRequest("(request)", "is larger than 3 MiB: send less history, or smaller sources")
    check_provided(request.provided)
