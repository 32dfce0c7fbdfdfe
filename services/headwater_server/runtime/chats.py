"""Where chats are kept, by the settings; nothing of it is loaded before the first chat is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from headwater_server.names import new_id
from headwater_server.orchestrator.answer_log.owners import Owners
from headwater_server.orchestrator.chats.conversations import LEASE_SECONDS, AnyChats, OpenStore
from headwater_server.orchestrator.chats.protocol import ChatStore
from headwater_server.runtime.data_dir import DataDirError
from headwater_server.runtime.settings import Settings, SettingsError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from headwater_server.orchestrator.chats.store import SqlChatStore

SQLITE_NAME = "chats.sqlite3"
"""The file of chats; `databases.SQLITE_FILE`, which must not be loaded to know it."""

FOLDER = "chats"
"""The folder of chats in the data folder."""

OWNER_NAME = "owner"
"""The file with this server's name among those that share a database."""


def chats_opener(settings: Settings, folder: Path, *, name: str = "", owners: Owners | None = None) -> OpenStore:
    """What opens the store of chats.

    Args:
        settings: The settings.
        folder: The chats' folder, owned by this process, or by the one that has started it.
        name: This process among those that it shares the folder with.
        owners: Those processes; None where there are no others.

    Raises:
        SettingsError: The URL of the database cannot be used.
        DataDirError: The folder cannot be written.
    """
    url = settings.chats.url
    if url:
        _check(url)
        owner = _owner(folder, name)

    def engine() -> Engine:
        from headwater_server.orchestrator.chats.databases import postgres_engine, sqlite_engine  # noqa: PLC0415

        return postgres_engine(url) if url else sqlite_engine(folder)

    def shared_engine(sharers: Owners) -> Callable[[], Engine]:
        from headwater_server.orchestrator.chats.databases import migrate  # noqa: PLC0415

        def made() -> Engine:
            opened = engine()
            try:
                with sharers.alone():  # nothing is brought up to date by two at once
                    migrate(opened)
            except BaseException:
                opened.dispose()
                raise
            return opened

        return made

    async def open_store() -> ChatStore:
        store = await to_thread.run_sync(_store_class)  # in a thread, so that no answer that runs has to wait
        if url:
            return await store.open(engine, owner=owner, lease=LEASE_SECONDS)
        if owners is not None:
            return await store.open(shared_engine(owners), owner=owners.me, lease=None, living=owners.living)
        return await store.open(engine, owner="local", lease=None)

    return open_store


def any_chats(settings: Settings, folder: Path) -> AnyChats:
    """Whether there may be chats: in a file only once that has been made.

    Args:
        settings: The settings.
        folder: The chats' folder.
    """
    return lambda: bool(settings.chats.url) or (folder / SQLITE_NAME).exists()


def _check(url: str) -> None:
    from headwater_server.orchestrator.chats.databases import ChatsUrlError, check_url  # noqa: PLC0415

    try:
        check_url(url)
    except ChatsUrlError as error:
        raise SettingsError(f"chats.url: {error}") from error


def _store_class() -> type[SqlChatStore]:
    from headwater_server.orchestrator.chats.store import SqlChatStore  # noqa: PLC0415 (a third of a second)

    return SqlChatStore


def _owner(folder: Path, name: str) -> str:
    """This server's name, which it keeps: so that it knows its own turns again after a restart."""
    path = folder / (f"{OWNER_NAME}-{name}" if name else OWNER_NAME)
    try:
        if not path.exists():
            new = path.with_suffix(".new")
            new.write_text(new_id())
            new.replace(path)
        return path.read_text()
    except OSError as error:
        raise DataDirError(f"cannot write to {folder}: {error.strerror}") from error
