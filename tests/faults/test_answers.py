"""Answers under faults, in the short form; `make faults` runs the long one."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from tests.faults.answers import driver, scenarios, zombies
from tests.faults.answers.chaos import KINDS
from tests.faults.answers.deployment import ONE, THREE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc, and limits them by prlimit")

STORM_SECONDS = 90.0
"""After which no further answer of a storm begins, on a machine that is slower than it should be: two cores under a
load of four make more than half of them in this time."""


@pytest.fixture
def seed() -> int:
    """A new one for each run; it is printed where the test fails."""
    chosen = random.SystemRandom().randrange(10**6)
    print(f"seed {chosen}")  # noqa: T201 (pytest shows it with a failure)
    return chosen


def storm(arrangement: str, *, answers: int, seed: int, faults: tuple[str, ...]) -> driver.Run:
    return driver.Run(
        arrangement=arrangement, answers=answers, seed=seed, faults=faults, at_once=32, seconds=STORM_SECONDS
    )


def made(wanted: driver.Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> driver.Report:
    """Runs a storm, and says how much of it there was time for: half of it at least."""
    report = asyncio.run(driver.run(wanted, folder))
    with capsys.disabled():
        print(f" {report.answers} of {wanted.answers} answers in {report.seconds:g} s", end="")  # noqa: T201 (told)
    assert report.answers >= wanted.answers / 2, "there was time for less than half of the storm"
    return report


@pytest.mark.parametrize(("arrangement", "answers"), [(ONE, 340), (THREE, 260)])
def test_no_answer_is_lost_doubled_or_invented_in_a_storm(
    arrangement: str, answers: int, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = storm(arrangement, answers=answers, seed=seed, faults=(*KINDS, "provider", "cancel"))
    assert made(wanted, tmp_path, capsys).faults


def test_every_failure_of_a_provider_ends_as_what_it_is(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = storm(ONE, answers=400, seed=seed, faults=("provider", "cancel"))
    report = made(wanted, tmp_path, capsys)
    assert sum(count for ending, count in report.endings.items() if ending.startswith("FAILED"))
    assert not report.given_up, "the client had nothing to give up for"


def test_fifty_callers_with_one_request_id_have_one_answer_and_one_upstream_call(seed: int, tmp_path: Path) -> None:
    asyncio.run(scenarios.races(20, seed=seed, folder=tmp_path))


def test_an_owner_that_was_frozen_cannot_write_to_an_answer_that_was_taken_over(seed: int, tmp_path: Path) -> None:
    asyncio.run(zombies.run(100, seed=seed, folder=tmp_path))


def test_both_sides_of_every_hop_notice_that_the_other_is_frozen(seed: int, tmp_path: Path) -> None:
    asyncio.run(scenarios.frozen(1, seed=seed, folder=tmp_path))
