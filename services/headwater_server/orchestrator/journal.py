"""What one running answer has of the log: a place to write its events to, until there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import structlog

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.orchestrator.answer_log.protocol import (
    AnswerLog,
    AnswerLogError,
    AnswerWriter,
    LogFull,
    LogUnavailable,
)
from headwater_server.orchestrator.ending import expires_at

log = structlog.get_logger("headwater.answers")


class Journal:
    """Logs the events of one answer.

    Where the log has no room, or fails, the answer goes on without it: it can be read to its end by those who read it
    now, and nobody can have it later.

    Args:
        answer_log: The log, to read from.
        writer: The right to write the answer; None where the log had no room for it from the beginning.
    """

    def __init__(self, answer_log: AnswerLog, writer: AnswerWriter | None) -> None:
        self._log = answer_log
        self._writer = writer
        self._name = "" if writer is None else writer.name
        self._unlogged = 0

    @property
    def can_be_read(self) -> bool:
        """Whether every event so far can be read from the log."""
        return self._writer is not None

    @property
    def last_sequence(self) -> int:
        """The sequence of the last event that may be sent."""
        if self._writer is not None:
            return self._writer.last_sequence
        return self._unlogged

    async def append(self, chunks: Sequence[AnswerChunk]) -> None:
        """Logs events; once it has returned they may be sent.

        Raises:
            Fenced: The answer has another owner by now.
        """
        if self._writer is not None:
            try:
                await self._writer.append([chunk.SerializeToString() for chunk in chunks])
            except (LogFull, LogUnavailable) as error:
                self._give_up(error)
        if self._writer is None:
            self._unlogged = chunks[-1].sequence

    async def read(self, after: int) -> list[AnswerChunk]:
        """The next events after a sequence, from the log.

        Raises:
            AnswerLogError: They cannot be read.
        """
        return [AnswerChunk.FromString(entry.event) for entry in await self._log.read(self._name, after=after)]

    async def seal(self, ending: answer_pb2.Answer) -> None:
        """Ends the answer in the log.

        Raises:
            Fenced: The answer has another owner by now.
        """
        if self._writer is not None:
            try:
                await self._writer.seal(ending.SerializeToString(), state=ending.state, expires=expires_at(ending))
            except (LogFull, LogUnavailable) as error:
                self._give_up(error)
        if self._writer is None and self._name:
            with suppress(AnswerLogError):  # half an answer that nobody will ever finish
                await self._log.delete(self._name)

    def close(self) -> None:
        """Lets go of the answer; unless it was sealed, another owner may take it."""
        if self._writer is not None:
            self._writer.close()

    def _give_up(self, error: LogFull | LogUnavailable) -> None:
        """Goes on without the log; readers who are behind can still have what it got."""
        log.warning("answer.unlogged", answer=self._name, error=str(error))
        if self._writer is not None:
            self._unlogged = self._writer.last_sequence
            self._writer.close()
        self._writer = None
