"""How an answer begins: attached to one that there is, or recorded and made."""

from __future__ import annotations

import time

import anyio
import structlog
from anyio.abc import TaskGroup

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.errors import Reason, ServiceError
from headwater_server.interfaces import Caller
from headwater_server.names import new_id
from headwater_server.orchestrator.answer_log.protocol import (
    AnswerLog,
    AnswerRecord,
    AnswerWriter,
    LogFull,
    LogUnavailable,
    NewAnswer,
    RequestIdTaken,
)
from headwater_server.orchestrator.chats.answers import TurnAnswer, digest_of, record_of
from headwater_server.orchestrator.chats.conversation import Conversation
from headwater_server.orchestrator.chats.conversations import Conversations
from headwater_server.orchestrator.chats.protocol import TurnExists
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.failures import DescribeFailure, draining
from headwater_server.orchestrator.journal import Journal
from headwater_server.orchestrator.kept import Found
from headwater_server.orchestrator.registry import Opening, Registry
from headwater_server.orchestrator.run import AnswerRun
from headwater_server.orchestrator.searching.follow_up import FollowUps
from headwater_server.orchestrator.terms import Backends, terms_of
from headwater_server.orchestrator.timing import Clock
from headwater_server.orchestrator.transcript import Transcript, header_of
from headwater_server.orchestrator.turns import Turns

log = structlog.get_logger("headwater.answers")


