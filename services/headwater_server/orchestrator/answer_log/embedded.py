"""The embedded answer log: a file an answer, and SQLite for everything else about it, in one folder."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import structlog
from anyio import CapacityLimiter, Event, to_thread

from headwater_server.orchestrator.answer_log.files import AnswerFile, read_frames, remove, translated_errors
from headwater_server.orchestrator.answer_log.owners import Owners
from headwater_server.orchestrator.answer_log.protocol import (
    LISTED_BYTES,
    AnswerLogError,
    AnswerRecord,
    AnswerSealed,
    AnswerUnknown,
    Entry,
    EventsLost,
    Fenced,
    LogUnavailable,
    NewAnswer,
    RequestIdTaken,
)
from headwater_server.orchestrator.answer_log.table import AnswerTable
from headwater_server.orchestrator.answer_log.table_thread import TableThread, Together
from headwater_server.owned_tasks import owned_tasks

log = structlog.get_logger("headwater.answer_log")

T = TypeVar("T")

_EXPIRED_AT_ONCE = 256
_READERS = 4


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended answers are kept, beyond what each says of itself."""

    max_bytes: int = 4 * 1024**3
    """How much those that have ended may take on the disk; what ended first is forgotten first."""
    interval: float = 15.0
    """How often to look, in seconds."""


