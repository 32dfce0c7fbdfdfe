"""An answer log that does what a test tells it before it does its work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerWriter, Entry, NewAnswer

Hook = Callable[[Sequence[AnswerChunk]], Awaitable[None]]


async def nothing(chunks: Sequence[AnswerChunk]) -> None:
    """What is done first where no test says otherwise."""


class HookedLog(MemoryAnswerLog):
    """A log in memory, with a hook before each step, and one after the first.

    Those of writers get the events that are written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.before_begin: Hook = nothing
        self.after_begin: Hook = nothing
        self.before_append: Hook = nothing
        self.before_seal: Hook = nothing
        self.before_read: Hook = nothing

    async def begin(self, answer: NewAnswer) -> AnswerWriter:  # type: ignore[override]  # around the log's own
        await self.before_begin(())
        writer = await super().begin(answer)
        await self.after_begin(())
        return _HookedWriter(writer, self)

    async def claim(self, name: str) -> AnswerWriter:  # type: ignore[override]  # around the log's own
        return _HookedWriter(await super().claim(name), self)

    async def read(self, name: str, *, after: int, max_bytes: int = 1024 * 1024) -> Sequence[Entry]:
        await self.before_read(())
        return await super().read(name, after=after, max_bytes=max_bytes)


class _HookedWriter:
    def __init__(self, writer: AnswerWriter, answer_log: HookedLog) -> None:
        self._writer = writer
        self._log = answer_log

    @property
    def name(self) -> str:
        return self._writer.name

    @property
    def epoch(self) -> int:
        return self._writer.epoch

    @property
    def last_sequence(self) -> int:
        return self._writer.last_sequence

    async def append(self, events: Sequence[bytes]) -> None:
        await self._log.before_append([AnswerChunk.FromString(event) for event in events])
        await self._writer.append(events)

    async def seal(self, ending: bytes, *, state: int, expires: float | None) -> None:
        await self._log.before_seal(())
        await self._writer.seal(ending, state=state, expires=expires)

    def close(self) -> None:
        self._writer.close()
