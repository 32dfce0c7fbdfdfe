"""Writes the table of docs/faults.md that says what is survived, out of what the last runs have found.

    make faults                            runs all, and writes the figures; hours
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
    failure = found.get("failed")
    said = f"**failed**: {_cell(failure)}" if isinstance(failure, str) else describe(found)  # a number is a count of 0
    return [what, target, said, str(found["seed"]), found["date"]]


def _cell(text: str) -> str:
    """Text that stands in one cell of a table, as it is."""
    return "".join("\\" + letter if letter in "\\|`*_<>[]" else letter for letter in text)


def _storm(found: Mapping[str, Any]) -> str:
    faults = ", ".join(f"{count:,} {kind}" for kind, count in found["faults"].items())
    endings = ", ".join(f"{count:,} {ending}" for ending, count in found["endings"].items())
    callers = sum(found["callers"].values())
    return (
        f"{found['answers']:,} answers, {callers:,} callers, {found['events']:,} events: none lost, changed, doubled or"
        f" invented. Faults: {faults}. Endings, each explained by what was done: {endings}."
        f" Assistants were asked {found['upstream_calls']:,} times, {found['continued']:,} of them to go on;"
        f" {found['forgotten']:,} answers could not be kept on the full disk, and said so. {_given_up(found)}"
    )


def _given_up(found: Mapping[str, Any]) -> str:
    """How often the client left an answer to its caller, each time because the server was away."""
    if "given_up" not in found:  # of a driver that took every failure of the client's for one that may be
        again = found.get("trouble", {}).get("the client gave up, and its caller asked again", 0)
        return f"Callers who use the client asked {again:,} times themselves; whether they had to was not judged"
    causes = found["given_up"]
    if not causes:
        return "The client never left an answer to its caller"
    told = ", ".join(f"{count:,} {cause}" for cause, count in causes.items())
    away = found["least_away_s"]
    least = f" (which was away for at least {away:g} s of them)" if away is not None else ""
    return f"The client left {sum(causes.values()):,} to its caller, as it may: {told}{least}"


def _races(found: Mapping[str, Any]) -> str:
    return f"{found['rounds']:,} rounds of {found['callers']} callers: one upstream call each, one answer for all"


def _rolling(found: Mapping[str, Any]) -> str:
    return (
        f"{found['restarts']} restarts of each of the three services under {found['streams']} streams:"
        f" {found['failed']} of {found['answers']:,} answers failed, {found['continued']:,} went on elsewhere."
        f" {_given_up(found)}"
    )


def _frozen(found: Mapping[str, Any]) -> str:
    longest = {name.removesuffix(", longest"): value for name, value in found.items() if name.endswith(", longest")}
    return "longest: " + ", ".join(f"{name} {seconds:g} s" for name, seconds in sorted(longest.items()))


def _awakened(found: Mapping[str, Any]) -> str:
    return f"{found['rounds']:,} owners: every append after the take-over refused, {found['events']:,} events unharmed"


def _malformed(found: Mapping[str, Any]) -> str:
    outcomes = ", ".join(f"{count:,} {code}" for code, count in found["outcomes"].items())
    return (
        f"{found['calls']:,} calls, {found['oddities']:,} odd frames and connections, {found['flood_frames']:,} frames"
        f" in floods: none wrong. They ended as {outcomes}. The server took {found['growth_mib']:,} MiB more at most;"
        f" another caller had {found['answers_beside']:,} answers meanwhile, all right"
    )


def _parsers(found: Mapping[str, Any]) -> str:
    return f"{found['inputs']:,} inputs to {found['parsers']} parsers: none wrong"


def _canaries(found: Mapping[str, Any]) -> str:
    return (
        f"{found['secrets']} secrets, {found['calls']} calls, of which {found['failures']} failed; {found['places']:,}"
        f" places looked at ({found['statuses']:,} statuses, {found['representations']:,} representations and messages,"
        f" {found['log_lines']:,} lines of logs, {found['files']:,} files): none has a secret"
    )


def _tenants(found: Mapping[str, Any]) -> str:
    return (
        f"{found['operations']:,} operations of two tenants over {found['methods']} methods, {found['foreign']:,} of"
        f" them on what is another's; {found['replies']:,} replies of {found['bytes'] / 2**20:,.0f} MiB looked at: not"
        " one foreign byte, and every foreign name answered as one that does not exist"
    )


def _overload(found: Mapping[str, Any]) -> str:
    others = found["streams"] - found["right"] - found["refused"]
    waits = f"{found['refuse_p50_ms']:,.1f} ms (p50) and {found['refuse_p99_ms']:,.1f} ms (p99)"
    return (
        f"{found['goodput'] / found['peak']:.0%} of {found['peak']:.1f} whole answers a second; {found['refused']:,} of"
        f" {found['streams']:,} refused, {found['hinted']:,} of them with RetryInfo, {found['refused_soon']:,} within"
        f" 10 ms; in {waits}; {others:,} neither whole nor refused; load average {found['load']:.1f}"
    )


_STORM = "all complete; byte-identical; no gap, no duplicate; one terminal"
_ROWS = {
    "storm, one process": ("a storm of all faults, one process", f"10,000 answers in all: {_STORM}", _storm),
    "storm, three processes": ("a storm of all faults, three processes", "the same", _storm),
    "races": ("50 callers race one request_id", "1,000 times: one upstream call each", _races),
    "rolling restarts": (
        "services restarted in turn; their assistants can go on from a part of an answer",
        "200 live streams, 20 times: no failed answer",
        _rolling,
    ),
    "rolling restarts, no going on": (
        "services restarted in turn; their assistants cannot, and their answers are shorter than `drain`",
        "the same",
        _rolling,
    ),
    "frozen peers": ("a frozen peer is noticed, on each hop", "within 3 s", _frozen),
    "awakened owners": ("a frozen owner wakes up after its answer was taken over", "writes nothing", _awakened),
    "overload, front grpc": (
        "ten times the load that it can carry (`python -m benchmarks.overload --keep`)",
        "≥ 90 % of peak goodput; refusals within 10 ms, with RetryInfo",
        _overload,
    ),
    "overload, front http2": (
        "the same on the front `http2` (`python -m benchmarks.overload --keep --front http2 --rates 40 80 100 120`)",
        "the same",
        _overload,
    ),
    "malformed calls": ("malformed calls", "100,000: no crash, no UNKNOWN, no INTERNAL", _malformed),
    "malformed input of parsers": ("generated input for parsers", "1,000,000: the same", _parsers),
    "canaries": (
        "secrets in settings, URLs, and what providers say",
        "none in logs, statuses, reprs, files",
        _canaries,
    ),
    "tenants": ("two tenants, random operations", "100,000: not one foreign byte", _tenants),
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
