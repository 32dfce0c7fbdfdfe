"""How an SQLite file of an older version becomes one of this version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

Migration = Sequence[str] | Callable[[sqlite3.Connection], None]
"""The step from one version to the next: statements, or a function that executes them and commits nothing."""


class UnknownFile(Exception):
    """The file was written by a newer program, or by another; the message says which."""


def migrate(
    connection: sqlite3.Connection, migrations: Sequence[Migration], *, what: str, application_id: int = 0
) -> None:
    """Takes the steps that a database has not taken yet, each as a whole or not at all.

    How many it took is its `user_version`; a new file is at version 0. Released steps never change; new ones go at the
    end. Of several processes that do so at once, each step is taken by one.

    Args:
        connection: The database, in autocommit mode (`isolation_level=None`).
        migrations: The step to each version, from version 1.
        what: What the database is, for errors, such as "the catalog".
        application_id: Tells its file from those of other programs; a new file is given it. 0: none.

    Raises:
        UnknownFile: It is of a version that has no step here, or of another application.
    """
    while (version := _version(connection, len(migrations), what, application_id)) < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read again: another process that opens the file may have taken the step meanwhile.
            if _version(connection, len(migrations), what, application_id) == version:
                _take(connection, migrations[version])
                connection.execute(f"PRAGMA application_id = {application_id}")
                connection.execute(f"PRAGMA user_version = {version + 1}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _version(connection: sqlite3.Connection, newest: int, what: str, application_id: int) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if version and application != application_id:
        raise UnknownFile(f"the database is not {what}")
    if version > newest:
        raise UnknownFile(f"{what} has version {version}, and this program knows {newest}: use the newer program")
    return version


def _take(connection: sqlite3.Connection, migration: Migration) -> None:
    if callable(migration):
        migration(connection)
        return
    for statement in migration:
        connection.execute(statement)
