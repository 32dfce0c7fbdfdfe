"""Runs the examples of a page."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Self

from tests.docs.fences import ROOT, Fence

ANYTHING = "…"
TIME_LIMIT_S = 120
_FLOAT_TOLERANCE = 0.05  # a cosine differs a little from processor to processor


class Session:
    """The examples of one page: Python blocks share a module, shell blocks the server and its environment."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self._module = ModuleType(name)
        self._environment = environment
        self._printed = ""

    def __enter__(self) -> Self:
        sys.modules[self._module.__name__] = self._module  # dataclasses look their module up
        return self

    def __exit__(self, *_: object) -> None:
        del sys.modules[self._module.__name__]

    def run(self, fence: Fence) -> None:
        """Runs a block, or compares one that shows output with what was printed."""
        if fence.is_output:
            check_output(fence, self._printed)
        elif fence.language == "python":
            self._printed = self._python(fence)
        else:
            self._printed = self._shell(fence)

    def _python(self, fence: Fence) -> str:
        padding = "\n" * (fence.line - 1)  # so that a traceback names the line of the page
        code = compile(padding + fence.code, str(fence.page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, self._module.__dict__)  # noqa: S102 (running the documentation is the point)
        return printed.getvalue()

    def _shell(self, fence: Fence) -> str:
        commands = fence.code.replace(".venv/bin/headwater", "headwater")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{fence.where} exits with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout


def headwater_command(folder: Path) -> Path:
    """Makes a folder with the one command `headwater`: that of this interpreter, installed or not."""
    folder.mkdir()
    command = folder / "headwater"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m headwater "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return folder


def check_output(fence: Fence, printed: str) -> None:
    """Compares what a page shows with what was printed; raises AssertionError."""
    if fence.language == "json":
        shown, real = list(json_values(fence.code)), list(json_values(printed))
        assert len(shown) == len(real), (
            f"{fence.where} shows {len(shown)} values, and {len(real)} were printed:\n{printed}"
        )
        for place, (one, other) in enumerate(zip(shown, real, strict=True)):
            difference = json_difference(one, other, path=f"[{place}]")
            assert difference is None, f"{fence.where}: {difference}; printed was:\n{printed}"
        return
    assert _pattern(fence.code.strip()).fullmatch(_trimmed(printed)), (
        f"{fence.where} shows\n{fence.code}\nprinted was\n{printed}"
    )


def json_values(text: str) -> Iterator[object]:
    """The JSON values that stand in a text one after the other; raises ValueError."""
    decoder = json.JSONDecoder()
    position = 0
    while rest := text[position:].lstrip():
        value, length = decoder.raw_decode(rest)
        yield value
        position = len(text) - len(rest) + length


def json_difference(shown: object, real: object, *, path: str) -> str | None:
    """Where two JSON values differ, apart from what `…` stands for and from the last digits of fractions."""
    match shown, real:
        case dict(), dict():
            if shown.keys() != real.keys():
                return f"{path} has the keys {sorted(real)} and not {sorted(shown)}"
            pairs = [(f"{path}.{key}", shown[key], real[key]) for key in shown]
        case list(), list():
            if len(shown) != len(real):
                return f"{path} has {len(real)} elements and not {len(shown)}"
            pairs = [(f"{path}[{index}]", *pair) for index, pair in enumerate(zip(shown, real, strict=True))]
        case str(), str():
            return None if _pattern(shown).fullmatch(real) else f"{path} is {real!r} and not {shown!r}"
        case float(), float():
            return None if abs(shown - real) <= _FLOAT_TOLERANCE else f"{path} is {real!r} and not {shown!r}"
        case _:
            return None if shown == real else f"{path} is {real!r} and not {shown!r}"
    return next((found for path, one, other in pairs if (found := json_difference(one, other, path=path))), None)


def _pattern(shown: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, _trimmed(shown).split(ANYTHING))), re.DOTALL)


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