class EmbeddedAnswerLog:
    """An `AnswerLog` in a folder of one machine; open it with `EmbeddedAnswerLog.open`.

    One process has the folder, or several share it who know each other by `Owners`. Each answer has one owner among
    them, who alone writes it; all of them read what is logged. `wait` follows only those of this process.

    Durability: what `append` has acknowledged is with the operating system, and survives the death of any process. A
    loss of power may take the last seconds, unless the log was opened with `sync`: then it is on the disk.

    Writing an event is one write to the page cache and one look at the file's place, on the event loop itself: some
    microseconds, where a thread would cost a hundred. With `sync`, all answers that have written since the last time
    are brought to the disk together, in a thread.
    """

    def __init__(self, folder: Path, table: AnswerTable, *, sync: bool, owners: Owners | None = None) -> None:
        self._folder = folder
        self._table = table
        self._owners = owners
        self._me = "" if owners is None else owners.me
        self._sync = _GroupSync() if sync else None
        self._writers: dict[str, _Writer] = {}
        self._news: dict[str, Event] = {}
        self._forgotten: set[str] = set()  # deleted, and perhaps still on a disk that has no room to say so
        self._thread = TableThread(table)
        self._reading = CapacityLimiter(_READERS)
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, folder: Path, *, sync: bool = False, retention: Retention | None = None, owners: Owners | None = None
    ) -> AsyncGenerator[EmbeddedAnswerLog]:
        """Opens the log in a folder, which is made if it is not there, and closes it again.

        Args:
            folder: The folder; the caller, or who started it, holds a lock on it.
            sync: Whether what is acknowledged has to survive a loss of power.
            retention: How long ended answers are kept.
            owners: The processes that share the folder; None where this one has it to itself.

        Raises:
            LogUnavailable: The log cannot be opened, or was written by a newer version.
        """
        table = await to_thread.run_sync(partial(_open_table, folder, durable=sync, owners=owners))
        answer_log = cls(folder, table, sync=sync, owners=owners)
        try:
            async with owned_tasks(cancel=True) as tasks:
                tasks.start_soon(answer_log._forget, retention or Retention())
                if answer_log._sync is not None:
                    tasks.start_soon(answer_log._sync.run)
                yield answer_log
        finally:
            answer_log._closed = True
            for writer in list(answer_log._writers.values()):
                writer.close()
            await answer_log._thread.aclose()

    async def begin(self, answer: NewAnswer) -> _Writer:
        """See `AnswerLog`."""
        path = self._path(answer.name)

        def make() -> AnswerFile:
            try:
                return AnswerFile.create(path, epoch=1)
            except BaseException:
                self._forgotten.add(answer.name)
                with suppress(AnswerLogError):  # it is tried again later
                    self._drop([answer.name])
                raise

        def record() -> AnswerFile:
            self._insert(answer)
            return make()

        together = Together(lambda: self._table.insert(answer, owner=self._me), make)
        return self._writer(answer.name, await self._thread.use(record, together=together), epoch=1)

    async def claim(self, name: str) -> _Writer:
        """See `AnswerLog`."""
        path = self._path(name)

        def take() -> tuple[AnswerFile, int]:
            epoch = self._table.epoch(name) + 1
            file = AnswerFile.take_over(path, epoch=epoch)
            try:
                self._table.own(name, epoch=epoch)  # last: who finds no room for the file was no owner
            except BaseException:
                file.close()
                raise
            return file, epoch

        earlier = self._writers.get(name)
        if earlier is not None:
            earlier.close()
        file, epoch = await self._use(take)
        return self._writer(name, file, epoch=epoch)

    async def find(self, name: str) -> AnswerRecord | None:
        """See `AnswerLog`."""
        return self._unforgotten(await self._use(lambda: self._table.find(name)))

    async def find_request(self, tenant: str, request_id: str) -> AnswerRecord | None:
        """See `AnswerLog`."""
        return self._unforgotten(await self._use(lambda: self._table.find_request(tenant, request_id)))

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
        return await self._use(
            lambda: self._table.newest(tenant, state=state, before=before, limit=limit, max_bytes=max_bytes)
        )

    async def unsealed(self) -> Sequence[AnswerRecord]:
        """See `AnswerLog`; where processes share the log, those whose owners are dead: they are this one's then."""
        return await self._use(self._unsealed)

    async def orphans(self) -> Sequence[AnswerRecord]:
        """The answers of processes that have died since the last look, which are this one's from now on.

        Of several processes that look, one gets each answer. It costs next to nothing where none has died.

        Raises:
            LogFull: There is no room.
            LogUnavailable: The log cannot be written.
        """
        owners = self._owners
        if owners is None or not (dead := owners.dead()):
            return []
        inherited = await self._use(self._unsealed)
        for owner in dead:
            owners.forget(owner)
        return inherited

    async def read(self, name: str, *, after: int, max_bytes: int = 1024 * 1024) -> Sequence[Entry]:
        """See `AnswerLog`."""
        self._require_open()
        path = self._path(name)
        record = await self.find(name)
        if record is None:
            raise AnswerUnknown(f"there is no {name}")

        def entries() -> list[Entry]:
            with translated_errors():
                try:
                    return [frame.entry for frame in read_frames(path, after=after, max_bytes=max_bytes)]
                except FileNotFoundError:
                    return []

        found = await to_thread.run_sync(entries, limiter=self._reading)
        if not found and after < record.last_sequence:
            raise EventsLost(f"the events of {name} after {after} cannot be read")
        return found

    async def wait(self, name: str, *, after: int) -> None:
        """See `AnswerLog`."""
        while True:
            self._require_open()
            writer = self._writers.get(name)
            if writer is None or writer.last_sequence > after:
                return
            await self._news.setdefault(name, Event()).wait()

    async def delete(self, name: str) -> None:
        """See `AnswerLog`."""
        writer = self._writers.get(name)
        if writer is not None:
            writer.close()
        self._forgotten.add(name)
        await self._use(lambda: self._drop([name]))

    def wrote(self, name: str) -> None:
        """Wakes those who follow an answer."""
        news = self._news.pop(name, None)
        if news is not None:
            news.set()

    def released(self, writer: _Writer) -> None:
        """Notes that a writer is of no more use, and wakes those who follow."""
        if self._writers.get(writer.name) is writer:
            del self._writers[writer.name]
        self.wrote(writer.name)

    async def use_table(self, work: Callable[[AnswerTable], T], *, is_statement: bool = False) -> T:
        """Runs work on the table, in its thread, alone; once begun it is done to its end.

        Args:
            work: The work.
            is_statement: Whether it is one statement without a result, which can be in one transaction with others.
        """
        call = partial(work, self._table)
        return await self._thread.use(call, together=Together(call, _nothing) if is_statement else None)

    def _writer(self, name: str, file: AnswerFile, *, epoch: int) -> _Writer:
        writer = _Writer(self, name, file, epoch=epoch, sync=self._sync)
        self._writers[name] = writer
        return writer

    def _path(self, name: str) -> Path:
        identity = name.removeprefix("answers/")
        return self._folder / identity[:2] / f"{identity}.log"

    def _unsealed(self) -> list[AnswerRecord]:
        """Those that run and have a file. One without was being forgotten, or made, and nobody may know of it."""
        records: list[AnswerRecord] = []
        forgotten: list[AnswerRecord] = []
        for record in self._left_behind():
            path = self._path(record.name)
            there = path.exists() or path.with_suffix(".taken").exists()
            (records if there else forgotten).append(record)
        self._forgotten.update(record.name for record in forgotten)
        with suppress(AnswerLogError):  # those that are left are forgotten later
            self._drop([record.name for record in forgotten])
        return records

    def _left_behind(self) -> list[AnswerRecord]:
        """The answers that have not ended and that nobody makes, from now on this process's."""
        owners = self._owners
        if owners is None:
            return self._table.running()
        dead = [owner for owner in self._table.owners() if not owners.is_alive(owner)]
        with self._table.transaction():  # who inherits from one and not from another would not know of the first's
            return [record for owner in dead for record in self._table.inherit(owner, heir=self._me)]

    def _insert(self, answer: NewAnswer) -> None:
        try:
            self._table.insert(answer, owner=self._me)
        except RequestIdTaken as error:
            if error.record.name not in self._forgotten:
                raise
            self._drop([error.record.name])
            self._table.insert(answer, owner=self._me)

    def _unforgotten(self, record: AnswerRecord | None) -> AnswerRecord | None:
        return None if record is None or record.name in self._forgotten else record

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            with translated_errors():
                remove(self._path(name))  # first, because it takes no room: without its file an answer is forgotten
            self._table.delete(name)
            self._forgotten.discard(name)

    def _require_open(self) -> None:
        if self._closed:
            raise LogUnavailable("the answer log is closed")

    async def _use(self, work: Callable[[], T]) -> T:
        return await self._thread.use(work)

    async def _forget(self, retention: Retention) -> None:
        """Forgets what has expired, and what is more than may be kept."""
        while True:
            try:
                while await self._use(lambda: self._forget_some(retention)):
                    pass
            except AnswerLogError as error:
                log.warning("old answers cannot be forgotten", error=str(error))
            await anyio.sleep(retention.interval)

    def _forget_some(self, retention: Retention) -> bool:
        names = list(self._forgotten)
        if self._owners is None or self._owners.leads():
            names += self._table.expired(time.time(), limit=_EXPIRED_AT_ONCE)
            names += self._table.beyond(retention.max_bytes, limit=_EXPIRED_AT_ONCE)
        self._drop(dict.fromkeys(names))
        return len(names) >= _EXPIRED_AT_ONCE


