from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from headwater_server.retrieval.jobs.room import has_room

MIB = 1024 * 1024


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("total", "free", "size", "room"),
    [
        (100_000 * MIB, 64 * MIB, 0, True),
        (100_000 * MIB, 64 * MIB - 1, 0, False),
        (100_000 * MIB, 164 * MIB, 100 * MIB, True),
        (100_000 * MIB, 164 * MIB, 100 * MIB + 1, False),
        (96 * MIB, 6 * MIB, 0, True),
        (96 * MIB, 6 * MIB - 1, 0, False),
    ],
)
def test_a_reserve_is_left_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, total: int, free: int, size: int, room: bool
) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(total, total - free, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert has_room(tmp_path / "not" / "there", size_bytes=size) is room
    assert asked == [tmp_path]
