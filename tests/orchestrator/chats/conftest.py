from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.orchestrator.chats.databases import Database, PostgresDatabase, SqliteDatabase
from tests.orchestrator.chats.postgres import PostgresMissingError, postgres_server

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of these tests' own; its URL."""
    server = postgres_server()
    try:
        url = server.__enter__()
    except PostgresMissingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL can be started here: {error}")
    try:
        yield url
    finally:
        server.__exit__(None, None, None)


@pytest.fixture
def postgres_database(postgres: str) -> PostgresDatabase:
    """An empty database of the server."""
    server = sa.make_url(postgres)
    name = f"chats_{next(numbers)}"
    admin = sa.create_engine(server.set(drivername="postgresql+pg8000"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return PostgresDatabase(server.set(database=name).render_as_string(hide_password=False))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database, of either kind."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path)
    made: PostgresDatabase = request.getfixturevalue("postgres_database")
    return made
