"""What becomes of answers whose owner died: each goes on where it stopped, or is brought to an end."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import structlog
from anyio.abc import TaskGroup
from google.protobuf.message import DecodeError

from headwater.v1 import answer_pb2
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.errors import ServiceError
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.protocol import (
    AnswerLog,
    AnswerLogError,
    AnswerRecord,
    AnswerWriter,
    EventsLost,
    LogFull,
    LogUnavailable,
)
from headwater_server.orchestrator.beginning import Beginning
from headwater_server.orchestrator.chats.conversation import Conversation
from headwater_server.orchestrator.chats.conversations import Conversations
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.ending import expires_at, failed_ending, value_name
from headwater_server.orchestrator.failures import DescribeFailure, owner_lost
from headwater_server.orchestrator.logged import logged_transcript
from headwater_server.orchestrator.registry import Opening, Registry
from headwater_server.orchestrator.run import AnswerRun
from headwater_server.orchestrator.terms import terms_of
from headwater_server.orchestrator.timing import Clock
from headwater_server.orchestrator.transcript import RuleBrokenError, Transcript, header_of

log = structlog.get_logger("headwater.answers")

MAX_OWNERS = 50
"""How many owners an answer may have had: one that has outlived so many may be what they died of."""

_OPENED_AT_ONCE = 8
_FULL_PAUSE = 2.0
"""How long to wait, in seconds, before an answer is taken over for which the disk had no room, or whose chat could not
be read."""


class Recovery:
    """Takes over the answers that were running when their owner died.

    One whose terminal message was logged has ended as that says. One that somebody may still want goes on: its events
    stay as they are, sources that were found are not searched again, and its assistant is asked to go on from what it
    had said (see `Asking`). Nobody reads it at first, so that its resume window counts from now. Every other one fails
    with OWNER_LOST, and keeps what was said of it: where there is reasoning, which no assistant can go on from; where
    it was to end with its reader, who had to go with the owner; and where it has had too many owners.

    Args:
        config: What the orchestrator needs to know.
        tasks: Where answers are made.
        registry: The answers that run.
        answer_log: Where answers are kept.
        beginning: Makes answers go on, knows what to do when nobody reads, and whether the server stops.
        conversations: The chats that answers belong to.
        describe: Makes a status of a failure.
    """

    def __init__(
        self,
        config: OrchestratorConfig,
        tasks: TaskGroup,
        *,
        registry: Registry,
        answer_log: AnswerLog,
        beginning: Beginning,
        conversations: Conversations,
        describe: DescribeFailure,
    ) -> None:
        self._conversations = conversations
        self._config = config
        self._tasks = tasks
        self._registry = registry
        self._log = answer_log
        self._beginning = beginning
        self._describe = describe
        self._limiter = anyio.CapacityLimiter(_OPENED_AT_ONCE)

    def start(self, records: Sequence[AnswerRecord]) -> None:
        """Takes answers over, in tasks of the orchestrator; whoever asks for one of them waits until it has been.

        Only as many at once as may run; the others follow as there is room.

        Args:
            records: Those that have not ended; nobody writes them any more.
        """
        left = list(records)
        while left and not self._registry.full:
            self._admit(left.pop(0))
        if left:
            self._tasks.start_soon(self._follow, left)

    async def _follow(self, records: Sequence[AnswerRecord]) -> None:
        for record in records:
            await self._registry.room()
            if self._beginning.is_draining():
                return
            self._admit(record)

    async def _follow_later(self, records: Sequence[AnswerRecord]) -> None:
        """Tries once more when there may be room on the disk, or a database: who asks until then is told to wait."""
        await anyio.sleep(_FULL_PAUSE)
        await self._follow(records)

    def _admit(self, record: AnswerRecord) -> None:
        request = _request_of(record) or StreamAnswerRequest(request_id=record.request_id, chat=record.chat)
        caller = Caller(tenant=record.tenant, credential=self._config.credentials.get(record.tenant, ""))
        opening = self._registry.admit(request, caller, name=record.name)
        self._tasks.start_soon(self._take_over, record, opening)

    async def _take_over(self, record: AnswerRecord, opening: Opening) -> None:
        """Takes one answer over, and goes on with it to its end."""
        try:
            try:
                run = await self._open(record, opening)
                if run is None:
                    opening.existing = await self._log.find(record.name)
            except (AnswerLogError, ServiceError) as error:
                log.warning("answer.unrecovered", answer=record.name, error=str(error))  # it is left for the next time
                opening.existing = record
                if isinstance(error, LogFull | LogUnavailable | ServiceError):
                    self._tasks.start_soon(self._follow_later, [record])
                return
            except Exception:
                log.exception("answer.unrecovered", answer=record.name)  # one that cannot be read stops no other
                opening.existing = record
                return
            finally:
                opening.done.set()
            if run is not None:
                run.feed.expect_nobody()
                self._beginning.left(run)
                await run.execute()
        finally:
            self._conversations.let_go(record.name)
            self._registry.remove(opening)

    async def _open(self, record: AnswerRecord, opening: Opening) -> AnswerRun | None:
        """The answer as it goes on; None where it has ended instead."""
        async with self._limiter:
            if self._beginning.is_draining():
                return None
            if record.chat:  # before it has one owner more: one that cannot be gone on with now is tried many times
                await self._conversations.find(opening.caller, record.name)
            writer = await self._log.claim(record.name)
            try:
                try:
                    transcript = await logged_transcript(self._log, record, opening.request)
                    lost = self._lost(transcript, opening.request, owners=writer.epoch)
                except (EventsLost, DecodeError, RuleBrokenError):
                    log.exception("answer.unreadable", answer=record.name)
                    transcript = Transcript(header_of(record.name, opening.request, created=record.created))
                    lost = "what was said cannot be read"
                if _request_of(record) is None:
                    lost = "what was asked cannot be read"
                conversation: Conversation | None = None
                if transcript.terminal is None and not lost:
                    conversation = await self._conversations.go_on(opening.request, answer=record.name)
                if conversation is None:
                    await self._end(writer, transcript, why=lost or "its chat has given it up")
                    writer.close()
                    return None
            except BaseException:
                writer.close()
                raise
        clock = Clock.since(record.created)
        run = self._beginning.begun(opening, conversation, transcript=transcript, clock=clock, writer=writer)
        log.info("answer.goes_on", answer=record.name, events=transcript.last_sequence, owners=writer.epoch)
        return run

    def _lost(self, transcript: Transcript, request: StreamAnswerRequest, *, owners: int) -> str:
        """Why nobody goes on with an answer; empty where somebody does."""
        terms = terms_of(request, self._config)
        if not terms.goes_on and not terms.resume_window:
            return "its only reader with it"
        if transcript.reasoned:
            return "the assistant cannot go on from what it was thinking"
        if owners > MAX_OWNERS:
            return f"{owners - 1} others before it"
        return ""

    async def _end(self, writer: AnswerWriter, transcript: Transcript, *, why: str) -> None:
        lost = self._describe(owner_lost(transcript.name, why=why), "")
        ending = transcript.terminal or failed_ending(transcript, lost, keep=self._config.keep)
        await writer.seal(ending.SerializeToString(), state=ending.state, expires=expires_at(ending))
        if transcript.chat:
            await self._conversations.release(transcript.name)
        log.info(
            "answer.recovered",
            answer=transcript.name,
            outcome=value_name(answer_pb2.AnswerState.DESCRIPTOR, ending.state).removeprefix("ANSWER_STATE_"),
            events=transcript.last_sequence,
            text_bytes=transcript.text_bytes,
        )


def _request_of(record: AnswerRecord) -> StreamAnswerRequest | None:
    """What was asked, or None where it cannot be read."""
    try:
        return StreamAnswerRequest.FromString(record.request)
    except DecodeError:
        return None
