"""Runs every recording in every shape and cut, and writes the table into docs/fidelity.md.

python -m tests.fidelity [--recording NAME] [--places N] [--seed N] [--no-write | --check]

Cuts are tried twice: at places that are chosen, through the whole service, and at every byte before the readers alone.
`--check` runs nothing: it says whether the table is that of these recordings and shapes, with nothing wrong in it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio
import structlog

from tests.fidelity.readers import false_ends
from tests.fidelity.recordings import MANIFEST, recordings
from tests.fidelity.shapes import Case, cuts, harmless
from tests.fidelity.suite import Result, run
from tests.fidelity.table import DOCUMENT, table, written


def main() -> int:
    """Runs the suite, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fidelity", description=__doc__)
    parser.add_argument("--recording", default="", help="only recordings whose name begins so")
    parser.add_argument("--places", type=int, default=12, help="places to cut each recording at, beside its ends")
    parser.add_argument("--seed", type=int, default=0, help="which places")
    parser.add_argument("--no-write", action="store_true", help="leave the document as it is")
    parser.add_argument(
        "--check", action="store_true", help="run nothing; fail if the table is another's, or has faults"
    )
    arguments = parser.parse_args()
    chosen = [recording for recording in recordings() if recording.name.startswith(arguments.recording)]
    if not chosen and arguments.check:
        _say(f"docs/fidelity.md: check skipped, the recordings are not here ({MANIFEST})")
        return 0
    if not chosen:
        _say(f"no recordings: {MANIFEST} has none of that name, or is not there")
        return 2
    cases = [
        case
        for recording in chosen
        for case in (*harmless(recording), *cuts(recording, places=arguments.places, seed=arguments.seed))
    ]
    if arguments.check:
        return _check(cases)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    cut, wrong_cuts = 0, list[str]()
    for recording in chosen:
        count, found = false_ends(recording)
        cut, wrong_cuts = cut + count, [*wrong_cuts, *found]
    for problem in wrong_cuts:
        _say(problem)
    _say(f"{cut} cuts before the readers, {len(wrong_cuts)} of them wrong")
    with tempfile.TemporaryDirectory() as folder:
        results = anyio.run(run_and_show, cases, Path(folder) / "data")
    wrong = sum(bool(result.problems) for result in results)
    _say(f"{len(results)} cases of {len(chosen)} recordings, {wrong} of them wrong")
    if not arguments.no_write and not arguments.recording:
        DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), table(results)), encoding="utf-8")
    return 1 if wrong or wrong_cuts else 0


def _check(cases: Sequence[Case]) -> int:
    """Whether the document has the table that these cases make where none of them goes wrong."""
    document = DOCUMENT.read_text(encoding="utf-8")
    if written(document, table([Result(case, ()) for case in cases])) == document:
        return 0
    _say("docs/fidelity.md: is not what python -m tests.fidelity writes; run it")
    return 1


async def run_and_show(cases: list[Case], data_dir: Path) -> list[Result]:
    """Runs cases, and names those that go wrong."""
    return await run(cases, data_dir, seen=_show)


def _show(result: Result) -> None:
    if result.problems:
        _say(f"{result.case.recording.name} {result.case.options}: {'; '.join(result.problems)}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
