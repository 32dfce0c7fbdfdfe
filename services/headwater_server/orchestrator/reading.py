"""What readers of an answer get: the events of one that runs, or of one that has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.errors import OutOfRange, Reason, RecordedFailure, ResourceNotFound, ServiceError
from headwater_server.orchestrator.answer_log.protocol import (
    AnswerLog,
    AnswerLogError,
    AnswerRecord,
    AnswerUnknown,
    EventsLost,
    Fenced,
)
from headwater_server.orchestrator.failures import missed, taken_over, unreadable
from headwater_server.orchestrator.run import AnswerRun


async def follow(
    run: AnswerRun, *, after: int | None, heartbeat: float, left: Callable[[], None]
) -> AsyncGenerator[AnswerChunk]:
    """The events of an answer that runs, to its end.

    Args:
        run: The answer.
        after: The sequence that the reader has; None for a snapshot first.
        heartbeat: The silence after which it gets a heartbeat, in seconds.
        left: Called when the last reader of the answer has gone.

    Raises:
        ServiceError: The reader claims to have more than there is, or what it missed is lost (ANSWER_DIVERGED); another
            has the answer by now; or what it missed cannot be read now.
        ResourceNotFound: The answer was forgotten meanwhile.
        Exception: The answer's failure.
    """
    feed = run.feed
    with feed.reading(left=left):
        try:
            if after is None:
                yield (snapshot := await _snapshot_so_far(run))
                after = snapshot.sequence
            elif after > feed.published:
                await _require_reached(run, after)
            while chunks := await feed.take(after, heartbeat) or _silence(run, after):
                for chunk in chunks:
                    yield chunk
                    if chunk.HasField("answer"):
                        return
                after = chunks[-1].sequence
        except Fenced as error:
            run.lose()
            raise taken_over(run.name) from error
        except EventsLost as error:
            raise missed(run.name, after=after or 0, last=feed.published) from error
        except AnswerUnknown as error:
            raise ResourceNotFound(run.name) from error
        except AnswerLogError as error:
            raise unreadable(run.name) from error
    yield _terminal_again(run, after)


async def _snapshot_so_far(run: AnswerRun) -> AnswerChunk:
    """All that is logged of an answer that runs, but its terminal message, which always comes by itself."""
    await run.feed.flush()
    while run.feed.behind:  # more was numbered while that was logged
        await run.feed.flush()
    snapshot = run.transcript.answer_so_far()
    if run.transcript.terminal is not None:
        snapshot.last_sequence -= 1
    return AnswerChunk(sequence=snapshot.last_sequence, snapshot=snapshot)


async def _require_reached(run: AnswerRun, after: int) -> None:
    """Refuses a reader who has more than there is of an answer that runs."""
    await run.feed.flush()
    if after > run.feed.published and not run.feed.ended:
        raise ServiceError(
            Reason.ANSWER_DIVERGED,
            f"{run.name} has {run.feed.published} events so far, and the reader has {after}: ask for a snapshot",
            metadata={
                "answer": run.name,
                "after_sequence": str(after),
                "last_sequence": str(run.feed.published),
            },
        )


def _silence(run: AnswerRun, after: int) -> list[AnswerChunk]:
    """What a reader gets when nothing came: a sign of life, and nothing where the answer has ended."""
    return [] if run.feed.ended else [AnswerChunk(sequence=after, heartbeat=answer_pb2.Heartbeat())]


def _terminal_again(run: AnswerRun, after: int) -> AnswerChunk:
    """What a reader gets who has everything: the terminal message once more."""
    terminal = run.transcript.terminal
    if terminal is None or after > terminal.last_sequence:
        raise OutOfRange(f"{run.name} has ended: there is nothing after {after}")
    return AnswerChunk(sequence=terminal.last_sequence, answer=terminal)


async def replay(answer_log: AnswerLog, record: AnswerRecord, *, after: int | None) -> AsyncGenerator[AnswerChunk]:
    """The events of an answer that has ended.

    Args:
        answer_log: The log.
        record: The answer, sealed.
        after: The sequence that the reader has; None for a snapshot first.

    Raises:
        RecordedFailure: The answer's failure, after its events.
        OutOfRange: The reader claims to have more than there is.
        ResourceNotFound: The answer was forgotten meanwhile.
        ServiceError: The log cannot be read now.
    """
    ending = answer_pb2.Answer.FromString(record.ending)
    failed = ending.state == answer_pb2.ANSWER_STATE_FAILED
    if after is None:
        yield _snapshot(ending, failed=failed)
        after = record.last_sequence if failed else record.last_sequence - 1
    elif after > record.last_sequence:
        raise OutOfRange(f"{record.name} has {record.last_sequence} events: there is nothing after {after}")
    while after < record.last_sequence:
        try:
            entries = await answer_log.read(record.name, after=after)
        except AnswerUnknown as error:
            raise ResourceNotFound(record.name) from error
        except EventsLost:
            yield _snapshot(ending, failed=failed)
            break
        except AnswerLogError as error:
            raise unreadable(record.name) from error
        for entry in entries:
            chunk = AnswerChunk.FromString(entry.event)
            yield chunk
            if chunk.HasField("answer"):
                return
        after = entries[-1].sequence
    if failed:
        raise RecordedFailure(ending.error)
    yield AnswerChunk(sequence=record.last_sequence, answer=ending)


async def recite(record: AnswerRecord, *, after: int | None) -> AsyncGenerator[AnswerChunk]:
    """What there is of an answer that has ended, and whose events are not kept any more: a snapshot, and its end.

    Args:
        record: The answer, with its ending.
        after: The sequence that the reader has; None, or less than there are, for a snapshot first.

    Raises:
        RecordedFailure: The answer's failure, after the snapshot.
        OutOfRange: The reader claims to have more than there is.
    """
    ending = answer_pb2.Answer.FromString(record.ending)
    failed = ending.state == answer_pb2.ANSWER_STATE_FAILED
    snapshot = _snapshot(ending, failed=failed)
    if after is not None and after > record.last_sequence:
        raise OutOfRange(f"{record.name} has {record.last_sequence} events: there is nothing after {after}")
    if after is None or after < snapshot.sequence:
        yield snapshot
    if failed:
        raise RecordedFailure(ending.error)
    yield AnswerChunk(sequence=record.last_sequence, answer=ending)


def _snapshot(ending: answer_pb2.Answer, *, failed: bool) -> AnswerChunk:
    """All of an answer but its terminal message."""
    covered = ending.last_sequence if failed else ending.last_sequence - 1
    snapshot = answer_pb2.Answer()
    snapshot.CopyFrom(ending)
    snapshot.last_sequence = covered
    return AnswerChunk(sequence=covered, snapshot=snapshot)
