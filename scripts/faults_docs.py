"""Writes the table of docs/faults.md that says what answers survive, out of what the last runs have found.

    python -m tests.faults.answers.long    runs, and writes the figures; hours
    python scripts/faults_docs.py          writes the page out of the figures there are
    python scripts/faults_docs.py --check  exits with 1 if page and figures are not in step

The figures stand in benchmarks/answers_faults.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/faults.md"
FIGURES = ROOT / "benchmarks/answers_faults.json"

_BEGIN = "<!-- made by scripts/faults_docs.py: surviving begin -->"
_END = "<!-- made by scripts/faults_docs.py: surviving end -->"


def updated(page: str, figures: Mapping[str, Any]) -> str:
    """The page with its table made anew.

    Raises:
        ValueError: The page has no place for it.
    """
    before, begun, rest = page.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if not begun or not ended:
        raise ValueError(f"the page lacks {_END if begun else _BEGIN}")
    return "\n".join([f"{before}{_BEGIN}", "", *_table(figures), "", f"{_END}{after}"])


def _table(figures: Mapping[str, Any]) -> list[str]:
    rows = [_row(name, figures[name]) for name in _ROWS if name in figures]
    head = ["what", "target", "found", "seed", "date"]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * 5, *rows)]


def _row(name: str, found: Mapping[str, Any]) -> Sequence[str]:
    what, target, describe = _ROWS[name]
    return [what, target, describe(found), str(found["seed"]), found["date"]]


def _storm(found: Mapping[str, Any]) -> str:
    faults = ", ".join(f"{count:,} {kind}" for kind, count in found["faults"].items())
    endings = ", ".join(f"{count:,} {ending}" for ending, count in found["endings"].items())
    callers = sum(found["callers"].values())
    return (
        f"{found['answers']:,} answers, {callers:,} callers, {found['events']:,} events: none lost, changed, doubled or"
        f" invented. Faults: {faults}. Endings, each explained by what was done: {endings}."
        f" Assistants were asked {found['upstream_calls']:,} times, {found['continued']:,} of them to go on;"
        f" {found['forgotten']:,} answers could not be kept on the full disk, and said so"
    )


def _races(found: Mapping[str, Any]) -> str:
    return f"{found['rounds']:,} rounds of {found['callers']} callers: one upstream call each, one answer for all"


def _rolling(found: Mapping[str, Any]) -> str:
    return (
        f"{found['restarts']} restarts of each of the three services under {found['streams']} streams:"
        f" {found['failed']} of {found['answers']:,} answers failed, {found['continued']:,} went on elsewhere"
    )


def _frozen(found: Mapping[str, Any]) -> str:
    longest = {name.removesuffix(", longest"): value for name, value in found.items() if name.endswith(", longest")}
    return "longest: " + ", ".join(f"{name} {seconds:g} s" for name, seconds in sorted(longest.items()))


def _awakened(found: Mapping[str, Any]) -> str:
    return f"{found['rounds']:,} owners: every append after the take-over refused, {found['events']:,} events unharmed"


_STORM = "all complete; byte-identical; no gap, no duplicate; one terminal"
_ROWS = {
    "storm, one process": ("a storm of all faults, one process", f"10,000 answers in all: {_STORM}", _storm),
    "storm, three processes": ("a storm of all faults, three processes", "the same", _storm),
    "races": ("50 callers race one request_id", "1,000 times: one upstream call each", _races),
    "rolling restarts": ("services restarted in turn", "200 live streams, 20 times: no failed answer", _rolling),
    "frozen peers": ("a frozen peer is noticed, on each hop", "within 3 s", _frozen),
    "awakened owners": ("a frozen owner wakes up after its answer was taken over", "writes nothing", _awakened),
}


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether all is in step")
    check = parser.parse_args().check
    page, figures = PAGE.read_text(encoding="utf-8"), json.loads(FIGURES.read_text(encoding="utf-8"))
    made = updated(page, figures)
    if check and made != page:
        print("docs/faults.md is not in step with its figures: run python scripts/faults_docs.py", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
