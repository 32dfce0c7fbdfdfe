from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.client.chat_server import MemoryChats, chat_server


@dataclass(frozen=True, slots=True)
class Scripted:
    """A server whose answers are scripted; `tests/client/chat_server.py` says how."""

    chats: MemoryChats
    target: str


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    chats = MemoryChats()
    with chat_server(chats) as target:
        yield Scripted(chats, target)
