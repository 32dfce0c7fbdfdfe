"""The tables of docs/retrieval.md are those of its figures, and the figures those of what ranks now."""

from __future__ import annotations

import json

import pytest

from scripts.retrieval_docs import FIGURES, PAGE, problems, updated


def test_the_page_its_figures_and_the_ranking_are_in_step() -> None:
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert list(problems(PAGE.read_text(encoding="utf-8"), figures)) == []


def test_a_figure_or_a_parameter_that_has_changed_is_noticed() -> None:
    page, figures = PAGE.read_text(encoding="utf-8"), json.loads(FIGURES.read_text(encoding="utf-8"))
    changed = json.loads(FIGURES.read_text(encoding="utf-8"))
    changed["store"]["cranfield"]["hybrid"] = 0.999
    assert any("not in step" in problem for problem in problems(page, changed))
    assert any("has changed" in problem for problem in problems(page, {**figures, "made_with": {}}))


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match="thresholds begin"):
        updated(PAGE.read_text(encoding="utf-8").replace("thresholds begin", "elsewhere"), figures)
