from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from headwater._cli import import_display
from headwater._cli.import_display import Pace, duration
from headwater._cli.import_summary import Result
from headwater._cli.jobs import Job
from headwater._collecting import ImportProgress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(import_display, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.5, "9.5 s"), (10, "10 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_lengths_of_time_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_pace_is_that_of_the_last_minute(clock: Clock) -> None:
    pace = Pace(10_000)
    for second in range(0, 305, 5):  # a hundred a second at first, then ten
        clock.now = 100.0 + second
        pace.mark(min(second, 40) * 100 + max(0, second - 40) * 10)
    assert pace.line(6600) == "6,600 of 10,000 files · 10.0 a second · 5 min 40 s left"


def test_files_a_second_and_what_is_left_are_said(clock: Clock) -> None:
    pace = Pace(1000)
    clock.now += 10
    assert pace.line(100) == "100 of 1,000 files · 10.0 a second · 1 min 30 s left"
    assert pace.line(1000) == "1,000 of 1,000 files · 100.0 a second"
    assert pace.line(0) == "0 of 1,000 files · 0.0 a second"
    assert pace.line(1002).startswith("1,002 of 1,002 files")


def test_it_is_said_every_five_seconds_and_seldom_while_nothing_comes_to_its_end(clock: Clock) -> None:
    pace = Pace(1000)
    said = []
    for second in range(120):
        clock.now = 100.0 + second
        if pace.mark(second if second < 20 else 20):
            said.append(second)
    assert said == [5, 10, 15, 20, 50, 80, 110]


def test_a_large_document_does_not_make_the_rest_take_for_ever(clock: Clock) -> None:
    pace = Pace(1000)
    for second in range(0, 200, 5):
        clock.now = 100.0 + second
        pace.mark(min(second * 5, 500))
    clock.now = 100.0 + 200
    assert pace.line(501) == "501 of 1,000 files · 2.5 a second · 3 min 19 s left"


def test_of_many_files_the_one_that_takes_long_is_named(
    clock: Clock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with import_display.import_display(500) as display:
        job = Job(tmp_path / "long.pdf", "long")
        display.started(job)
        clock.now += 40
        display.progressed(job, ImportProgress("split", 9, 9, 120, 666))
        clock.now += 10
        display.ended(Result(job, "imported", passages=666))
    first, second = capsys.readouterr().err.splitlines()
    assert first == "0 of 500 files · 0.0 a second · long.pdf: 120 of 666 passages"
    assert second == "1 of 500 files · 0.0 a second · 6 h 55 min left"
