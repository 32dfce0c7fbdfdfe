"""Writes the tables of docs/benchmarks.md out of figures that were measured.

    python -m benchmarks.retrieval_cost --keep retrieval_cost   measures, and keeps the figures under that name
    python scripts/benchmarks_docs.py                           writes the page out of the figures there are
    python scripts/benchmarks_docs.py --check                   exits with 1 if page and figures are not in step

The figures stand in benchmarks/measured, each file from one run (`benchmarks.figures`). A table stands on the page
between two marks with its name, under the command that measured it. For a new one: its marks, and a line in `TABLES`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/benchmarks.md"
FIGURES = ROOT / "benchmarks/measured"

Row = Mapping[str, Any]

_COLLECTIONS = {"cranfield": "Cranfield", "cisi": "CISI"}


@dataclass(frozen=True)
class Table:
    """How rows are shown: its columns, and the cells that a row of figures becomes, in one line or more."""

    head: Sequence[str]
    cells: Callable[[Row], Iterable[Sequence[str]]]
    joined: bool = False
    """Whether the rows of all runs stand under one heading."""

    def heading(self) -> str:
        """The first two lines, as Markdown."""
        return f"{_line(self.head)}\n{_line(['---'] * len(self.head))}"

    def lines(self, row: Row) -> str:
        """The lines of a row, as Markdown."""
        return "\n".join(_line(cells) for cells in self.cells(row))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ranking(row: Row) -> Iterable[Sequence[str]]:
    label = f"{_COLLECTIONS[row['collection']]}, {row['queries']} queries, {row['passages']:,} passages"
    for mode, found in row["modes"].items():
        cells = [label, mode]
        for measure in ("ndcg", "recall"):
            ours, peer = found[measure], found[f"peer_{measure}"]
            cells += [f"{ours:.4f}", f"{peer:.4f}", f"{ours / peer:.3f}"]
        yield cells
        label = ""


def _ranking_cost(row: Row) -> Iterable[Sequence[str]]:
    server, index, peer = row["server_ms"], row["index_ms"], row["peer_ms"]
    numbers = [
        f"{server + index:.2f}",
        f"{server:.2f}",
        f"{index:.2f}",
        f"{peer:.2f}",
        f"{(server + index) / peer:.3f}",
    ]
    yield [_COLLECTIONS[row["collection"]], *numbers]


def _store(row: Row) -> Iterable[Sequence[str]]:
    name = row["store"]
    if not row["graph_made"]:
        name += f", {row['in_graph']:,} passages in its graph when asked"
    parts = f" ({row['own_ms']:.2f} + {row['query_ms'] - row['own_ms']:.2f})" if row["own_ms"] else ""
    yield [
        f"{row['passages']:,}",
        name,
        f"{row['query_ms']:.2f}{parts}",
        f"{row['recall']:.3f}",
        f"{row['passages'] / row['cpu_seconds']:,.0f}",
        f"{row['memory_mib']:,.0f} ({row['anonymous_mib']:,.0f})",
        f"{row['disk_mb']:,.0f}",
    ]


def _filter(row: Row) -> Iterable[Sequence[str]]:
    yield [
        f"{row['passages']:,}",
        f"{row['a_document']}",
        f"{row['leaves']} ({row['left']:,} passages)",
        f"{row['query_ms']:.2f}",
        f"{row['first_ms']:.0f}",
        f"{row['recall']:.3f}",
    ]


def _waiting(row: Row) -> Iterable[Sequence[str]]:
    times = [f"{row['p50_ms']:.1f}", f"{row['p99_ms']:.1f}"]
    yield [f"{row['passages']:,}", row["meanwhile"], f"{row['queries']:,}", *times, f"{row['not_current']:,}"]


def _import(row: Row) -> Iterable[Sequence[str]]:
    yield [
        f"{row['kind']}, {row['side']}",
        f"{row['rate']:.1f} ({row['lowest']:.1f}–{row['highest']:.1f})",
        f"{row['ratio']:.2f}",
        f"{1000 / row['rate']:.0f}",
        f"{row['embedding_ms']:.0f}",
        f"{row['passages']:.1f}",
        f"{row['a_second']:.1f}",
    ]


def _embedding(row: Row) -> Iterable[Sequence[str]]:
    shown = f"{row['median']:.1f}"
    if row["lowest"] < row["highest"]:
        shown += f" ({row['lowest']:.1f}–{row['highest']:.1f})"
    yield [row["what"], shown, row["of"]]


def _relay(row: Row) -> Iterable[Sequence[str]]:
    ratio = row["ratio"]
    yield [
        row["variant"],
        f"{row['cpu_us_a_token']:.1f} ({row['lowest_cpu']:.1f}–{row['highest_cpu']:.1f})",
        "–" if ratio is None else f"{ratio:.2f}",
        f"{row['messages_a_token']:.2f}",
        f"{row['first_p50']:,.1f} / {row['first_p99']:,.1f}",
        f"{row['token_p50']:,.1f} / {row['token_p99']:,.1f}",
        f"{row['memory']:.0f} ({row['memory_with_children']:.0f})",
    ]


def _front(row: Row) -> Iterable[Sequence[str]]:
    def pair(figure: str) -> str:
        p50, p99 = row[f"{figure}_p50"], row[f"{figure}_p99"]
        return "–" if p50 is None else f"{p50:,.1f} / {p99:,.1f}"

    yield [
        row["front"],
        f"{row['cpu_us_a_token']:.1f} ({row['lowest_cpu']:.1f}–{row['highest_cpu']:.1f})",
        "–" if row["ratio"] is None else f"{row['ratio']:.2f}",
        pair("first"),
        pair("token"),
        f"{row['memory_a_stream']:.0f}",
    ]


def _target(row: Row) -> Iterable[Sequence[str]]:
    unit = f" {row['unit']}".rstrip()
    beside = ", ".join(f"{name} {_figure(value)}" for name, value in row["beside"].items())
    reached = "stretch too" if row["value"] <= row["stretch"] else "yes" if row["value"] <= row["wanted"] else "no"
    yield [
        row["what"],
        f"**{_figure(row['value'])}**{unit}",
        f"≤ {row['wanted']:g}",
        f"≤ {row['stretch']:g}",
        reached,
        beside or "–",
    ]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 20 else f"{value:.2f}"


RANKING = Table(
    ["collection", "", "nDCG@10", "peer", "ratio", "recall@10", "peer", "ratio"],
    _ranking,
)
RANKING_COST = Table(
    ["collection", "CPU ms a hybrid query", "in the server", "in the index's process", "peer", "ratio"], _ranking_cost
)
STORE_COSTS = Table(
    [
        "passages",
        "store",
        "CPU ms a hybrid query",
        "recall@10",
        "passages imported a CPU-second",
        "MiB of memory (anonymous)",
        "MB of disk",
    ],
    _store,
)
FILTER_COSTS = Table(
    ["passages", "a document", "filter leaves", "CPU ms a hybrid query", "first, ms", "recall@10"],
    _filter,
)
WAITS = Table(["passages", "meanwhile", "queries", "p50 ms", "p99 ms", "not current"], _waiting)
IMPORTS = Table(
    ["", "documents a CPU-second (range)", "× Ragna", "CPU ms each", "for embedding", "passages each", "a second"],
    _import,
)
EMBEDDING = Table(["all-MiniLM-L6-v2 (int8), one thread a text", "median (range)", "of"], _embedding)

RELAYS = Table(
    [
        "",
        "CPU µs a token (range)",
        "× Go relay",
        "messages a token",
        "first p50 / p99 ms",
        "token p50 / p99 ms",
        "MiB (with children)",
    ],
    _relay,
)
FRONTS = Table(
    [
        "",
        "CPU µs a token (range)",
        "× Go",
        "first p50 / p99 ms",
        "late p50 / p99 ms",
        "KiB a stream",
    ],
    _front,
)
TARGETS = Table(["", "Headwater", "target", "stretch", "reached", "beside it"], _target, joined=True)

_STREAMING = ("streams64", "streams1000", "burst", "hop", "log", "cancel", "memory", "imports")

TABLES: Mapping[str, tuple[Table, Sequence[str]]] = {
    "ranking": (RANKING, ["retrieval_quality"]),
    "ranking_cost": (RANKING_COST, ["retrieval_quality"]),
    "stores": (STORE_COSTS, ["retrieval_cost", "retrieval_cost_1m"]),
    "filters": (FILTER_COSTS, ["retrieval_filters"]),
    "waiting": (WAITS, ["retrieval_busy", "retrieval_busy_100000", "served_queries"]),
    "imports": (IMPORTS, ["import_pace"]),
    "embedding": (EMBEDDING, ["embedding"]),
    "streaming": (TARGETS, [f"streaming_{part}" for part in _STREAMING]),
    "relays": (RELAYS, ["relays_streams64", "relays_streams1000", "relays_burst"]),
    "fronts": (FRONTS, ["fronts", "fronts_1000"]),
}
"""Tables by the names of their marks, each with the names of the runs that it shows one after the other.

