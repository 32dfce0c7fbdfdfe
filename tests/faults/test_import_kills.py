"""A few kills of the many that `python -m tests.faults.import_kills` makes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.import_kills import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds a server's processes by way of /proc")


def test_imports_survive_kills_of_everything_at_any_moment(tmp_path: Path) -> None:
    report = run(4, seed=20261123, folder=tmp_path, documents=12)
    assert report.kills == 4
    assert report.calls["import acknowledged"] > 0
