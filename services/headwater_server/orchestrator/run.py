"""One answer as it is made, from its request, or from where an earlier owner left it, to its end."""

from __future__ import annotations

from enum import Enum, auto

import anyio
import structlog

from headwater.v1 import answer_pb2
from headwater_server.errors import RecordedFailure, ServiceError
from headwater_server.interfaces import Caller
from headwater_server.names import assistant_name
from headwater_server.orchestrator.answer_log.protocol import Fenced
from headwater_server.orchestrator.asking import Asking
from headwater_server.orchestrator.chats.conversation import Conversation
from headwater_server.orchestrator.ending import completed_ending, cut_off_ending, failed_ending, value_name
from headwater_server.orchestrator.failures import DescribeFailure, draining, taken_over
from headwater_server.orchestrator.feed import Feed
from headwater_server.orchestrator.journal import Journal
from headwater_server.orchestrator.relay import Relay
from headwater_server.orchestrator.searching.follow_up import FollowUps
from headwater_server.orchestrator.searching.sources import is_searched, sources_of
from headwater_server.orchestrator.terms import Backends, Terms
from headwater_server.orchestrator.timing import Clock, Stopwatch
from headwater_server.orchestrator.transcript import Transcript
from headwater_server.orchestrator.watchdog import Expired, Watchdog

log = structlog.get_logger("headwater.answers")


class _Stop(Enum):
    """Why an answer is made to end from outside."""

    CANCELLED = auto()
    ABANDONED = auto()
    DRAINED = auto()
    LOST = auto()


