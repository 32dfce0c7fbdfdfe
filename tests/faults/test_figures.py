"""The figures of long runs: what fails takes the place of what was found before, and stands in the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.faults_docs import FIGURES, PAGE, updated
from tests.faults.answers.life import BrokenPromise
from tests.faults.answers.long import in_time, run_all
from tests.faults.figures import record


async def works(_: Path) -> dict[str, Any]:
    return {"rounds": 3, "events": 17}


async def breaks(_: Path) -> dict[str, Any]:
    raise BrokenPromise("answer 7 | `lost`:\n2 events")


async def falls_over(_: Path) -> dict[str, Any]:
    raise OSError(28, "No space left on device")


def test_a_scenario_that_fails_keeps_no_other_from_running_and_leaves_no_older_figures(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    record("races", {"rounds": 100, "callers": 50}, seed=1, path=path)
    record("frozen peers", {"x, longest": 2.5}, seed=1, path=path)
    scenarios = {"races": breaks, "rolling restarts": falls_over, "awakened owners": works}
    assert run_all(scenarios, seed=2, figures=path) == 2
    figures = json.loads(path.read_text())
    assert figures["races"].keys() == figures["rolling restarts"].keys() == {"failed", "seed", "date"}
    assert "No space left" in figures["rolling restarts"]["failed"]
    assert figures["awakened owners"]["events"] == 17
    assert figures["frozen peers"]["seed"] == 1, "what was not run stays"
    page = updated(PAGE.read_text(encoding="utf-8"), figures)
    assert "| **failed**: answer 7 \\| \\`lost\\`: 2 events | 2 |" in page


def test_a_peer_that_is_noticed_late_fails_the_long_run() -> None:
    noticed = {"assistant, by its caller side, longest": 2.99, "assistant, by its caller side, median": 2.8}
    assert in_time(noticed) == noticed
    with pytest.raises(BrokenPromise, match="after more than 3 s"):
        in_time({**noticed, "retrieval, by its server side, longest": 3.01})


def test_the_page_and_its_figures_are_in_step() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert updated(page, json.loads(FIGURES.read_text(encoding="utf-8"))) == page


def test_figures_of_a_driver_that_judged_less_say_so() -> None:
    storm = {"answers": 1, "callers": {}, "events": 2, "faults": {}, "endings": {}, "upstream_calls": 1, "continued": 0}
    older = {**storm, "forgotten": 0, "trouble": {"the client gave up, and its caller asked again": 9}}
    newer = {**storm, "forgotten": 0, "given_up": {"no connection to begin with": 4}, "least_away_s": None}
    page = PAGE.read_text(encoding="utf-8")
    figures = {"storm, one process": {**older, "seed": 1, "date": "2026-01-01"}}
    assert "asked 9 times themselves; whether they had to was not judged" in updated(page, figures)
    figures = {"storm, one process": {**newer, "seed": 1, "date": "2026-01-01"}}
    assert "left 4 to its caller, as it may: 4 no connection" in updated(page, figures)
