"""Answers of a server in several processes under faults, those of its own processes among them, in the short form."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from tests.faults.answers import driver
from tests.faults.answers.chaos import KINDS
from tests.faults.answers.deployment import PROCESSES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc, and limits them by prlimit")

STORM_SECONDS = 35.0
"""After which no further answer begins, on a machine that is slower than it should be."""


def test_no_answer_is_lost_doubled_or_invented_where_processes_die_one_by_one_and_all_at_once(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
    wanted = driver.Run(
        arrangement=PROCESSES,
        answers=260,
        seed=seed,
        # What cannot be logged is known to its own process alone, and another begins it anew: no disk that is full.
        faults=tuple(kind for kind in (*KINDS, "provider", "cancel") if kind != "disk"),
        at_once=32,
        seconds=STORM_SECONDS,
    )
    report = asyncio.run(driver.run(wanted, tmp_path))
    assert report.answers
    assert report.faults