class AnswerRun:
    """One answer.

    `execute` runs in a task that belongs to the orchestrator, not to the call that asked; calls read from `feed`.

    Args:
        conversation: What was asked, valid, and what the chat it belongs to has of it.
        caller: Who asked.
        transcript: What there is of it: nothing, or what an earlier owner has logged.
        terms: On what terms it is made.
        clock: When it began.
        backends: The services to use.
        follow_ups: Makes a query of the conversation.
        journal: Where its events are logged.
        describe: Makes a status of a failure.
    """

    def __init__(
        self,
        conversation: Conversation,
        caller: Caller,
        *,
        transcript: Transcript,
        terms: Terms,
        clock: Clock,
        backends: Backends,
        follow_ups: FollowUps,
        journal: Journal,
        describe: DescribeFailure,
    ) -> None:
        self.name = transcript.name
        self.caller = caller
        self.request = conversation.request
        self._earlier_messages = conversation.earlier_messages
        self._follow_ups = follow_ups
        self.terms = terms
        self.transcript = transcript
        self._backends = backends
        self._journal = journal
        self.feed = Feed(transcript, journal)
        self._describe = describe
        self._watchdog = Watchdog(
            terms.limits, start=clock.start, taken_over=clock.taken_over, spoken=transcript.spoken
        )
        self._stopwatch = Stopwatch(clock, self._watchdog, spoken=transcript.spoken)
        self._relay = Relay(self.feed, self._watchdog, goes_on=terms.goes_on)
        self._asking = Asking(
            self.request,
            caller,
            assistant=assistant_name(terms.assistant),
            transcript=transcript,
            feed=self.feed,
            relay=self._relay,
            assistants=backends.assistants,
            taken_over=clock.taken_over is not None,
        )
        self._scope = anyio.CancelScope()
        self._stop: _Stop | None = None
        self.ending: answer_pb2.Answer | None = None
        """How it ended, once it has: the terminal message, or what there is of it with its error. None where another
        server has to end it."""
        self.ended = anyio.Event()
        """Set when the answer has ended, however that was."""

    def cancel(self) -> None:
        """Stops the answer as its caller asks for: it ends with what it has, CANCELLED."""
        self._halt(_Stop.CANCELLED)

    def abandon(self) -> None:
        """Stops the answer because its last reader has gone."""
        self._halt(_Stop.ABANDONED)

    def drain(self) -> None:
        """Stops the answer because the server stops; readers get SERVER_DRAINING."""
        self._halt(_Stop.DRAINED)

    def lose(self) -> None:
        """Stops the answer because another server has it by now."""
        self._halt(_Stop.LOST)

    def _halt(self, why: _Stop) -> None:
        if self._stop is None and not self.ended.is_set():
            self._stop = why
            self._scope.cancel()

    async def execute(self) -> None:
        """Makes the answer; however it ends, readers are told and `ended` is set. Raises only cancellation."""
        try:
            await self._run_to_its_end()
        except Exception:  # what ends one answer ends no other
            log.exception("answer.defect", answer=self.name)

    async def _run_to_its_end(self) -> None:
        try:
            try:
                await self._succeed(await self._make())
            except Fenced:
                raise
            except Exception as error:
                await self._fail(error)
        except Fenced:
            self.feed.end(taken_over(self.name))
        except Exception as error:  # while its end was being noted
            self.feed.end(RecordedFailure(self._describe(error, self.caller.request_id)))
            raise
        except BaseException:
            self.feed.end(draining(self.name))
            raise
        finally:
            self.ended.set()
            self._journal.close()
            self._log()

    async def _succeed(self, ending: answer_pb2.Answer) -> None:
        """Ends the answer with its terminal message."""
        self.ending = await self.feed.conclude(ending)
        self.feed.end()

    async def _fail(self, error: Exception) -> None:
        """Ends the answer with a failure; what was said is kept. A server that stops leaves the end to another."""
        try:
            self.feed.number_pending()
        except Exception:
            log.exception("answer.unspeakable", answer=self.name)  # what waited breaks the rules, and is left out
        await self.feed.flush()
        if self._stop is _Stop.DRAINED or self._stop is _Stop.LOST:
            self.feed.end(draining(self.name) if self._stop is _Stop.DRAINED else taken_over(self.name))
            return
        status = self._describe(error, self.caller.request_id)
        ending = failed_ending(self.transcript, status, keep=self.terms.keep)
        ending.assistant = self.transcript.speaker or assistant_name(self.terms.assistant)
        ending.timings.CopyFrom(self._timings())
        self.ending = ending
        await self._journal.seal(ending)
        self.feed.end(error if isinstance(error, ServiceError) else RecordedFailure(status))

    async def _make(self) -> answer_pb2.Answer:
        """Retrieves, asks and relays what has not been yet; returns how it ended."""
        if not self.transcript.last_sequence:
            self.feed.put_numbered([self.transcript.add_started(assistant_name(self.terms.assistant))])
        ending: answer_pb2.Answer | None = None
        with self._watchdog.watching(self._scope), self._scope:
            if not self.transcript.searched:
                await self._retrieve()
            ending = await self._asking.ending()
        self.feed.number_pending()
        if ending is None:
            ending = self._interrupted()
        answer = completed_ending(ending, self.transcript, assistant=self.terms.assistant, keep=self.terms.keep)
        answer.timings.CopyFrom(self._timings())
        dropped = ending.timings.dropped_history_messages + self._earlier_messages
        answer.timings.dropped_history_messages = dropped
        return answer

    async def _retrieve(self) -> None:
        is_search = is_searched(self.request)
        if is_search:
            self._backends.expect(self.terms.assistant)
        made = await self._follow_ups.query(self.request, self.caller, assistant=assistant_name(self.terms.assistant))
        if made is not None and made.text:
            self._stopwatch.condensed(made.seconds)
        sources = await sources_of(self.request, self._backends.retrieval, self.caller, made=made)
        if is_search:
            self._stopwatch.retrieved()
        self.feed.put_numbered(self.transcript.add_retrieved(sources.found, sources.statistics))

    def _interrupted(self) -> answer_pb2.Answer:
        """How an answer ends that was stopped: by its caller, its reader's going, the server's draining, or a limit."""
        if self._relay.over_long:
            return cut_off_ending(self.transcript, answer_pb2.FINISH_REASON_MAX_TOKENS)
        if self._stop is _Stop.DRAINED:
            raise draining(self.name)
        if self._stop is _Stop.LOST:
            raise taken_over(self.name)
        if self._stop is not None:
            if not self.transcript.searched:
                self.feed.put_numbered(self.transcript.add_retrieved([], self.transcript.statistics))
            return cut_off_ending(self.transcript, answer_pb2.FINISH_REASON_CANCELLED)
        if self._watchdog.expired is Expired.TOTAL and self.transcript.text_bytes:
            return cut_off_ending(self.transcript, answer_pb2.FINISH_REASON_TIME_LIMIT)
        raise self._watchdog.failure(answer=self.name, assistant=self.terms.assistant)

    def _timings(self) -> answer_pb2.Timings:
        timings = self._stopwatch.timings()
        timings.continuations = self._relay.continuations
        return timings

    def _log(self) -> None:
        log.info(
            "answer.ended",
            answer=self.name,
            assistant=self.terms.assistant,
            outcome=self._outcome(),
            sources=len(self.transcript.sources),
            text_bytes=self.transcript.text_bytes,
            events=self.transcript.last_sequence,
            seconds=round(self._stopwatch.elapsed, 3),
            request_id=self.caller.request_id,
        )

    def _outcome(self) -> str:
        """How it ended, in a word."""
        terminal = self.transcript.terminal
        if terminal is not None:
            return value_name(answer_pb2.FinishReason.DESCRIPTOR, terminal.finish_reason).removeprefix("FINISH_REASON_")
        if self.ending is None and self._stop is not None and self._stop in {_Stop.DRAINED, _Stop.LOST}:
            return self._stop.name  # another ends it
        return "FAILED"
