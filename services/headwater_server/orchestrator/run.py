"""One answer as it is made: retrieve, ask, relay."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, auto

import anyio
import anyio.lowlevel
import structlog
from google.protobuf.duration_pb2 import Duration

from headwater.v1 import answer_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.retrieval_service_pb2 import RetrieveRequest
from headwater_server.errors import Reason, RecordedFailure, ServiceError
from headwater_server.interfaces import Assistants, Caller, Retrieval
from headwater_server.names import assistant_id, assistant_name
from headwater_server.orchestrator.answer_log.protocol import Fenced
from headwater_server.orchestrator.ending import date_ending, failed_ending
from headwater_server.orchestrator.failures import DescribeFailure, draining, taken_over
from headwater_server.orchestrator.feed import Feed
from headwater_server.orchestrator.journal import Journal
from headwater_server.orchestrator.provided import provided_sources
from headwater_server.orchestrator.transcript import Transcript, header
from headwater_server.orchestrator.watchdog import Expired, Limits, Watchdog
from headwater_server.owned_tasks import owned_tasks

log = structlog.get_logger("headwater.answers")


class _Stop(Enum):
    """Why an answer is made to end from outside."""

    CANCELLED = auto()
    ABANDONED = auto()
    DRAINED = auto()
    LOST = auto()


@dataclass(frozen=True, slots=True)
class Backends:
    """The services an answer is made with."""

    retrieval: Retrieval
    assistants: Assistants


@dataclass(frozen=True, slots=True)
class Persistence:
    """How an answer goes on without readers, and how long it is kept."""

    goes_on: bool
    """Whether it comes to its end without any (`on_disconnect: CONTINUE`)."""
    resume_window: float
    """How long, in seconds, the last one may be gone before it is stopped; where it does not go on anyway."""
    keep: float
    """How long it is kept once it has ended, in seconds."""


class AnswerRun:
    """One answer, from its request to its end.

    `execute` runs in a task that belongs to the orchestrator, not to the call that asked; calls read from `feed`.

    Args:
        request: What was asked; valid.
        caller: Who asked.
        name: The answer's name.
        assistant: `provider/model` that is asked.
        limits: How long to wait.
        start: When the request arrived, by `time.monotonic`.
        persistence: How it goes on without readers, and how long it is kept.
        backends: The services to use.
        journal: Where its events are logged.
        describe: Makes a status of a failure.
    """

    def __init__(
        self,
        request: StreamAnswerRequest,
        caller: Caller,
        *,
        name: str,
        assistant: str,
        limits: Limits,
        start: float,
        created: float,
        persistence: Persistence,
        backends: Backends,
        journal: Journal,
        describe: DescribeFailure,
    ) -> None:
        self.name = name
        self.caller = caller
        self.request = request
        self.persistence = persistence
        self._assistant = assistant
        self._backends = backends
        self._start = start
        self.transcript = Transcript(
            header(
                name=name,
                request_id=request.request_id,
                prompt=request.prompt,
                labels=request.labels,
                created_at=created,
            )
        )
        self._journal = journal
        self.feed = Feed(self.transcript, journal)
        self._describe = describe
        self._watchdog = Watchdog(limits, start=self._start)
        self._scope = anyio.CancelScope()
        self._stop: _Stop | None = None
        self._over_long = False
        self._retrieved_at: float | None = None
        self._statistics = source_pb2.RetrievalStatistics()
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
            try:
                await self._succeed(await self._make())
            except Fenced:
                raise
            except Exception as error:
                await self._fail(error)
        except Fenced:
            self.feed.end(taken_over(self.name))
        except BaseException:
            self.feed.end(draining(self.name))
            raise
        finally:
            self._journal.close()
            self.ended.set()
            self._log()

    async def _succeed(self, ending: answer_pb2.Answer) -> None:
        """Ends the answer with its terminal message."""
        chunk = self.transcript.add_answer(ending)
        self.feed.put_numbered([chunk])
        await self.feed.flush()
        self.ending = chunk.answer
        await self._journal.seal(chunk.answer)
        self.feed.end()

    async def _fail(self, error: Exception) -> None:
        """Ends the answer with a failure; what was said is kept. A server that stops leaves the end to another."""
        try:
            self.feed.number_pending()
        except Exception:
            log.exception("answer.unspeakable", answer=self.name)  # what waited breaks the rules, and is left out
        await self.feed.flush()
        if self._stop in {_Stop.DRAINED, _Stop.LOST}:
            self.feed.end(error)
            return
        status = self._describe(error, self.caller.request_id)
        ending = failed_ending(self.transcript, status, keep=self.persistence.keep)
        ending.assistant = assistant_name(self._assistant)
        ending.timings.CopyFrom(self._timings(0))
        self.ending = ending
        await self._journal.seal(ending)
        self.feed.end(error if isinstance(error, ServiceError) else RecordedFailure(status))

    async def _make(self) -> answer_pb2.Answer:
        """Retrieves, asks and relays; returns how it ended."""
        self.feed.put_numbered([self.transcript.add_started(assistant_name(self._assistant))])
        ending: answer_pb2.Answer | None = None
        async with owned_tasks(cancel=True) as tasks:
            tasks.start_soon(self._watchdog.watch, self._scope)
            with self._scope:
                sources = await self._retrieve()
                ending = await self._generate(sources)
        self.feed.number_pending()
        if ending is None:
            ending = self._interrupted()
        return self._completed(ending)

    async def _retrieve(self) -> Sequence[source_pb2.Source]:
        kind = self.request.WhichOneof("grounding")
        found: list[source_pb2.Source] = []
        if kind == "provided":
            found += provided_sources(self.request.provided)
        elif kind != "ungrounded":
            options = source_pb2.RetrievalOptions()
            options.CopyFrom(self.request.retrieval)
            if not options.query.strip():
                options.query = self.request.prompt
            found += await self._search(RetrieveRequest(options=options))
        self._retrieved_at = time.monotonic()
        self.feed.put_numbered(self.transcript.add_retrieved(found, self._statistics))
        return self.transcript.sources

    async def _search(self, request: RetrieveRequest) -> list[source_pb2.Source]:
        found: list[source_pb2.Source] = []
        complete = False
        async with aclosing(self._backends.retrieval.retrieve(request, self.caller)) as batches:
            async for batch in batches:
                found += batch.sources
                if batch.HasField("statistics"):
                    complete = True
                    self._statistics = batch.statistics
        if not complete:
            raise ConnectionError("the retrieval service ended without its last message")
        return found

    async def _generate(self, sources: Sequence[source_pb2.Source]) -> answer_pb2.Answer | None:
        """Relays what the assistant says; returns how that ended, or None where the text has no more room."""
        request = StreamGenerateRequest(
            answer=self.name,
            assistant=assistant_name(self._assistant),
            prompt=self.request.prompt,
            history=self.request.history,
            sources=sources,
            grounded=self.request.WhichOneof("grounding") != "ungrounded",
            generation=self.request.generation if self.request.HasField("generation") else None,
            abstain_policy=self.request.abstain_policy,
        )
        room = self.transcript.room
        async with aclosing(self._backends.assistants.stream_generate(request, self.caller)) as events:
            async for event in events:
                match event.WhichOneof("event"):
                    case "text":
                        piece = event.text.text
                        if not piece:
                            continue
                        self._watchdog.heard()
                        size = len(piece.encode())
                        if size > room:
                            await self._put_rest(piece, room)
                            self._over_long = True
                            return None
                        room -= size
                        await self._put(event)
                    case "reasoning":
                        if event.reasoning.text:
                            self._watchdog.heard()
                            await self._put(event)
                    case "citation":
                        await self._put(event)
                    case "answer":
                        return event.answer
        raise ServiceError(
            Reason.PROVIDER_TRUNCATED,
            "the assistant service ended without its last message; the text may be incomplete",
            metadata={"answer": self.name, "provider": self._assistant.partition("/")[0]},
        )

    async def _put(self, event: AnswerChunk) -> None:
        if self.feed.full and not self.persistence.goes_on:
            with self._watchdog.paused():
                await self.feed.wait_for_room()
        self.feed.put(event)
        if self.feed.deserted or (self.feed.full and self.persistence.goes_on):  # nobody asks for it
            await self.feed.flush()
            await anyio.lowlevel.checkpoint()  # an assistant that never waits must still be stopped

    async def _put_rest(self, piece: str, room: int) -> None:
        """Hands on as much of the text as there is room for, cut between two characters."""
        fitting = piece.encode()[:room].decode(errors="ignore")
        if fitting:
            await self._put(AnswerChunk(text=answer_pb2.TextDelta(text=fitting)))

    def _interrupted(self) -> answer_pb2.Answer:
        """How an answer ends that was stopped: by its caller, its reader's going, the server's draining, or a limit."""
        if self._over_long:
            return self._cut_off(answer_pb2.FINISH_REASON_MAX_TOKENS)
        if self._stop is _Stop.DRAINED:
            raise draining(self.name)
        if self._stop is _Stop.LOST:
            raise taken_over(self.name)
        if self._stop is not None:
            if self._retrieved_at is None:
                self.feed.put_numbered(self.transcript.add_retrieved([], self._statistics))
            return self._cut_off(answer_pb2.FINISH_REASON_CANCELLED)
        if self._watchdog.expired is Expired.TOTAL and self.transcript.text_bytes:
            return self._cut_off(answer_pb2.FINISH_REASON_TIME_LIMIT)
        raise self._watchdog.failure(answer=self.name, assistant=self._assistant)

    def _cut_off(self, reason: answer_pb2.FinishReason.ValueType) -> answer_pb2.Answer:
        """The ending of an answer whose assistant did not come to its own."""
        return answer_pb2.Answer(
            finish_reason=reason, usage=self.transcript.estimated_usage(), sources=self._presented()
        )

    def _presented(self) -> list[source_pb2.Source]:
        """The sources as shown to the assistant, where it was stopped before it could say which it was shown."""
        if self._watchdog.first_token is None:
            return []
        presented = source_pb2.SOURCE_DISPOSITION_PRESENTED
        return [source_pb2.Source(id=source.id, disposition=presented) for source in self.transcript.sources]

    def _completed(self, ending: answer_pb2.Answer) -> answer_pb2.Answer:
        """Adds to an ending what only the orchestrator knows."""
        answer = answer_pb2.Answer()
        answer.CopyFrom(ending)
        if answer.finish_reason == answer_pb2.FINISH_REASON_UNSPECIFIED:
            answer.finish_reason = answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN
        cancelled = answer.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
        answer.state = answer_pb2.ANSWER_STATE_CANCELLED if cancelled else answer_pb2.ANSWER_STATE_SUCCEEDED
        if not answer.assistant:
            answer.assistant = assistant_name(self._assistant)
        nothing_left = self._statistics.below_min_score > 0 and not self.transcript.sources
        if nothing_left and answer.abstain_reason == answer_pb2.ABSTAIN_REASON_NO_SOURCES:
            answer.abstain_reason = answer_pb2.ABSTAIN_REASON_LOW_RELEVANCE
        answer.timings.CopyFrom(self._timings(answer.timings.dropped_history_messages))
        date_ending(answer, keep=self.persistence.keep)
        return answer

    def _timings(self, dropped: int) -> answer_pb2.Timings:
        now = time.monotonic()
        first = self._watchdog.first_token
        timings = answer_pb2.Timings(total=_duration(now - self._start), dropped_history_messages=dropped)
        searched = self.request.WhichOneof("grounding") in {None, "retrieval"}
        if searched and self._retrieved_at is not None:
            timings.retrieval.CopyFrom(_duration(self._retrieved_at - self._start))
        if first is not None:
            timings.first_token.CopyFrom(_duration(first - self._start))
            timings.generation.CopyFrom(_duration(now - first))
        return timings

    def _log(self) -> None:
        terminal = self.transcript.terminal
        outcome = answer_pb2.FinishReason.Name(terminal.finish_reason) if terminal is not None else "FAILED"
        log.info(
            "answer.ended",
            answer=self.name,
            assistant=self._assistant,
            outcome=outcome.removeprefix("FINISH_REASON_"),
            sources=len(self.transcript.sources),
            text_bytes=self.transcript.text_bytes,
            events=self.transcript.last_sequence,
            seconds=round(time.monotonic() - self._start, 3),
            request_id=self.caller.request_id,
        )


def default_assistant(request: StreamAnswerRequest, default: str) -> str:
    """`provider/model` that a request asks for, or the server's default."""
    return assistant_id(request.assistant) or default


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(max(0, round(seconds * 1_000_000)))
    return duration
