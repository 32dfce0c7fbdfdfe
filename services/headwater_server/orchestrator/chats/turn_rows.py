"""Turns in their table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from headwater.v1.answer_pb2 import ANSWER_STATE_CANCELLED, ANSWER_STATE_SUCCEEDED, ANSWER_STATE_UNSPECIFIED
from headwater_server.orchestrator.chats.protocol import NewTurn, Said, TurnEnding, TurnRecord
from headwater_server.orchestrator.chats.tables import chats, turns

_FIRST = (
    turns.c.id,
    turns.c.tenant,
    turns.c.chat,
    turns.c.number,
    turns.c.answer,
    sa.func.coalesce(turns.c.request_id, "").label("request_id"),
    turns.c.digest,
    turns.c.created,
    turns.c.state,
    turns.c.prompt,
    turns.c.settings,
    turns.c.text,
    turns.c.outline,
)
_WHOLE = (*_FIRST, turns.c.contents)
_PROMPT, _TEXT = 9, 11


def insert(connection: Connection, turn: NewTurn, *, number: int, settings: bytes, state: int) -> None:
    """Adds a turn."""
    values = {
        "chat": turn.chat,
        "number": number,
        "id": turn.id,
        "tenant": turn.tenant,
        "answer": turn.answer,
        "request_id": turn.request_id or None,
        "digest": turn.digest,
        "created": turn.created,
        "state": state,
        "settings": settings,
        "prompt": turn.prompt.encode(),
        "text": b"",
        "outline": turn.outline,
        "contents": b"",
    }
    connection.execute(sa.insert(turns).values(values))


def settle(connection: Connection, answer: str, ending: TurnEnding) -> None:
    """Notes how a turn's answer has ended."""
    values = {
        "state": ending.state,
        "text": ending.text.encode(),
        "outline": ending.outline,
        "contents": ending.contents,
    }
    connection.execute(sa.update(turns).where(turns.c.answer == answer).values(values))


def find(connection: Connection, **wanted: str) -> TurnRecord | None:
    """The turn, of a chat that is not deleted, whose columns have these values; or None."""
    query = sa.select(*_WHOLE).join(chats).where(~chats.c.deleted)
    query = query.where(*(turns.c[name] == value for name, value in wanted.items()))
    row = connection.execute(query).one_or_none()
    return None if row is None else _record(row)


def kept(connection: Connection, answers: Sequence[str]) -> set[str]:
    """Which of these answers a turn has that is not forgotten, of a chat that is not deleted."""
    query = sa.select(turns.c.answer).join(chats).where(~chats.c.deleted, turns.c.state != ANSWER_STATE_UNSPECIFIED)
    return set(connection.execute(query.where(turns.c.answer.in_(answers))).scalars())


def running(connection: Connection, condition: sa.ColumnElement[bool]) -> list[TurnRecord]:
    """The turns that are not settled, of the chats for which a condition holds."""
    query = sa.select(*_FIRST).join(chats).where(turns.c.answer == chats.c.running, condition)
    return [_record((*row, b"")) for row in connection.execute(query.order_by(turns.c.created))]


def page(connection: Connection, chat: str, *, after: int, limit: int, max_bytes: int) -> list[TurnRecord]:
    """The turns after a number, without contents, up to the first that does not fit any more."""
    size = sum((sa.func.length(turns.c[name]) for name in ("prompt", "text", "outline")), sa.literal(0))
    query = sa.select(turns.c.number, size).where(turns.c.chat == chat, turns.c.number > after)
    sizes = [(row[0], row[1]) for row in connection.execute(query.order_by(turns.c.number).limit(limit))]
    last = next((number for number, total in _totals(sizes) if total > max_bytes), sizes[-1][0] if sizes else 0)
    within = (turns.c.chat == chat, turns.c.number > after, turns.c.number <= last)
    rows = connection.execute(sa.select(*_FIRST).where(*within).order_by(turns.c.number))
    return [_record((*row, b"")) for row in rows]


def said(connection: Connection, chat: str, *, before: int, limit: int, max_bytes: int) -> Said:
    """What the last turns before a number have said, as many whole ones as fit, of those that count."""
    size = sa.func.length(turns.c.prompt) + sa.func.length(turns.c.text)
    counts = (
        turns.c.chat == chat,
        turns.c.number < before,
        turns.c.state.in_((ANSWER_STATE_SUCCEEDED, ANSWER_STATE_CANCELLED)),
        sa.func.length(turns.c.text) > 0,
    )
    total = connection.execute(sa.select(sa.func.count()).where(*counts)).scalar_one()
    query = sa.select(turns.c.number, size).where(*counts).order_by(turns.c.number.desc()).limit(limit)
    sizes = [(row[0], row[1]) for row in connection.execute(query)]
    fitting = [number for number, size_so_far in _totals(sizes) if size_so_far <= max_bytes]
    if not fitting:
        return Said([], total)
    columns = sa.select(turns.c.prompt, turns.c.text)
    rows = connection.execute(columns.where(*counts, turns.c.number >= fitting[-1]).order_by(turns.c.number))
    found = [(bytes(row[0]).decode(), bytes(row[1]).decode()) for row in rows]
    return Said(found, total - len(found))


def _totals(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Each turn's number, with the size of all up to it."""
    return zip((number for number, _ in sizes), accumulate(size for _, size in sizes), strict=True)


def _record(row: Sequence[Any]) -> TurnRecord:
    """A row of `_WHOLE`; the drivers differ in what they make of bytes."""
    values: list[Any] = [bytes(value) if isinstance(value, memoryview | bytearray) else value for value in row]
    values[_PROMPT], values[_TEXT] = values[_PROMPT].decode(), values[_TEXT].decode()
    return TurnRecord(*values)
