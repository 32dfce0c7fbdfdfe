"""Writes the tables of docs/retrieval.md out of figures that were measured.

    python -m benchmarks.retrieval_quality --markdown   measures, and writes the figures and the page; some minutes
    python -m benchmarks.served_quality --keep served_quality   measures what a caller gets, and keeps the figures
    python scripts/retrieval_docs.py                    writes the page out of the figures there are
    python scripts/retrieval_docs.py --check            exits with 1 if page, figures and ranking are not in step

The figures stand in benchmarks/retrieval_figures.json, with what ranked when they were measured, and those of a
server in benchmarks/measured/served_quality.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headwater_server.retrieval.ranking.relevance import MINILM
from headwater_server.retrieval.store import feedback
from headwater_server.retrieval.store.index.search import LEAST_DEPTH
from headwater_server.retrieval.store.terms import ANALYSIS_VERSION, K1, USUAL_TERMS, B

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/retrieval.md"
FIGURES = ROOT / "benchmarks/retrieval_figures.json"
SERVED = ROOT / "benchmarks/measured/served_quality.json"

_NAMES = {"cranfield": "Cranfield", "cisi": "CISI"}


def made_with() -> dict[str, object]:
    """What ranks now, as far as it is numbers; figures made with other ones are out of date."""
    return {
        "analysis": ANALYSIS_VERSION,
        "depth": LEAST_DEPTH,
        "bm25": [K1, B, USUAL_TERMS],
        "feedback": [feedback.PASSAGES, feedback.SEARCHED_AGAIN, feedback.LOOKED_AT, feedback.TERMS, feedback.SHARE],
        "relevance": [MINILM.slope, MINILM.middle],
    }


def write(figures: Mapping[str, Any]) -> None:
    """Keeps figures, and brings the page into step with them."""
    FIGURES.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")


def updated(page: str, figures: Mapping[str, Any]) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: The page has no place for one of them.
    """
    for name, lines in (
        ("modes", _modes(figures)),
        ("served", _served(_served_rows())),
        ("methods", _methods(figures)),
        ("reliability", _reliability(figures)),
        ("thresholds", _thresholds(figures)),
    ):
        begin, end = (f"<!-- made by scripts/retrieval_docs.py: {name} {which} -->" for which in ("begin", "end"))
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the page lacks {end if found else begin}")
        page = "\n".join([f"{before}{begin}", "", *lines, "", f"{end}{after}"])
    return page


def problems(page: str, figures: Mapping[str, Any]) -> Iterator[str]:
    """What is not in step."""
    if figures["made_with"] != made_with():
        yield (
            "the ranking has changed since its figures were measured:"
            " run python -m benchmarks.retrieval_quality --markdown"
        )
    if any(row["made_with"] != made_with() for row in _served_rows()):
        yield (
            "the ranking has changed since a server's figures were measured:"
            " run python -m benchmarks.served_quality --keep served_quality"
        )
    if updated(page, figures) != page:
        yield "docs/retrieval.md is not in step with its figures: run python scripts/retrieval_docs.py"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


def _modes(figures: Mapping[str, Any]) -> list[str]:
    measured = figures["store"]
    head = ["nDCG@10", *(f"{_NAMES[name]}, {figures['collections'][name][0]} questions" for name in measured)]
    labels = {
        "hybrid": "**hybrid**",
        "dense": "dense",
        "lexical": "lexical",
        "peer": "SQLite FTS5 and a matrix of vectors, fused by reciprocal rank",
    }
    return _table(
        head, [[label, *(f"{each[mode]:.3f}" for each in measured.values())] for mode, label in labels.items()]
    )


def _served_rows() -> Sequence[Mapping[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = json.loads(SERVED.read_text(encoding="utf-8"))["rows"]
    return rows


def _served(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    collections = {row["collection"]: row for row in rows}
    head = ["sources"]
    for name, row in collections.items():
        cut = f"{_NAMES[name]}, {row['documents']:,} documents in {row['passages']:,} passages"
        head += [f"{cut}: nDCG@10", "documents among them"]
    lines = []
    for top_k in dict.fromkeys(row["top_k"] for row in rows):
        those = {row["collection"]: row for row in rows if row["top_k"] == top_k}
        cells = [(f"{those[name]['ndcg']:.3f}", f"{those[name]['documents_found']:.1f}") for name in collections]
        lines.append([f"{top_k}", *(cell for pair in cells for cell in pair)])
    return _table(head, lines)


def _methods(figures: Mapping[str, Any]) -> list[str]:
    measured: Mapping[str, Mapping[str, Mapping[str, float]]] = figures["methods"]
    head = ["method", *(f"{_NAMES[name]}, nDCG@10" for name in measured)]
    head += [f"{_NAMES[name]}, known item" for name in measured]
    rows = []
    for method in next(iter(measured.values())):
        cells = [f"{each[method]['ndcg']:.3f}" for each in measured.values()]
        cells += [f"{each[method]['known_item']:.3f}" for each in measured.values()]
        rows.append([f"**{method}**" if method.startswith("standard scores, ") else method, *cells])
    return _table(head, rows)


def _reliability(figures: Mapping[str, Any]) -> list[str]:
    names = list(figures["collections"])
    head = ["relevance"]
    head += [f"{_NAMES[name]}: {what}" for name in names for what in ("estimated", "judged relevant", "pairs")]
    rows = []
    for each in figures["relevance"]["reliability"]:
        cells = [f"{each['from']:g} to {each['to']:g}"]
        for name in names:
            found = each[name]
            empty = not found["pairs"]
            cells += ["", ""] if empty else [f"{found['estimated']:.3f}", f"{found['judged']:.3f}"]
            cells.append(f"{found['pairs']:,}")
        rows.append(cells)
    return _table(head, rows)


def _thresholds(figures: Mapping[str, Any]) -> list[str]:
    names = list(figures["collections"])
    head = ["`min_score`"]
    head += [
        f"{_NAMES[name]}: {what}" for name in names for what in ("relevant kept", "others kept", "passages a question")
    ]
    rows = []
    for each in figures["relevance"]["thresholds"]:
        cells = [f"{each['min_score']:g}"]
        for name in names:
            found = each[name]
            cells += [f"{100 * found['relevant_kept']:.0f} %", f"{100 * found['others_kept']:.1f} %"]
            cells.append(f"{found['passages']:.0f}")
        rows.append(cells)
    return _table(head, rows)


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether all is in step")
    check = parser.parse_args().check
    page, figures = PAGE.read_text(encoding="utf-8"), json.loads(FIGURES.read_text(encoding="utf-8"))
    if not check:
        PAGE.write_text(updated(page, figures), encoding="utf-8")
    found = list(problems(PAGE.read_text(encoding="utf-8"), figures))
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
