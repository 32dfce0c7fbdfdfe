"""What benchmarks have measured, kept in `benchmarks/measured`; scripts/benchmarks_docs.py makes tables of it.

A file has the figures of one run: its command, its date, the load average meanwhile, and its rows as measured.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.benchmarks_docs import FIGURES

_CHANGE_NO_FIGURE = ("--keep", "--folder", "--data", "--peer", "--peers", "--python", "--output")


class Run:
    """A run of a benchmark, which collects its rows.

    Args:
        module: The benchmark's, as `python -m` takes it.
        arguments: What it was called with.
    """

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self._command = shlex.join(["python", "-m", module, *_telling(arguments)])
        self._rows: list[Mapping[str, Any]] = []
        self._loads = [os.getloadavg()[0]]

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds what was measured, and notes how busy the machine is."""
        self._rows.append(row)
        self._loads.append(os.getloadavg()[0])

    def keep(self, name: str | None, *, folder: Path = FIGURES) -> None:
        """Writes the figures under a name, in the place of those of an earlier run; does nothing without one."""
        if name is None:
            return
        figures = {
            "command": self._command,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "load": [round(min(self._loads), 1), round(max(self._loads), 1)],
            "rows": self._rows,
        }
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)


def add_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says under which name a run's figures are kept."""
    parser.add_argument(
        "--keep", type=_name, metavar="NAME", help="keep the figures in benchmarks/measured/NAME.json, for the docs"
    )


def _name(given: str) -> str:
    if not given.isidentifier():
        raise argparse.ArgumentTypeError(f"{given!r} is no name: letters, digits and underscores")
    return given


def _telling(arguments: Sequence[str]) -> list[str]:
    """The arguments that a reader needs in order to do the same: not where files are put."""
    telling, left_out = [], False
    for argument in arguments:
        option, equals, _ = argument.partition("=")
        if option in _CHANGE_NO_FIGURE:
            left_out = not equals
        elif left_out:
            left_out = False
        else:
            telling.append(argument)
    return telling
