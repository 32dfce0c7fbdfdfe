"""Databases of chats: made, brought up to date, refused."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from headwater_server.orchestrator.chats import databases, migrations
from headwater_server.orchestrator.chats.databases import (
    REVISION,
    SQLITE_FILE,
    ChatsUrlError,
    check_url,
    migrate,
    postgres_engine,
    sqlite_engine,
)
from headwater_server.orchestrator.chats.protocol import ChatsFull, ChatsUnavailable
from headwater_server.orchestrator.chats.tables import metadata
from tests.orchestrator.chats.databases import Database, PostgresDatabase, SqliteDatabase
from tests.orchestrator.chats.making import ACME, begun, ending, made, told

pytestmark = pytest.mark.anyio


def script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return ScriptDirectory.from_config(config)


def test_the_newest_migration_is_the_one_that_openings_look_for() -> None:
    assert script().get_current_head() == REVISION


def test_the_migrations_make_the_tables_that_the_program_uses(database: Database) -> None:
    engine = database.engine()
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        names = {index["name"] for table in metadata.tables for index in sa.inspect(connection).get_indexes(table)}
    assert names == {index.name for table in metadata.tables.values() for index in table.indexes}
    engine.dispose()


def test_a_database_that_is_up_to_date_is_left_alone(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = database.engine()
    migrate(engine)

    def fail(_: object) -> None:
        raise AssertionError("there is nothing to migrate")

    monkeypatch.setattr(databases, "_upgrade", fail)
    migrate(engine)
    engine.dispose()


async def test_a_database_of_every_earlier_version_is_brought_up_to_date(database: Database) -> None:
    """At each version that was ever released, one chat is put into the tables as they were then."""
    rows = {
        "0001": (
            "INSERT INTO chats (id, tenant, request, settings, created, changed, turns, deleted)"
            " VALUES ('old', 'acme', :nothing, :nothing, 1, 2, 0, false)"
        )
    }
    assert [revision.revision for revision in script().walk_revisions()][::-1] == list(rows)
    for revision, insert in rows.items():
        engine = database.engine()
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            databases._upgrade(connection, revision)
            connection.execute(sa.text(insert), {"nothing": b""})
        engine.dispose()
        store = await database.open()
        assert (await store.get(ACME, "old")).changed == 2
        turn = await begun(store, "old")
        assert await store.settle(turn.answer, ending(), now=1)
        await store.aclose()


def test_a_database_of_a_newer_program_is_refused_and_not_changed(database: Database) -> None:
    engine = database.engine()
    migrate(engine)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ChatsUnavailable, match="use the newer program"):
        migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    engine.dispose()


async def test_many_who_open_a_new_database_at_once_make_it_once(database: Database) -> None:
    stores = []

    async def open_one() -> None:
        stores.append(await database.open())

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(open_one)
    chat = await made(stores[0])
    for store in stores:
        assert (await store.get(ACME, chat)).id == chat
        await store.aclose()


def contents_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_deleted_chat_is_not_to_be_found_in_the_file_any_more(tmp_path: Path) -> None:
    store = await SqliteDatabase(tmp_path).open()
    chat = await made(store)
    await told(store, chat, "the-canary-in-the-prompt", "the-canary-in-the-answer")
    await store.mark_deleted(ACME, chat)
    await store.remove(chat)
    await store.aclose()
    assert b"the-canary" not in contents_of(tmp_path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / SQLITE_FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(ChatsUnavailable):
        await SqliteDatabase(tmp_path).open()
    assert (tmp_path / SQLITE_FILE).read_bytes() == b"no database" * 1000


async def test_a_server_that_is_not_there_is_unavailable_and_named_without_its_password() -> None:
    with pytest.raises(ChatsUnavailable) as refused:
        await PostgresDatabase("postgresql://me:a-secret@127.0.0.1:1/chats").open()
    assert "a-secret" not in str(refused.value)


async def test_a_full_disk_is_said_and_changes_nothing(tmp_path: Path) -> None:
    store = await SqliteDatabase(tmp_path).open()
    chat = await made(store)
    await told(store, chat, "q1", "a1")
    with sqlite_engine(tmp_path).connect() as connection:
        pages = connection.execute(sa.text("PRAGMA page_count")).scalar_one()

    @sa.event.listens_for(store._engine, "checkout")
    def full(connection: object, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]  # it is sqlite3's

    with pytest.raises(ChatsFull):
        await begun(store, chat, "x" * 200_000)
    assert (await store.get(ACME, chat)).running == ""
    await store.aclose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("no url", "is no URL"),
        ("sqlite:///chats.sqlite3", "'sqlite' is no database"),
        ("mysql://me:a-secret@host/chats", "'mysql' is no database"),
        ("postgresql://me:a-secret@/chats", "has no host"),
        ("postgresql://me:a-secret@host/chats?sslmode=perhaps", "sslmode must be one of"),
        ("postgresql://me:a-secret@host/chats?options=-c", "not known: options"),
        ("postgresql://me:a-secret@host/chats?sslmode=verify-full&sslrootcert=/nowhere.pem", "sslrootcert"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_its_secret(url: str, message: str) -> None:
    with pytest.raises(ChatsUrlError, match=message) as refused:
        check_url(url)
    assert "a-secret" not in str(refused.value)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ChatsUrlError, match=r"headwater\[postgres\]"):
        check_url("postgresql://me@host/chats")


def test_a_unix_socket_is_connected_to_by_its_folder(postgres_database: PostgresDatabase) -> None:
    url = sa.make_url(postgres_database.url)
    folder = folder_of(postgres_database)
    socket = url.set(host=None, query={"host": folder}).render_as_string(hide_password=False)
    engine = postgres_engine(socket)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    engine.dispose()


def folder_of(database: PostgresDatabase) -> str:
    """Where the server has its socket."""
    engine = database.engine()
    with engine.connect() as connection:
        folder: str = connection.execute(sa.text("SHOW unix_socket_directories")).scalar_one()
    engine.dispose()
    return folder