class _Writer:
    """The `AnswerWriter` of the embedded log."""

    def __init__(
        self, answer_log: EmbeddedAnswerLog, name: str, file: AnswerFile, *, epoch: int, sync: _GroupSync | None
    ) -> None:
        self._log = answer_log
        self._name = name
        self._file = file
        self._epoch = epoch
        self._sync = sync
        self._acknowledged = file.last_sequence
        self._fenced = False
        self._sealed = False

    @property
    def name(self) -> str:
        """See `AnswerWriter`."""
        return self._name

    @property
    def epoch(self) -> int:
        """See `AnswerWriter`."""
        return self._epoch

    @property
    def last_sequence(self) -> int:
        """See `AnswerWriter`."""
        return self._acknowledged

    async def append(self, events: Sequence[bytes]) -> None:
        """See `AnswerWriter`."""
        self._require_owner()
        # Whoever was cancelled while its events were on their way to the disk gives them once more.
        written = self._file.last_sequence - self._acknowledged
        if len(events) > written:
            self._file.append(events[written:])
        last = self._file.last_sequence
        if self._sync is not None:
            await self._sync.synced(self._file)
        self._acknowledged = last
        self._log.wrote(self._name)

    async def seal(self, ending: bytes, *, state: int, expires: float | None) -> None:
        """See `AnswerWriter`."""
        self._require_owner()
        ended = time.time()
        await self._log.use_table(
            lambda table: table.seal(
                self._name,
                epoch=self._epoch,
                ending=ending,
                state=state,
                last_sequence=self._file.last_sequence,
                ended=ended,
                expires=expires,
                size=self._file.size + len(ending),
            ),
            is_statement=True,
        )
        self._sealed = True
        self.close()

    def close(self) -> None:
        """See `AnswerWriter`."""
        self._file.close()
        self._fenced = True
        self._log.released(self)

    def _require_owner(self) -> None:
        if self._sealed:
            raise AnswerSealed(f"{self._name} has ended")
        if self._fenced:
            raise Fenced(f"{self._name} has another owner, or was deleted")


class _GroupSync:
    """Brings the files of many answers to the disk together."""

    def __init__(self) -> None:
        self._waiting: dict[AnswerFile, None] = {}
        self._round = _Round()
        self._work = Event()

    async def synced(self, file: AnswerFile) -> None:
        """Returns when all that was written to the file by now is on the disk.

        Raises:
            LogFull: There is no room.
            LogUnavailable: The disk has failed.
        """
        self._waiting[file] = None
        mine = self._round
        self._work.set()
        await mine.done.wait()
        if file in mine.failures:
            raise mine.failures[file]

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            await self._work.wait()
            files, self._waiting = list(self._waiting), {}
            current, self._round = self._round, _Round()
            self._work = Event()
            try:
                current.failures = await to_thread.run_sync(_sync_all, files)
            finally:
                current.done.set()


class _Round:
    """Files that are brought to the disk together."""

    def __init__(self) -> None:
        self.done = Event()
        self.failures: dict[AnswerFile, AnswerLogError] = {}


def _sync_all(files: Iterable[AnswerFile]) -> dict[AnswerFile, AnswerLogError]:
    failures: dict[AnswerFile, AnswerLogError] = {}
    for file in files:
        try:
            file.sync()
        except AnswerLogError as error:
            failures[file] = error
    return failures


def _nothing() -> None:
    """What follows an answer's seal."""


def _open_table(folder: Path, *, durable: bool, owners: Owners | None) -> AnswerTable:
    with translated_errors():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with nullcontext() if owners is None else owners.alone():  # nothing is brought up to date by two at once
        return AnswerTable(folder / "answers.sqlite3", durable=durable)