The first run must be there; of the others those that are.
"""


def updated(page: str, *, folder: Path = FIGURES) -> str:
    """The page with its tables made anew.

    Args:
        page: What it is now.
        folder: Where the figures are.

    Raises:
        ValueError: The page has no place for one of them, or its figures are missing or not readable.
    """
    for name, (table, runs) in TABLES.items():
        begin, end = (f"<!-- made by scripts/benchmarks_docs.py: {name} {which} -->" for which in ("begin", "end"))
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the page lacks {end if found else begin}")
        page = "\n\n".join([f"{before}{begin}", *_shown(table, runs, folder), f"{end}{after}"])
    return page


def _shown(table: Table, runs: Sequence[str], folder: Path) -> Iterable[str]:
    first, *others = runs
    measured = _read(first, folder)
    if measured is None:
        raise ValueError(f"there are no figures of {first}: a run with --keep {first} makes them")
    found = [measured, *(run for name in others if (run := _read(name, folder)) is not None)]
    for shown in [found] if table.joined else [[run] for run in found]:
        yield _made_by(shown)
        yield "\n".join([table.heading(), *(table.lines(row) for run in shown for row in run["rows"])])


def _read(name: str, folder: Path) -> Row | None:
    try:
        run: Row = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return run


def _made_by(runs: Sequence[Row]) -> str:
    """What made some runs: the words that their commands have in common, the days, and how busy the machine was."""
    first, *others = [run["command"].split() for run in runs]
    command = " ".join(word for word in first if all(word in other for other in others))
    dates = " to ".join(sorted({run["date"] for run in runs}))
    lowest, highest = (bound(at for run in runs for at in run["load"]) for bound in (min, max))
    load = f"{lowest:g}" if lowest == highest else f"{lowest:g} to {highest:g}"
    return f"`{command}`, {dates}, load average {load}:"


def main() -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say whether all is in step")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    try:
        made = updated(page)
    except ValueError as error:
        print(f"docs/benchmarks.md: {error}", file=sys.stderr)
        return 1
    if check and made != page:
        print(
            "docs/benchmarks.md is not in step with its figures: run python scripts/benchmarks_docs.py", file=sys.stderr
        )
        return 1
    if not check:
        PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
