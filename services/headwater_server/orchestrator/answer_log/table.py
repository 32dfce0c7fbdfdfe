"""The table of answers, in SQLite: everything about them but their events."""

# ruff: noqa: S608 (the parts of the statements joined here are constants of this module; values are always parameters)

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.v1 import answer_pb2
from headwater_server.disk_full import says_full
from headwater_server.migrations import Migration, UnknownFile, migrate
from headwater_server.orchestrator.answer_log.listing import how_many
from headwater_server.orchestrator.answer_log.protocol import (
    AnswerRecord,
    AnswerSealed,
    AnswerUnknown,
    Fenced,
    LogFull,
    LogUnavailable,
    NewAnswer,
    RequestIdTaken,
)
from headwater_server.sqlite_wal import write_ahead

APPLICATION_ID = 0x4857414C
"""`HWAL`, in the header of the file."""

_RUNNING = answer_pb2.ANSWER_STATE_RUNNING
_COLUMNS = "name, tenant, request, created, request_id, chat, epoch, ending, state, last_sequence, expires, owner"
_BUSY_SECONDS = 5.0

_VERSION_1 = (
    """
    CREATE TABLE answers (
        name TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        request BLOB NOT NULL,
        created REAL NOT NULL,            -- all times in seconds since 1970
        request_id TEXT NOT NULL,
        chat TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        ending BLOB NOT NULL DEFAULT x'',
        state INTEGER NOT NULL,           -- AnswerState
        last_sequence INTEGER NOT NULL DEFAULT 0,
        ended REAL,
        expires REAL,
        bytes INTEGER NOT NULL DEFAULT 0  -- of its file and its ending, once it has ended
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX answers_by_request_id ON answers (tenant, request_id) WHERE request_id <> ''",
    "CREATE INDEX answers_newest ON answers (tenant, created DESC, name DESC)",
    f"CREATE INDEX answers_running ON answers (created) WHERE state = {_RUNNING}",
    "CREATE INDEX answers_expiring ON answers (expires) WHERE expires IS NOT NULL",
    f"CREATE INDEX answers_ended ON answers (ended, bytes) WHERE state <> {_RUNNING}",
)

_VERSION_2 = ("ALTER TABLE answers ADD COLUMN owner TEXT NOT NULL DEFAULT ''",)  # `AnswerRecord.owner`

_MIGRATIONS: Sequence[Migration] = (_VERSION_1, _VERSION_2)
"""The statements that lead from version `i` to `i + 1`. Released ones never change; new ones go at the end."""


class AnswerTable:
    """The table, on one connection: used by one thread at a time.

    Raises, in every method:
        LogFull: There is no room; nothing was changed.
        LogUnavailable: The database cannot be used.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        with _translated():
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            try:
                write_ahead(self._connection, patience=_BUSY_SECONDS)
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                migrate(self._connection, _MIGRATIONS, what="the answer log", application_id=APPLICATION_ID)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done within the context becomes one transaction; nothing of it is done where anything fails."""
        with _translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def insert(self, answer: NewAnswer, *, owner: str = "") -> None:
        """Records an answer, of epoch 1, that begins.

        Args:
            answer: The answer.
            owner: The process that makes it, where several share the table.

        Raises:
            RequestIdTaken: There is an answer with this request id.
        """
        values = (answer.name, answer.tenant, answer.request, answer.created, answer.request_id, answer.chat, owner, 1)
        with _translated():
            try:
                self._connection.execute(
                    "INSERT INTO answers (name, tenant, request, created, request_id, chat, owner, epoch, state)"
                    f" VALUES (?, ?, ?, ?, ?, ?, ?, ?, {_RUNNING})",
                    values,
                )
            except sqlite3.IntegrityError:
                existing = self.find_request(answer.tenant, answer.request_id)
                if existing is None:
                    raise
                raise RequestIdTaken(existing) from None

    def epoch(self, name: str) -> int:
        """The epoch of the owner of an answer that has not ended.

        Raises:
            AnswerUnknown: There is none.
            AnswerSealed: It has ended.
        """
        with _translated():
            row = self._connection.execute("SELECT epoch, state FROM answers WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise AnswerUnknown(f"there is no {name}")
        epoch, state = row
        if state != _RUNNING:
            raise AnswerSealed(f"{name} has ended")
        return int(epoch)

    def own(self, name: str, *, epoch: int) -> None:
        """Gives an answer that has not ended to a new owner, of this epoch.

        Raises:
            AnswerSealed: It has ended meanwhile, or has an owner of this epoch or a later one.
        """
        with _translated():
            changed = self._connection.execute(
                f"UPDATE answers SET epoch = ? WHERE name = ? AND epoch < ? AND state = {_RUNNING}",
                (epoch, name, epoch),
            ).rowcount
        if not changed:
            raise AnswerSealed(f"{name} has ended, or has another owner")

    def seal(
        self,
        name: str,
        *,
        epoch: int,
        ending: bytes,
        state: int,
        last_sequence: int,
        ended: float,
        expires: float | None,
        size: int,
    ) -> None:
        """Ends an answer.

        Raises:
            Fenced: It has another owner, has ended, or was deleted.
        """
        with _translated():
            changed = self._connection.execute(
                "UPDATE answers SET ending = ?, state = ?, last_sequence = ?, ended = ?, expires = ?, bytes = ?"
                f" WHERE name = ? AND epoch = ? AND state = {_RUNNING}",
                (ending, state, last_sequence, ended, expires, size, name, epoch),
            ).rowcount
        if not changed:
            raise Fenced(f"{name} has another owner, has ended, or was deleted")

    def find(self, name: str) -> AnswerRecord | None:
        """An answer, or None."""
        return self._one("name = ?", (name,))

    def find_request(self, tenant: str, request_id: str) -> AnswerRecord | None:
        """The answer with a request id, or None."""
        if not request_id:
            return None
        # Without the last condition SQLite does not know that the index has it, and looks at all of a tenant's answers.
        return self._one("tenant = ? AND request_id = ? AND request_id <> ''", (tenant, request_id))

    def newest(
        self, tenant: str, *, state: int | None, before: tuple[float, str] | None, limit: int, max_bytes: int
    ) -> list[AnswerRecord]:
        """A tenant's answers, newest first, as many as have no more than so many bytes."""
        conditions, values = ["tenant = ?"], [tenant]
        more: list[object] = []
        if state is not None:
            conditions.append("state = ?")
            more.append(state)
        if before is not None:
            conditions.append("(created, name) < (?, ?)")
            more += before
        wanted = " AND ".join(conditions) + " ORDER BY created DESC, name DESC LIMIT ?"
        with _translated():
            sizes = self._connection.execute(
                f"SELECT length(request) + length(ending) FROM answers WHERE {wanted}", (*values, *more, limit)
            ).fetchall()
        return self._all(wanted, (*values, *more, how_many((size for (size,) in sizes), max_bytes=max_bytes)))

    def running(self) -> list[AnswerRecord]:
        """The answers that have not ended, oldest first."""
        return self._all(f"state = {_RUNNING} ORDER BY created", ())

    def owners(self) -> set[str]:
        """The owners of answers that have not ended."""
        with _translated():
            rows = self._connection.execute(f"SELECT DISTINCT owner FROM answers WHERE state = {_RUNNING}").fetchall()
        return {owner for (owner,) in rows}

    def inherit(self, owner: str, *, heir: str) -> list[AnswerRecord]:
        """Gives one owner's answers that have not ended to another; each goes to one heir only.

        Returns:
            Those that this call has given, oldest first.
        """
        with _translated():
            rows = self._connection.execute(
                f"UPDATE answers SET owner = ? WHERE state = {_RUNNING} AND owner = ? RETURNING {_COLUMNS}",
                (heir, owner),
            ).fetchall()
        return sorted(map(_record, rows), key=lambda record: record.created)

    def delete(self, name: str) -> None:
        """Forgets an answer."""
        with _translated():
            self._connection.execute("DELETE FROM answers WHERE name = ?", (name,))

    def expired(self, now: float, *, limit: int) -> list[str]:
        """The names of answers that have expired."""
        with _translated():
            rows = self._connection.execute(
                "SELECT name FROM answers WHERE expires <= ? ORDER BY expires LIMIT ?", (now, limit)
            ).fetchall()
        return [name for (name,) in rows]

    def beyond(self, max_bytes: int, *, limit: int) -> list[str]:
        """The names of those answers that ended first, where all that have ended take more than `max_bytes`."""
        with _translated():
            (kept,) = self._connection.execute(
                f"SELECT coalesce(sum(bytes), 0) FROM answers WHERE state <> {_RUNNING}"
            ).fetchone()
            surplus = kept - max_bytes
            names: list[str] = []
            if surplus <= 0:
                return names
            for name, size in self._connection.execute(
                f"SELECT name, bytes FROM answers WHERE state <> {_RUNNING} ORDER BY ended LIMIT ?", (limit,)
            ):
                names.append(name)
                surplus -= size
                if surplus <= 0:
                    break
        return names

    def _one(self, condition: str, values: tuple[object, ...]) -> AnswerRecord | None:
        found = self._all(condition, values)
        return found[0] if found else None

    def _all(self, condition: str, values: tuple[object, ...]) -> list[AnswerRecord]:
        with _translated():
            rows = self._connection.execute(f"SELECT {_COLUMNS} FROM answers WHERE {condition}", values).fetchall()
        return [_record(row) for row in rows]


def _record(row: Sequence[Any]) -> AnswerRecord:
    *values, owner = row  # as in `_COLUMNS`
    return AnswerRecord(*values, owner=owner)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except UnknownFile as error:
        raise LogUnavailable(str(error)) from error
    except sqlite3.Error as error:
        if says_full(error):
            raise LogFull("there is no room for the answer log") from error
        raise LogUnavailable(f"the answer log's database cannot be used: {error}") from error
