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
    AnswerUnknown,
    AnswerWriter,
    LogFull,
    LogUnavailable,
)
from headwater_server.orchestrator.chats.conversation import Ended, nobody
from headwater_server.orchestrator.ending import expires_at

log = structlog.get_logger("headwater.answers")


class Journal:
    """Logs the events of one answer.

    Where the log has no room, or fails, the answer goes on without it, in memory: it can be read, and resumed, for as
    long as it runs here, and nobody can have it later. Its first event and its last say so.

    Args:
        answer_log: The log, to read from.
        writer: The right to write the answer; None where the log had no room for it from the beginning.
        ended: Is told how the answer has ended, once that is logged.
    """

    def __init__(self, answer_log: AnswerLog, writer: AnswerWriter | None, *, ended: Ended = nobody) -> None:
        self._log = answer_log
        self._ended = ended
        self._writer = writer
        self._name = "" if writer is None else writer.name
        self._unlogged = 0
        self._kept: list[AnswerChunk] = []  # what was logged before the log was given up
        self.kept_bytes = 0
        """How much of what was logged is kept in memory, since the log was given up."""

    @property
    def given_up(self) -> bool:
        """Whether the answer goes on without the log."""
        return self._writer is None

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
                await self._give_up(error)
        if self._writer is None:
            self._unlogged = chunks[-1].sequence
            if chunks[0].HasField("started"):
                chunks[0].started.unlogged = True

    async def conclude(self, terminal: AnswerChunk) -> None:
        """Logs the terminal message and seals the answer with it; it then says whether that could be done.

        Raises:
            Fenced: The answer has another owner by now.
        """
        await self.append([terminal])
        await self.seal(terminal.answer)
        terminal.answer.unlogged = self.given_up

    async def read(self, after: int) -> list[AnswerChunk]:
        """The next events after a sequence that were logged.

        Raises:
            AnswerLogError: They cannot be read.
        """
        if self._writer is None:
            return [chunk for chunk in self._kept if chunk.sequence > after]
        try:
            entries = await self._log.read(self._name, after=after)
        except AnswerUnknown:
            if not self.given_up:
                raise
            entries = []
        if not entries and self.given_up:  # meanwhile, and its file is gone
            return await self.read(after)
        return [AnswerChunk.FromString(entry.event) for entry in entries]

    async def seal(self, ending: answer_pb2.Answer) -> None:
        """Ends the answer in the log, and in its chat.

        Raises:
            Fenced: The answer has another owner by now.
        """
        if self._writer is not None:
            try:
                await self._writer.seal(ending.SerializeToString(), state=ending.state, expires=expires_at(ending))
            except (LogFull, LogUnavailable) as error:
                await self._give_up(error)
        if self._writer is None and self._name:
            with suppress(AnswerLogError):  # half an answer that nobody will ever finish
                await self._log.delete(self._name)
        await self._ended(ending)

    def close(self) -> None:
        """Lets go of the answer; unless it was sealed, another owner may take it."""
        if self._writer is not None:
            self._writer.close()

    async def _give_up(self, error: LogFull | LogUnavailable) -> None:
        """Goes on without the log; what it got is taken into memory, for readers who are behind."""
        log.warning("answer.unlogged", answer=self._name, error=str(error))
        writer = self._writer
        if writer is None:
            return
        with suppress(AnswerLogError):  # those who are behind will miss it
            while entries := await self._log.read(self._name, after=len(self._kept)):
                self._kept += [AnswerChunk.FromString(entry.event) for entry in entries]
                self.kept_bytes += sum(len(entry.event) for entry in entries)
        self._unlogged = writer.last_sequence
        self._writer = None
        writer.close()
        with suppress(AnswerLogError):  # at once: another owner must not go on from what is less than readers have
            await self._log.delete(self._name)
