"""What readers of an answer get: the events of one that runs, or of one that has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.errors import OutOfRange, Reason, RecordedFailure, ResourceNotFound, ServiceError
from headwater_server.orchestrator.answer_log.protocol import (
    AnswerLog,
    AnswerLogError,
    AnswerRecord,
    AnswerUnknown,
    Entry,
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
    await run.feed.flush_all()
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


async def replay(
    record: AnswerRecord, *, after: int | None, answer_log: AnswerLog | None
) -> AsyncGenerator[AnswerChunk]:
    """The events of an answer that has ended.

    Args:
        record: The answer, with its ending.
        after: The sequence that the reader has; None for a snapshot first. There is one too where the events after it
            cannot be read.
        answer_log: Where its events are; None where they are not kept any more.

    Raises:
        RecordedFailure: The answer's failure, after its events.
        OutOfRange: The reader claims to have more than there is; or what follows the events that it has got cannot be
            read, and it has to come back for a snapshot.
        ResourceNotFound: The answer was forgotten meanwhile.
        ServiceError: The log cannot be read now.
    """
    ending = answer_pb2.Answer.FromString(record.ending)
    failed = ending.state == answer_pb2.ANSWER_STATE_FAILED
    snapshot = _snapshot(ending, failed=failed)
    if after is None:
        yield snapshot
        after = snapshot.sequence
    elif after > record.last_sequence and (record.last_sequence or not failed):  # of one that was lost, nobody knows
        raise OutOfRange(f"{record.name} has {record.last_sequence} events: there is nothing after {after}")
    begin = after
    while after < snapshot.sequence:
        try:
            entries = await _entries(answer_log, record.name, after=after)
        except EventsLost as error:
            if after > begin:
                raise OutOfRange(f"what {record.name} said after {after} cannot be read: ask for a snapshot") from error
            yield snapshot
            break
        for entry in entries:
            chunk = AnswerChunk.FromString(entry.event)
            yield chunk
            if chunk.HasField("answer"):
                return
        after = entries[-1].sequence
    if failed:
        raise RecordedFailure(ending.error)
    yield AnswerChunk(sequence=record.last_sequence, answer=ending)


async def _entries(answer_log: AnswerLog | None, name: str, *, after: int) -> Sequence[Entry]:
    """The next events of an answer.

    Raises:
        EventsLost: They cannot be read any more.
        ResourceNotFound: The answer was forgotten meanwhile.
        ServiceError: The log cannot be read now.
    """
    if answer_log is None:
        raise EventsLost(name)
    try:
        return await answer_log.read(name, after=after)
    except EventsLost:
        raise
    except AnswerUnknown as error:
        raise ResourceNotFound(name) from error
    except AnswerLogError as error:
        raise unreadable(name) from error


def _snapshot(ending: answer_pb2.Answer, *, failed: bool) -> AnswerChunk:
    """All of an answer but its terminal message."""
    covered = ending.last_sequence if failed else ending.last_sequence - 1
    snapshot = answer_pb2.Answer()
    snapshot.CopyFrom(ending)
    snapshot.last_sequence = covered
    return AnswerChunk(sequence=covered, snapshot=snapshot)
