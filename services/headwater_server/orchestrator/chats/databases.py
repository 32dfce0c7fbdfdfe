"""The databases that chats can be kept in: a file of SQLite, or a server of PostgreSQL."""

from __future__ import annotations

import importlib.util
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine, make_url

from headwater_server.disk_full import says_full
from headwater_server.orchestrator.chats.protocol import ChatsFull, ChatStoreError, ChatsUnavailable
from headwater_server.sqlite_wal import write_ahead

REVISION = "0001"
"""Of the newest migration."""

SQLITE_FILE = "chats.sqlite3"

_CONNECTIONS = 8
_WAIT_SECONDS = 10
"""How long to wait for a connection, for another's lock, or for the server's answer."""
_SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
_POSTGRES_FULL = "53100"
_MIGRATION_LOCK = 0x4857_4348  # `HWCH`


class ChatsUrlError(Exception):
    """The URL of the database cannot be used; the message says why, and holds no secret."""


def check_url(url: str) -> None:
    """Refuses what is no URL of a database that chats can be kept in; nothing is opened.

    Raises:
        ChatsUrlError: It is none, or its driver is not installed.
    """
    _postgres_arguments(_parsed(url))
    if importlib.util.find_spec("pg8000") is None:
        raise ChatsUrlError("PostgreSQL needs its driver: install headwater[postgres]")


def sqlite_engine(folder: Path) -> Engine:
    """A database in a file of this folder, which is made if it is not there; the caller holds a lock on it.

    Raises:
        ChatsUnavailable: The folder cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ChatsUnavailable(f"cannot use {folder}: {error.strerror}") from error
    engine = sa.create_engine(
        URL.create("sqlite", database=str(folder / SQLITE_FILE)),
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_WAIT_SECONDS,
        connect_args={"timeout": _WAIT_SECONDS, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _: object) -> None:
        write_ahead(connection, patience=_WAIT_SECONDS)
        # What is deleted is overwritten: a chat that was deleted must not be found in the file.
        for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # The driver's own transactions take the lock too late to be safe: those that write take it at once.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def postgres_engine(url: str) -> Engine:
    """A database of a PostgreSQL server; nothing is connected yet.

    The driver is pg8000: permissive, pure Python, and so as portable as Python itself; what chats ask of a database is
    far below what its speed would matter for.

    Args:
        url: `postgresql://user:password@host:port/database`, with `sslmode`, `sslrootcert`, and, for a Unix socket,
            `host` (the socket's folder) as parameters where needed.

    Raises:
        ChatsUrlError: It is no such URL, or the driver is not installed.
    """
    check_url(url)
    parsed = _parsed(url)
    engine = sa.create_engine(
        URL.create(
            "postgresql+pg8000",
            username=parsed.username or "postgres",
            password=parsed.password,
            host=parsed.host,
            port=parsed.port,
            database=parsed.database or parsed.username,
        ),
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_WAIT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={**_postgres_arguments(parsed), "timeout": _WAIT_SECONDS, "application_name": "headwater"},
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        milliseconds = _WAIT_SECONDS * 1000
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SET {name} = {milliseconds}")
        connection.commit()
        cursor.close()

    return engine


def migrate(engine: Engine) -> None:
    """Brings a database up to date; one that is takes one query.

    Raises:
        ChatsUnavailable: It was written by a newer version, or cannot be used.
        ChatsFull: There is no room.
    """
    with translated_errors():
        with engine.connect() as connection, suppress(exc.DBAPIError):
            found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
            if found == REVISION:
                return
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            _upgrade(connection)


def _upgrade(connection: Connection, revision: str = "head") -> None:
    from alembic import command  # noqa: PLC0415 (slow to import, and hardly ever needed)
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise ChatsUnavailable(
            f"the database of chats is of a version that this program does not know ({error}): use the newer program"
        ) from error


@contextmanager
def translated_errors() -> Iterator[None]:
    """Makes errors of the store's of those of SQLAlchemy and its drivers.

    Raises:
        ChatsFull: There is no room.
        ChatsUnavailable: Anything else that a database can fail with.
    """
    try:
        yield
    except ChatStoreError:
        raise
    except exc.DBAPIError as error:
        cause = error.orig
        if says_full(cause) or _sqlstate(cause) == _POSTGRES_FULL:
            raise ChatsFull("there is no room for chats") from error
        raise ChatsUnavailable(f"the database of chats cannot be used: {cause}") from error
    except (exc.TimeoutError, OSError) as error:  # no connection was free in time
        raise ChatsUnavailable(f"the database of chats cannot be used: {error}") from error


def _sqlstate(error: object) -> str:
    """The SQLSTATE of an error of pg8000's, which has the server's fields as its one argument."""
    arguments = getattr(error, "args", ())
    fields = arguments[0] if arguments else None
    return str(fields.get("C", "")) if isinstance(fields, dict) else ""


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise ChatsUrlError("is no URL; write postgresql://user:password@host/database") from None
    if parsed.drivername not in {"postgresql", "postgres"}:
        raise ChatsUrlError(
            f"{parsed.drivername!r} is no database that chats can be kept in; write"
            " postgresql://user:password@host/database, or leave it out for a file in the data folder"
        )
    return parsed


def _postgres_arguments(url: URL) -> dict[str, Any]:
    """What the driver takes beside the parts of a URL."""
    parameters = dict(url.query)
    mode = parameters.pop("sslmode", "prefer")
    root = parameters.pop("sslrootcert", None)
    folder = parameters.pop("host", None)
    if parameters:
        raise ChatsUrlError(f"has parameters that are not known: {', '.join(sorted(parameters))}")
    if mode not in _SSL_MODES:
        raise ChatsUrlError(f"sslmode must be one of {', '.join(_SSL_MODES)}")
    if isinstance(folder, str) and folder.startswith("/"):
        return {"unix_sock": f"{folder}/.s.PGSQL.{url.port or 5432}", "ssl_context": False}
    if folder is not None:
        raise ChatsUrlError("host as a parameter is the folder of a Unix socket")
    if not url.host:
        raise ChatsUrlError("has no host")
    return {"ssl_context": _ssl_context(str(mode), None if root is None else str(root))}


def _ssl_context(mode: str, root: str | None) -> ssl.SSLContext | bool | None:
    """What pg8000 takes: False for no TLS, None for TLS where the server has it."""
    if mode == "disable":
        return False
    if mode == "prefer":
        return None
    try:
        context = ssl.create_default_context(cafile=root)
    except (OSError, ssl.SSLError) as error:
        raise ChatsUrlError(f"sslrootcert cannot be read: {error}") from None
    if mode != "verify-full":
        context.check_hostname = False
    if mode == "require" and root is None:
        context.verify_mode = ssl.CERT_NONE
    return context
