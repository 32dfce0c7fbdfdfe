"""Chats in a database, by SQLAlchemy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import TypeVar

import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from headwater.v1.answer_pb2 import ANSWER_STATE_RUNNING, ANSWER_STATE_UNSPECIFIED
from headwater_server.orchestrator.chats import turn_rows
from headwater_server.orchestrator.chats.databases import migrate, translated_errors
from headwater_server.orchestrator.chats.protocol import (
    ChatBusy,
    ChatRecord,
    ChatsUnavailable,
    ChatUnknown,
    Lost,
    NewChat,
    NewTurn,
    Said,
    TooMany,
    TurnEnding,
    TurnExists,
    TurnRecord,
)
from headwater_server.orchestrator.chats.tables import chats, turns

T = TypeVar("T")

_THREADS = 8
_CLOSE_SECONDS = 10.0
"""How long calls that are under way may take when the store is closed."""
_CHAT = (
    chats.c.id,
    chats.c.tenant,
    chats.c.settings,
    chats.c.request,
    chats.c.created,
    chats.c.changed,
    chats.c.turns,
    sa.func.coalesce(chats.c.running, "").label("running"),
)
_NOBODY_RUNS = {"running": None, "owner": None, "lease": None}


class SqlChatStore:
    """A `ChatStore` in a database of SQLite or PostgreSQL.

    Statements run in threads, on a synchronous engine, one transaction a call: what has begun in a thread is done to
    its end, and no cancellation leaves half a transaction on a connection.

    Args:
        engine: The database, up to date.
        owner: This owner's name.
        lease: How long an owner counts as alive after `renew`, in seconds; None where the database has no other owner:
            then whoever is not this one is dead.
        living: The owners that are alive, where that can be known for certain, as of processes that share an answer
            log: then a turn is settled by what that says of its answer, and leases do not matter.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        owner: str,
        lease: float | None,
        living: Callable[[], AbstractSet[str]] | None = None,
    ) -> None:
        self._engine = engine
        self._living = living
        self._owner = owner
        self._lease = lease
        self._limiter = CapacityLimiter(_THREADS)
        # A task that asyncio itself cancels leaves its limiter while its thread goes on: so the threads are counted.
        self._idle = threading.Condition()
        self._running = 0
        self._closed = False

    @classmethod
    async def open(
        cls,
        make: Callable[[], Engine],
        *,
        owner: str,
        lease: float | None,
        living: Callable[[], AbstractSet[str]] | None = None,
    ) -> SqlChatStore:
        """Opens a database, and brings it up to date.

        Raises:
            ChatsUnavailable: It cannot be used, or was written by a newer version.
            ChatsFull: There is no room.
        """

        def opened() -> Engine:
            engine = make()
            try:
                migrate(engine)
            except BaseException:
                engine.dispose()
                raise
            return engine

        return cls(await to_thread.run_sync(opened), owner=owner, lease=lease, living=living)

    async def aclose(self) -> None:
        """See `ChatStore`."""

        def close() -> None:
            with self._idle:
                self._closed = True
                self._idle.wait_for(lambda: not self._running, _CLOSE_SECONDS)
            self._engine.dispose()

        await to_thread.run_sync(close)

    async def create(self, chat: NewChat, *, at_most: int) -> ChatRecord:
        """See `ChatStore`."""

        def create(connection: Connection) -> ChatRecord:
            _lock_tenant(connection, chat.tenant)
            if chat.request_id:
                same = (chats.c.tenant == chat.tenant, chats.c.request_id == chat.request_id)
                if (row := connection.execute(sa.select(*_CHAT).where(*same)).one_or_none()) is not None:
                    return ChatRecord(*row)
            mine = (chats.c.tenant == chat.tenant, ~chats.c.deleted)
            if connection.execute(sa.select(sa.func.count()).where(*mine)).scalar_one() >= at_most:
                raise TooMany(f"there are {at_most} chats")
            values = {
                "id": chat.id,
                "tenant": chat.tenant,
                "request_id": chat.request_id or None,
                "request": chat.request,
                "settings": chat.settings,
                "created": chat.created,
                "changed": chat.created,
                "turns": 0,
                "deleted": False,
            }
            connection.execute(sa.insert(chats).values(values))
            return _chat(connection, chat.tenant, chat.id)

        return await self._write(create)

    async def get(self, tenant: str, chat: str) -> ChatRecord:
        """See `ChatStore`."""
        return await self._read(lambda connection: _chat(connection, tenant, chat))

    async def list_chats(
        self, tenant: str, *, before: tuple[int, str] | None = None, limit: int
    ) -> Sequence[ChatRecord]:
        """See `ChatStore`."""
        query = sa.select(*_CHAT).where(chats.c.tenant == tenant, ~chats.c.deleted)
        if before is not None:
            query = query.where(sa.tuple_(chats.c.changed, chats.c.id) < before)
        query = query.order_by(chats.c.changed.desc(), chats.c.id.desc()).limit(limit)
        return await self._read(lambda connection: [ChatRecord(*row) for row in connection.execute(query)])

    async def update(self, tenant: str, chat: str, change: Callable[[bytes], bytes], *, now: int) -> ChatRecord:
        """See `ChatStore`."""

        def update(connection: Connection) -> ChatRecord:
            record = _chat(connection, tenant, chat, lock=True)
            _change(connection, record, now, settings=change(record.settings))
            return _chat(connection, tenant, chat)

        return await self._write(update)

    async def begin_turn(self, turn: NewTurn, *, at_most: int, lost: Lost) -> TurnRecord:
        """See `ChatStore`."""

        def begin(connection: Connection) -> TurnRecord:
            chat = _chat(connection, turn.tenant, turn.chat, lock=True)
            if turn.request_id:
                earlier = turn_rows.find(connection, tenant=turn.tenant, request_id=turn.request_id)
                if earlier is not None:
                    raise TurnExists(earlier)
            if chat.running:
                if not connection.execute(sa.select(sa.exists().where(chats.c.id == chat.id, self._dead()))).scalar():
                    raise ChatBusy(chat.running)
                self._settle_lost(connection, chat.running, lost, now=turn.created)
            if chat.turns >= at_most:
                raise TooMany(f"the chat has {at_most} turns")
            turn_rows.insert(
                connection, turn, number=chat.turns + 1, settings=chat.settings, state=ANSWER_STATE_RUNNING
            )
            owned = {"running": turn.answer, "owner": self._owner, "lease": self._lease_end(connection)}
            _change(connection, chat, turn.created, turns=chat.turns + 1, **owned)
            begun = turn_rows.find(connection, answer=turn.answer)
            if begun is None:
                raise AssertionError("what was inserted is there")
            return begun

        try:
            return await self._write(begin)
        except exc.IntegrityError:  # another process has used the request id in another chat meanwhile
            earlier = await self.find_request(turn.tenant, turn.request_id)
            if earlier is None:
                raise ChatsUnavailable("the turn cannot be stored") from None
            raise TurnExists(earlier) from None

    async def withdraw(self, answer: str) -> None:
        """See `ChatStore`."""

        def withdraw(connection: Connection) -> None:
            record = _chat_of(connection, answer)
            if record is not None and record.running == answer:
                connection.execute(sa.delete(turns).where(turns.c.answer == answer))
                _change(connection, record, record.changed, turns=record.turns - 1, **_NOBODY_RUNS)

        await self._write(withdraw)

    async def settle(self, answer: str, ending: TurnEnding, *, now: int) -> bool:
        """See `ChatStore`."""
        return await self._write(lambda connection: _settle(connection, answer, lambda _: ending, now=now))

    async def forget_answer(self, answer: str) -> None:
        """See `ChatStore`."""
        settled = sa.and_(turns.c.answer == answer, turns.c.state != ANSWER_STATE_RUNNING)
        gone = {"state": ANSWER_STATE_UNSPECIFIED, "request_id": None, "text": b"", "outline": b"", "contents": b""}
        await self._write(lambda connection: connection.execute(sa.update(turns).where(settled).values(gone)))

    async def take_on(self, answer: str) -> TurnRecord | None:
        """See `ChatStore`."""

        def take_on(connection: Connection) -> TurnRecord | None:
            record = _chat_of(connection, answer)
            if record is not None:
                owned = {"owner": self._owner, "lease": self._lease_end(connection)}
                connection.execute(sa.update(chats).where(chats.c.id == record.id).values(**owned))
            return turn_rows.find(connection, answer=answer)

        return await self._write(take_on)

    async def find_answer(self, answer: str) -> TurnRecord | None:
        """See `ChatStore`."""
        return await self._read(lambda connection: turn_rows.find(connection, answer=answer))

    async def find_request(self, tenant: str, request_id: str) -> TurnRecord | None:
        """See `ChatStore`."""
        return await self._read(lambda connection: turn_rows.find(connection, tenant=tenant, request_id=request_id))

    async def kept(self, answers: Sequence[str]) -> AbstractSet[str]:
        """See `ChatStore`."""
        return await self._read(lambda connection: turn_rows.kept(connection, answers))

    async def get_turn(self, tenant: str, chat: str, turn: str) -> TurnRecord:
        """See `ChatStore`."""

        def get(connection: Connection) -> TurnRecord:
            found = turn_rows.find(connection, tenant=tenant, chat=chat, id=turn)
            if found is None:
                raise ChatUnknown(f"there is no turn {turn} in {chat}")
            return found

        return await self._read(get)

    async def list_turns(
        self, tenant: str, chat: str, *, after: int, limit: int, max_bytes: int
    ) -> Sequence[TurnRecord]:
        """See `ChatStore`."""

        def page(connection: Connection) -> Sequence[TurnRecord]:
            _chat(connection, tenant, chat)
            return turn_rows.page(connection, chat, after=after, limit=limit, max_bytes=max_bytes)

        return await self._read(page)

    async def said(self, chat: str, *, before: int, limit: int, max_bytes: int) -> Said:
        """See `ChatStore`."""
        return await self._read(
            lambda connection: turn_rows.said(connection, chat, before=before, limit=limit, max_bytes=max_bytes)
        )

    async def mark_deleted(self, tenant: str, chat: str, *, although_running: str = "") -> Sequence[str]:
        """See `ChatStore`."""

        def mark(connection: Connection) -> Sequence[str]:
            record = _chat(connection, tenant, chat, lock=True)
            if record.running not in {"", although_running}:
                raise ChatBusy(record.running)
            gone = {"deleted": True, "request_id": None, **_NOBODY_RUNS}
            connection.execute(sa.update(chats).where(chats.c.id == chat).values(gone))
            connection.execute(sa.update(turns).where(turns.c.chat == chat).values(request_id=None))
            return _answers(connection, chat)

        return await self._write(mark)

    async def deleted(self) -> Sequence[tuple[str, Sequence[str]]]:
        """See `ChatStore`."""

        def marked(connection: Connection) -> Sequence[tuple[str, Sequence[str]]]:
            ids = connection.execute(sa.select(chats.c.id).where(chats.c.deleted)).scalars().all()
            return [(chat, _answers(connection, chat)) for chat in ids]

        return await self._read(marked)

    async def remove(self, chat: str) -> None:
        """See `ChatStore`."""
        condition = sa.and_(chats.c.id == chat, chats.c.deleted)
        await self._write(lambda connection: connection.execute(sa.delete(chats).where(condition)))

    async def running(self) -> Sequence[TurnRecord]:
        """See `ChatStore`."""
        owned = chats.c.owner == self._owner if self._lease is not None else sa.true()
        if self._living is not None:
            owned = sa.or_(chats.c.owner == self._owner, chats.c.owner.not_in(self._living()))
        return await self._read(lambda connection: turn_rows.running(connection, owned))

    async def renew(self) -> None:
        """See `ChatStore`."""
        mine = sa.and_(chats.c.owner == self._owner, chats.c.running.is_not(None))

        def renew(connection: Connection) -> None:
            connection.execute(sa.update(chats).where(mine).values(lease=self._lease_end(connection)))

        await self._write(renew)

    async def settle_lapsed(self, lost: Lost, *, now: int) -> Sequence[str]:
        """See `ChatStore`."""
        lapsed = sa.and_(chats.c.running.is_not(None), self._dead())

        def settle(connection: Connection) -> Sequence[str]:
            found = connection.execute(sa.select(chats.c.running).where(lapsed).order_by(chats.c.id)).scalars().all()
            return [answer for answer in found if answer and self._settle_lost(connection, answer, lost, now=now)]

        return await self._write(settle)

    def _settle_lost(self, connection: Connection, answer: str, lost: Lost, *, now: int) -> bool:
        return _settle(connection, answer, lost, now=now, still=self._dead())

    def _dead(self) -> sa.ColumnElement[bool]:
        """The condition that the owner of a chat's running answer is dead, and its turn lost with it."""
        if self._living is not None:
            return sa.false()
        another = chats.c.owner != self._owner
        return another if self._lease is None else sa.and_(another, chats.c.lease < _database_time())

    def _lease_end(self, connection: Connection) -> float | None:
        if self._lease is None:
            return None
        now: float = connection.execute(sa.select(_database_time())).scalar_one()
        return float(now) + self._lease

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._use(work, writes=False)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._use(work, writes=True)

    async def _use(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        def run() -> T:
            with self._in_use(), _errors(), self._engine.connect() as connection:
                connection.execution_options(writes=writes)
                with connection.begin():
                    return work(connection)

        return await to_thread.run_sync(run, limiter=self._limiter)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keeps the store from being closed; in a thread."""
        with self._idle:
            if self._closed:
                raise ChatsUnavailable("the store of chats is closed")
            self._running += 1
        try:
            yield
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()


@contextmanager
def _errors() -> Iterator[None]:
    """Translates errors, but not those that a call may make something of."""
    integrity: exc.IntegrityError | None = None
    with translated_errors():
        try:
            yield
        except exc.IntegrityError as error:
            integrity = error
    if integrity is not None:
        raise integrity


def _database_time() -> sa.ColumnElement[float]:
    """Seconds since 1970 by the clock of the database's server, which all owners share."""
    return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)


