"""The tables of docs/benchmarks.md are those of the figures that the benchmarks have kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.figures import Run
from scripts.benchmarks_docs import FIGURES, PAGE, STORE_COSTS, TABLES, updated

STORED = {
    "passages": 100_000,
    "store": "headwater",
    "graph_made": True,
    "in_graph": 100_000,
    "own_ms": 0.5,
    "query_ms": 4.5,
    "recall": 0.9914,
    "cpu_seconds": 80.0,
    "memory_mib": 400.0,
    "anonymous_mib": 60.0,
    "disk_mb": 523.0,
}


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    """A copy of the figures."""
    return Path(shutil.copytree(FIGURES, tmp_path / "figures"))


def test_the_page_and_the_figures_are_in_step() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert updated(page) == page


def test_a_figure_that_has_changed_changes_the_page(figures: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    path = figures / "embedding.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    run["rows"][0]["median"] = 12345.6
    path.write_text(json.dumps(run), encoding="utf-8")
    made = updated(page, folder=figures)
    assert "12345.6" in made
    assert "12345.6" not in page


def test_above_a_table_stands_what_made_it(figures: Path) -> None:
    path = figures / "embedding.json"
    run = {**json.loads(path.read_text(encoding="utf-8")), "command": "python -m made.it", "load": [0.5, 2.0]}
    path.write_text(json.dumps({**run, "date": "2031-05-04"}), encoding="utf-8")
    made = updated(PAGE.read_text(encoding="utf-8"), folder=figures)
    assert "`python -m made.it`, 2031-05-04, load average 0.5 to 2:\n\n| all-MiniLM" in made


@pytest.mark.parametrize("name", TABLES)
def test_a_page_without_a_place_for_a_table_is_refused(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8").replace(f"benchmarks_docs.py: {name} end", "elsewhere")
    with pytest.raises(ValueError, match=f"lacks .*{name} end"):
        updated(page)


def test_a_table_without_figures_is_refused(figures: Path) -> None:
    (figures / "embedding.json").unlink()
    with pytest.raises(ValueError, match="no figures of embedding"):
        updated(PAGE.read_text(encoding="utf-8"), folder=figures)


def test_a_later_run_of_a_table_stands_under_the_first_and_may_be_missing(figures: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    later = figures / "retrieval_cost_1m.json"
    run = {"command": "python -m of.a.million", "date": "2031-05-04", "load": [1.0, 1.0]}
    later.write_text(json.dumps({**run, "rows": [{**STORED, "passages": 1_000_000}]}), encoding="utf-8")
    assert "`python -m of.a.million`, 2031-05-04, load average 1:" in updated(page, folder=figures)
    later.unlink()
    assert "of.a.million" not in updated(page, folder=figures)


def test_a_store_that_was_asked_before_its_graph_was_made_says_so() -> None:
    assert STORE_COSTS.lines(STORED).startswith("| 100,000 | headwater | 4.50 (0.50 + 4.00) | 0.991 | 1,250 |")
    unfinished = STORE_COSTS.lines({**STORED, "graph_made": False, "in_graph": 40_000})
    assert "headwater, 40,000 passages in its graph when asked" in unfinished


def test_a_run_is_kept_with_its_command_but_not_with_where_its_files_were(tmp_path: Path) -> None:
    arguments = ["--sizes", "10", "--folder", "/somewhere", "--keep=trial", "--rounds=2", "--data", "/else", "--busy"]
    run = Run("benchmarks.trial", arguments)
    run.add({"found": 1})
    run.keep("trial", folder=tmp_path / "figures")
    kept = json.loads((tmp_path / "figures/trial.json").read_text(encoding="utf-8"))
    assert kept["command"] == "python -m benchmarks.trial --sizes 10 --rounds=2 --busy"
    assert kept["rows"] == [{"found": 1}]
    lowest, highest = kept["load"]
    assert 0 <= lowest <= highest
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["trial.json"]


def test_a_run_that_is_not_to_be_kept_is_not(tmp_path: Path) -> None:
    Run("benchmarks.trial", []).keep(None, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