class Beginning:
    """Begins answers, in tasks that belong to the orchestrator: no caller can cancel what makes an answer.

    Args:
        backends: The services to use.
        config: What the orchestrator needs to know.
        tasks: Where answers are made.
        registry: The answers that run.
        answer_log: Where answers are kept.
        conversations: The chats that answers belong to.
        follow_ups: Makes queries of conversations.
        describe: Makes a status of a failure.
    """

    def __init__(
        self,
        backends: Backends,
        config: OrchestratorConfig,
        tasks: TaskGroup,
        *,
        registry: Registry,
        answer_log: AnswerLog,
        conversations: Conversations,
        follow_ups: FollowUps,
        describe: DescribeFailure,
    ) -> None:
        self._conversations = conversations
        self._follow_ups = follow_ups
        self._backends = backends
        self._config = config
        self._tasks = tasks
        self._registry = registry
        self._log = answer_log
        self._describe = describe
        self._turns = Turns()
        self._draining = False

    def is_draining(self) -> bool:
        """Whether the server stops."""
        return self._draining

    def drain(self) -> None:
        """Ends running answers with SERVER_DRAINING, and refuses new ones."""
        self._draining = True
        for run in self._registry.running():
            run.drain()

    async def attach_or_begin(self, request: StreamAnswerRequest, caller: Caller, start: float) -> Found:
        """The answer with this request_id, or a new one.

        Raises:
            ServiceError: The request_id was used for another request (REQUEST_ID_REUSED).
            Overloaded: As many answers run as may.
        """
        opening = self._registry.find_request(caller, request.request_id)
        if opening is not None:
            if request != opening.request:  # who waits for another answer than this counts as none of its readers
                await opening.done.wait()
                raise _reused(request, "" if opening.run is None else opening.run.name)
            await self._opened(opening)
        else:
            if self._draining:
                raise ServiceError(Reason.SERVER_DRAINING, "the server stops; ask another", retry_after=1.0)
            opening = self._registry.admit(request, caller)
            self._tasks.start_soon(self._open_and_execute, opening, start)
            await self._opened(opening)
        if opening.run is not None:
            return opening.run
        if opening.failure is not None:
            raise opening.failure
        if opening.existing is None:
            raise draining(f"answers/(request_id {request.request_id})")
        _require_recorded(request, opening.existing)
        return self._registry.find(caller, opening.existing.name) or opening.existing

    async def _opened(self, opening: Opening) -> None:
        """Waits until an answer has begun; the last caller who goes away meanwhile counts as a reader who has left."""
        opening.waiting += 1
        try:
            await opening.done.wait()
        except BaseException:
            opening.waiting -= 1
            self._expect_nobody(opening)
            raise

    def _expect_nobody(self, opening: Opening) -> None:
        """Sees to an answer that has begun, and whose callers all went away before reading any of it."""
        run = opening.run
        if not opening.waiting and run is not None and not run.feed.visits:
            run.feed.expect_nobody()
            self.left(run)

    async def _open_and_execute(self, opening: Opening, start: float) -> None:
        """Records an answer and makes it: in a task that no caller can cancel."""
        try:
            try:
                await self._turns.mine()
                run = await self._open(opening, start)
            except Exception as error:
                opening.failure = error
                return
            finally:
                opening.done.set()
            if run is None:
                return
            self._expect_nobody(opening)
            await run.execute()
        finally:
            if opening.run is not None:
                self._conversations.let_go(opening.run.name)
            self._registry.remove(opening)

    async def _open(self, opening: Opening, start: float) -> AnswerRun | None:
        """Records an answer; None where there is one with its request_id.

        In a chat its prompt is stored first of all: whatever happens afterwards, what was asked is kept.
        """
        request, caller = opening.request, opening.caller
        name, created = f"answers/{new_id()}", time.time()
        self._registry.expect(opening, name)
        try:
            conversation = await self._conversations.begin(request, caller, answer=name, created=created)
        except TurnExists as error:
            opening.existing = await self._log.find(error.turn.answer) or record_of(error.turn)
            return None
        run: AnswerRun | None = None
        try:
            run = await self._record(opening, conversation, start, name=name, created=created)
        finally:
            if run is None:
                with anyio.CancelScope(shield=True):
                    await self._conversations.withdraw(name)
        return run

    async def _record(
        self, opening: Opening, conversation: Conversation, start: float, *, name: str, created: float
    ) -> AnswerRun | None:
        """Records an answer in the log; None where there is one with its request_id."""
        request, caller = opening.request, opening.caller
        new = NewAnswer(
            name=name,
            tenant=caller.tenant,
            request=request.SerializeToString(deterministic=True),
            created=created,
            request_id=request.request_id,
            chat=request.chat,
        )
        writer: AnswerWriter | None = None
        try:
            writer = await self._log.begin(new)
        except RequestIdTaken as error:
            opening.existing = error.record
            return None
        except (LogFull, LogUnavailable) as error:
            log.warning("answer.unlogged", answer=new.name, error=str(error))
        transcript = Transcript(header_of(new.name, request, created=new.created))
        return self.begun(opening, conversation, transcript=transcript, clock=Clock(start), writer=writer)

    def begun(
        self,
        opening: Opening,
        conversation: Conversation,
        *,
        transcript: Transcript,
        clock: Clock,
        writer: AnswerWriter | None,
    ) -> AnswerRun:
        """The answer that is about to be made, or gone on with; known to the registry, and told if the server stops.

        Args:
            opening: Its place.
            conversation: What was asked, and what its chat has of it.
            transcript: What there is of it.
            clock: When it began.
            writer: The right to log it; None where the log has no room.
        """
        run = AnswerRun(
            conversation,
            opening.caller,
            transcript=transcript,
            terms=terms_of(conversation.request, self._config, assistant=transcript.assistant),
            clock=clock,
            backends=self._backends,
            follow_ups=self._follow_ups,
            journal=Journal(self._log, writer, ended=conversation.ended),
            describe=self._describe,
        )
        self._registry.opened(opening, run)
        if self._draining:
            run.drain()
        return run

    def left(self, run: AnswerRun) -> None:
        """The last reader of an answer has gone: it may have to end."""
        if run.terms.goes_on or run.ended.is_set():
            return
        if run.terms.resume_window:
            self._tasks.start_soon(_abandon_later, run, run.feed.visits)
        else:
            run.abandon()


async def _abandon_later(run: AnswerRun, visits: int) -> None:
    """Stops an answer unless somebody reads it again within its window."""
    with anyio.move_on_after(run.terms.resume_window):
        await run.ended.wait()
    if run.feed.visits == visits:
        run.abandon()


def _require_recorded(request: StreamAnswerRequest, record: AnswerRecord) -> None:
    if isinstance(record, TurnAnswer):
        if record.digest != digest_of(request):
            raise _reused(request, record.name)
    else:
        _require_same(request, StreamAnswerRequest.FromString(record.request), record.name)


def _require_same(request: StreamAnswerRequest, earlier: StreamAnswerRequest, answer: str) -> None:
    if request != earlier:
        raise _reused(request, answer)


def _reused(request: StreamAnswerRequest, answer: str) -> ServiceError:
    return ServiceError(
        Reason.REQUEST_ID_REUSED,
        "the request_id was used for another request: use a new one",
        metadata={"request_id": request.request_id, "answer": answer},
    )