def _lock_tenant(connection: Connection, tenant: str) -> None:
    """Lets one transaction at a time count a tenant's chats; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext("headwater " + tenant))))


def _chat(connection: Connection, tenant: str, chat: str, *, lock: bool = False) -> ChatRecord:
    query = sa.select(*_CHAT).where(chats.c.id == chat, chats.c.tenant == tenant, ~chats.c.deleted)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise ChatUnknown(f"there is no chat {chat}")
    return ChatRecord(*row)


def _chat_of(connection: Connection, answer: str, *, still: sa.ColumnElement[bool] | None = None) -> ChatRecord | None:
    """The chat in which an answer runs, locked, or None."""
    query = sa.select(*_CHAT).where(chats.c.running == answer, ~chats.c.deleted)
    query = query.where(chats.c.id.in_(sa.select(turns.c.chat).where(turns.c.answer == answer)))
    row = connection.execute((query if still is None else query.where(still)).with_for_update()).one_or_none()
    return None if row is None else ChatRecord(*row)


def _change(connection: Connection, record: ChatRecord, now: int, **values: object) -> None:
    """Changes a chat, later than it was changed before, whatever the clock says."""
    changed = max(now, record.changed + 1)
    connection.execute(sa.update(chats).where(chats.c.id == record.id).values(changed=changed, **values))


def _settle(
    connection: Connection, answer: str, ending: Lost, *, now: int, still: sa.ColumnElement[bool] | None = None
) -> bool:
    chat = _chat_of(connection, answer, still=still)
    turn = None if chat is None else turn_rows.find(connection, answer=answer)
    if chat is None or turn is None:
        return False
    turn_rows.settle(connection, answer, ending(turn))
    _change(connection, chat, now, **_NOBODY_RUNS)
    return True


def _answers(connection: Connection, chat: str) -> Sequence[str]:
    query = sa.select(turns.c.answer).where(turns.c.chat == chat).order_by(turns.c.number)
    return connection.execute(query).scalars().all()
