"""What becomes of every file of a folder that is imported, and how long that takes.

    python -m benchmarks.import_folder FOLDER                        imports it twice
    python -m benchmarks.import_folder --made 10000                  so many text files of one passage each instead
    python -m benchmarks.import_folder FOLDER --ready-vectors        with a stand-in for the embedder: 20 times as fast
    python -m benchmarks.import_folder FOLDER --keep real_files      keeps the figures, for docs/benchmarks.md
    python scripts/real_files.py FOLDER                              makes a folder of real files of many kinds

A server is started in a folder of its own, with the built-in embedder and everything on, and `headwater import --json`
is run against it: once with nothing there, then again, when all is there but what failed. Each line that it writes is
one document; they are counted by outcome, code and kind, which is the ending of the file's name. What is left out by
its name is no document: it stands in the last line of the command, which is kept as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.figures import Run, add_option
from benchmarks.ready_vectors import embeddings_server
from benchmarks.relay.processes import server

ROOT = Path(__file__).resolve().parent.parent
_ROUNDS = ("nothing there", "again")
_WORDS = 60  # of a made file: one passage


def main() -> int:
    """Imports, and prints what became of the files."""
    parser = argparse.ArgumentParser(description="Import a folder, and count what becomes of its files.")
    parser.add_argument("folder", type=Path, nargs="?", help="the folder")
    parser.add_argument("--made", type=int, metavar="N", help="make so many text files, and import those")
    parser.add_argument("--ready-vectors", action="store_true", help="embed by a stand-in, in no time")
    add_option(parser)
    options = parser.parse_args()
    if (options.folder is None) is (options.made is None):
        parser.error("give a folder, or --made")
    if options.folder is not None and not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    given = sys.argv[1:]
    run = Run("benchmarks.import_folder", ["FOLDER" if each == str(options.folder) else each for each in given])
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = options.folder
        if folder is None:
            folder = Path(name) / "made"
            make_files(folder, options.made)
        settings = stack.enter_context(embeddings_server()) if options.ready_vectors else ""
        (Path(name) / "settings.toml").write_text(settings)
        command = [sys.executable, "-m", "headwater", "serve", "--config", f"{name}/settings.toml"]
        command += ["--address", "127.0.0.1:0", "--data-dir", f"{name}/data"]
        running = stack.enter_context(server(command, cwd=ROOT, log=Path(name) / "log"))
        for before in _ROUNDS:
            row = {"before": before, **imported(folder, target=running.address, log=Path(name) / "errors")}
            show(row)
            run.add(row)
    run.keep(options.keep)
    return 0


def make_files(folder: Path, count: int) -> None:
    """Makes text files of one passage each, of words of the handbook, no two alike."""
    folder.mkdir()
    words = " ".join(path.read_text() for path in sorted((ROOT / "docs/demo/handbook").glob("*.md"))).split()
    pick = random.Random(0)  # noqa: S311 (a sample, not a secret)
    for number in range(count):
        (folder / f"{number:06}.txt").write_text(f"{number} {' '.join(pick.choices(words, k=_WORDS))}\n")


def imported(folder: Path, *, target: str, log: Path) -> dict[str, Any]:
    """Runs the command once, and returns what it took and what became of the files.

    Raises:
        SystemExit: The command did not do its work; that files failed is no such thing.
    """
    command = [sys.executable, "-m", "headwater", "import", str(folder), "--corpus", "measured", "--json"]
    environment = {**os.environ, "HEADWATER_TARGET": target}
    began = time.monotonic()
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        assert process.stdout is not None, "it was opened with a pipe"
        documents = [json.loads(line) for line in process.stdout]
        # wait4 says what this one child took; the server is another.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    said = log.read_text().splitlines()
    if process.returncode != bool(any(each["outcome"] == "failed" for each in documents)):
        raise SystemExit(f"headwater import ended with {process.returncode}: {' '.join(said[-3:])}")
    return {
        "seconds": time.monotonic() - began,
        "files": len(documents),
        "passages": sum(each["passages"] for each in documents),
        "client_cpu_seconds": usage.ru_utime + usage.ru_stime,
        "client_mib": usage.ru_maxrss / 1024,
        "outcomes": list(counted(documents)),
        "left_out": next((line for line in reversed(said) if " skipped (" in line), ""),
    }


def counted(documents: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """How many files of each kind came to each outcome, the most first."""
    counts = Counter((each["outcome"], each.get("code", ""), kind(each["uri"])) for each in documents)
    for (outcome, code, ending), files in sorted(counts.items(), key=lambda each: (each[0][:2], -each[1], each[0])):
        yield {"outcome": outcome, "code": code, "kind": ending, "files": files}


def kind(uri: str) -> str:
    """The ending of a file's name, in lower case."""
    return Path(uri).suffix.lower() or "no ending"


def show(row: Mapping[str, Any]) -> None:
    """Prints what was measured."""
    print(
        f"{row['before']}: {row['files']:,} files, {row['passages']:,} passages in {row['seconds']:,.1f} s, "
        f"{row['files'] / row['seconds']:,.0f} files a second; "
        f"client: {row['client_cpu_seconds']:.1f} s CPU, {row['client_mib']:.0f} MiB"
    )
    totals: Counter[tuple[str, str]] = Counter()
    for each in row["outcomes"]:
        totals[each["outcome"], each["code"]] += each["files"]
    for (outcome, code), files in totals.items():
        those = [each for each in row["outcomes"] if (each["outcome"], each["code"]) == (outcome, code)]
        kinds = ", ".join(f"{each['kind']} {each['files']:,}" for each in those)
        print(f"  {outcome}{f' {code}' if code else ''}: {files:,} ({kinds})")
    if row["left_out"]:
        print(f"  {row['left_out']}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
