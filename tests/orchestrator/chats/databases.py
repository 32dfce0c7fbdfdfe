"""The databases that the store of chats is tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sqlalchemy.engine import Engine

from headwater_server.orchestrator.chats.databases import postgres_engine, sqlite_engine
from headwater_server.orchestrator.chats.store import SqlChatStore

LEASE = 600.0


class Database(Protocol):
    """One empty database."""

    shared: bool
    """Whether it can have several owners at once."""

    def engine(self) -> Engine: ...

    async def open(self, owner: str = "me", *, lease: float = LEASE) -> SqlChatStore: ...


class SqliteDatabase:
    shared = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def engine(self) -> Engine:
        return sqlite_engine(self._folder)

    async def open(self, owner: str = "me", *, lease: float = LEASE) -> SqlChatStore:
        del lease  # nobody else can have it
        return await SqlChatStore.open(self.engine, owner=owner, lease=None)


class PostgresDatabase:
    shared = True

    def __init__(self, url: str) -> None:
        self.url = url

    def engine(self) -> Engine:
        return postgres_engine(self.url)

    async def open(self, owner: str = "me", *, lease: float = LEASE) -> SqlChatStore:
        return await SqlChatStore.open(self.engine, owner=owner, lease=lease)
