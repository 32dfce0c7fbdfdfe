from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from headwater_server.migrations import UnknownFile, migrate
from headwater_server.sqlite_wal import write_ahead


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def tables(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]


def version(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number


def test_only_the_steps_that_are_missing_are_taken(connection: sqlite3.Connection) -> None:
    first = ["CREATE TABLE a (x)"]
    migrate(connection, [first], what="it")

    def second(database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE b (x)")

    migrate(connection, [first, second], what="it")
    assert tables(connection) == ["a", "b"]
    assert version(connection) == 2


def test_a_step_is_taken_as_a_whole_or_not_at_all(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, [["CREATE TABLE a (x)"], ["CREATE TABLE b (x)", "CREATE nonsense"]], what="it")
    assert tables(connection) == ["a"]
    assert version(connection) == 1
    migrate(connection, [["CREATE TABLE a (x)"], ["CREATE TABLE b (x)"]], what="it")
    assert version(connection) == 2


def test_a_newer_file_is_refused_by_name_and_version(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA user_version = 3")
    with pytest.raises(UnknownFile, match="the shelf has version 3, and this program knows 1"):
        migrate(connection, [["CREATE TABLE a (x)"]], what="the shelf")
    assert tables(connection) == []


def test_the_file_of_another_program_is_refused(connection: sqlite3.Connection) -> None:
    migrate(connection, [["CREATE TABLE a (x)"]], what="it", application_id=7)
    with pytest.raises(UnknownFile, match="is not the shelf"):
        migrate(connection, [["CREATE TABLE a (x)"]], what="the shelf", application_id=8)


def test_many_who_open_a_new_file_at_once_take_each_step_once(tmp_path: Path) -> None:
    steps = [["CREATE TABLE a (x)"], ["CREATE TABLE b (x)"], ["INSERT INTO a VALUES (1)"]]

    def opened(path: Path) -> int:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            write_ahead(connection, patience=5)
            migrate(connection, steps, what="it")
            return version(connection)

    with ThreadPoolExecutor(8) as threads:
        for name in "abcdefgh":
            path = tmp_path / name
            assert set(threads.map(opened, [path] * 8)) == {3}
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("SELECT x FROM a").fetchall() == [(1,)]
