"""An answer log that leaves nothing on the disk, for those who must not keep answers there."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
from anyio import Event

from headwater.v1 import answer_pb2
from headwater_server.orchestrator.answer_log.listing import how_many
from headwater_server.orchestrator.answer_log.protocol import (
    LISTED_BYTES,
    AnswerRecord,
    AnswerSealed,
    AnswerUnknown,
    Entry,
    Fenced,
    LogFull,
    NewAnswer,
    RequestIdTaken,
)
from headwater_server.owned_tasks import owned_tasks

_RUNNING = answer_pb2.ANSWER_STATE_RUNNING


@dataclass(slots=True)
class _Kept:
    record: AnswerRecord
    events: list[bytes] = field(default_factory=list)
    size: int = 0
    news: Event = field(default_factory=Event)

    def wake(self) -> None:
        self.news.set()
        self.news = Event()


class MemoryAnswerLog:
    """An `AnswerLog` in this process's memory: answers survive their connections, and nothing else.

    What ended first is forgotten first where more is kept than `max_bytes`.

    Args:
        max_bytes: How much all events and endings may take. Running answers that need more get `LogFull`.
    """

    def __init__(self, *, max_bytes: int = 256 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._kept: dict[str, _Kept] = {}  # in the order of their beginning
        self._ended: dict[str, None] = {}  # in the order of their end
        self._by_request: dict[tuple[str, str], str] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, *, max_bytes: int = 256 * 1024 * 1024, interval: float = 15.0
    ) -> AsyncGenerator[MemoryAnswerLog]:
        """A log that forgets what has expired, looking every `interval` seconds."""
        answer_log = cls(max_bytes=max_bytes)
        async with owned_tasks(cancel=True) as tasks:
            tasks.start_soon(answer_log._forget, interval)
            yield answer_log

    async def begin(self, answer: NewAnswer) -> _Writer:
        """See `AnswerLog`."""
        taken = self._by_request.get((answer.tenant, answer.request_id)) if answer.request_id else None
        if taken is not None:
            raise RequestIdTaken(self._kept[taken].record)
        record = AnswerRecord(
            name=answer.name,
            tenant=answer.tenant,
            request=answer.request,
            created=answer.created,
            request_id=answer.request_id,
            chat=answer.chat,
            epoch=1,
            ending=b"",
            state=_RUNNING,
            last_sequence=0,
            expires=None,
        )
        kept = _Kept(record)
        self.make_room(len(answer.request))
        self.grow(kept, len(answer.request))
        self._kept[answer.name] = kept
        if answer.request_id:
            self._by_request[answer.tenant, answer.request_id] = answer.name
        return _Writer(self, kept, epoch=1)

    async def claim(self, name: str) -> _Writer:
        """See `AnswerLog`."""
        kept = self._required(name)
        if kept.record.state != _RUNNING:
            raise AnswerSealed(f"{name} has ended")
        kept.record = replace(kept.record, epoch=kept.record.epoch + 1)
        kept.wake()
        return _Writer(self, kept, epoch=kept.record.epoch)

    async def find(self, name: str) -> AnswerRecord | None:
        """See `AnswerLog`."""
        kept = self._kept.get(name)
        return None if kept is None else kept.record

    async def find_request(self, tenant: str, request_id: str) -> AnswerRecord | None:
        """See `AnswerLog`."""
        name = self._by_request.get((tenant, request_id))
        return None if name is None else self._kept[name].record

    async def list_answers(
        self,
        tenant: str,
        *,
        state: int | None = None,
        before: tuple[float, str] | None = None,
        limit: int,
        max_bytes: int = LISTED_BYTES,
    ) -> Sequence[AnswerRecord]:
        """See `AnswerLog`."""
        wanted: Callable[[AnswerRecord], bool] = lambda record: (  # noqa: E731 (read once, below)
            record.tenant == tenant
            and state in {None, record.state}
            and (before is None or (record.created, record.name) < before)
        )
        records = [kept.record for kept in self._kept.values() if wanted(kept.record)]
        records.sort(key=lambda record: (record.created, record.name), reverse=True)
        sizes = [len(record.request) + len(record.ending) for record in records[:limit]]
        return records[: how_many(sizes, max_bytes=max_bytes)]

    async def unsealed(self) -> Sequence[AnswerRecord]:
        """See `AnswerLog`."""
        return [kept.record for kept in self._kept.values() if kept.record.state == _RUNNING]

    async def read(self, name: str, *, after: int, max_bytes: int = 1024 * 1024) -> Sequence[Entry]:
        """See `AnswerLog`."""
        entries: list[Entry] = []
        for sequence, event in enumerate(self._required(name).events[after:], start=after + 1):
            max_bytes -= len(event)
            if max_bytes < 0 and entries:
                break
            entries.append(Entry(sequence, event))
        return entries

    async def wait(self, name: str, *, after: int) -> None:
        """See `AnswerLog`."""
        while True:
            kept = self._kept.get(name)
            if kept is None or kept.record.state != _RUNNING or len(kept.events) > after:
                return
            await kept.news.wait()

    async def delete(self, name: str) -> None:
        """See `AnswerLog`."""
        self._drop(name)

    def owns(self, kept: _Kept, epoch: int) -> bool:
        """Whether an owner still is the owner."""
        return self._kept.get(kept.record.name) is kept and kept.record.epoch == epoch

    def make_room(self, size: int) -> None:
        """Forgets what ended first until there is room.

        Raises:
            LogFull: There is none even so.
        """
        while self._size + size > self._max_bytes:
            if not self._ended:
                raise LogFull("there is no more memory for the answer log")
            self._drop(next(iter(self._ended)))

    def grow(self, kept: _Kept, size: int) -> None:
        """Counts what an answer takes."""
        kept.size += size
        self._size += size

    def ended(self, name: str) -> None:
        """Notes that an answer has ended, and can be forgotten."""
        self._ended[name] = None

    def _required(self, name: str) -> _Kept:
        kept = self._kept.get(name)
        if kept is None:
            raise AnswerUnknown(f"there is no {name}")
        return kept

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        self._ended.pop(name, None)
        self._by_request.pop((kept.record.tenant, kept.record.request_id), None)
        self._size -= kept.size
        kept.wake()

    async def _forget(self, interval: float) -> None:
        while True:
            now = time.time()
            for name in list(self._ended):
                expires = self._kept[name].record.expires
                if expires is not None and expires <= now:
                    self._drop(name)
            await anyio.sleep(interval)


class _Writer:
    """The `AnswerWriter` of the log in memory."""

    def __init__(self, answer_log: MemoryAnswerLog, kept: _Kept, *, epoch: int) -> None:
        self._log = answer_log
        self._kept = kept
        self._epoch = epoch

    @property
    def name(self) -> str:
        """See `AnswerWriter`."""
        return self._kept.record.name

    @property
    def epoch(self) -> int:
        """See `AnswerWriter`."""
        return self._epoch

    @property
    def last_sequence(self) -> int:
        """See `AnswerWriter`."""
        return len(self._kept.events)

    async def append(self, events: Sequence[bytes]) -> None:
        """See `AnswerWriter`."""
        self._require_owner()
        size = sum(map(len, events))
        self._log.make_room(size)
        self._log.grow(self._kept, size)
        self._kept.events += events
        self._kept.wake()

    async def seal(self, ending: bytes, *, state: int, expires: float | None) -> None:
        """See `AnswerWriter`."""
        self._require_owner()
        self._log.make_room(len(ending))
        self._log.grow(self._kept, len(ending))
        self._kept.record = replace(
            self._kept.record, ending=ending, state=state, last_sequence=self.last_sequence, expires=expires
        )
        self._log.ended(self.name)
        self._kept.wake()

    def close(self) -> None:
        """See `AnswerWriter`."""

    def _require_owner(self) -> None:
        if not self._log.owns(self._kept, self._epoch):
            raise Fenced(f"{self.name} has another owner, or was deleted")
        if self._kept.record.state != _RUNNING:
            raise AnswerSealed(f"{self.name} has ended")
