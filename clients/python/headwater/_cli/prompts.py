"""Where the prompts of a chat come from: typed on a terminal, with editing and a history, or piped in, one a line."""

from __future__ import annotations

import importlib
import io
import os
import select
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Protocol

from headwater._cli.state import History
from headwater._cli.terminal import note

_PROMPT = "> "
# What is pasted into a terminal comes at once; nobody types a line in this time.
_PASTE_SECONDS = 0.05


class Prompts(Protocol):
    """Gives prompts one after the other."""

    interactive: bool
    """Whether a person types them."""

    def next(self) -> str | None:
        """Waits for the next, which may have several lines. None: there are no more.

        Raises:
            KeyboardInterrupt: Ctrl-C.
        """


class PipedPrompts:
    """The lines of standard input; those with nothing but white space are passed over."""

    interactive = False

    def __init__(self) -> None:
        self._lines: Iterator[bytes] = iter(sys.stdin.buffer)

    def next(self) -> str | None:
        """Waits for the next line."""
        for line in self._lines:
            text = line.decode("utf-8", "replace").strip()
            if text:
                return text
        return None


class TypedPrompts:
    """What is typed on a terminal, with the keys and the history of a shell where Python has readline.

    What is pasted is one prompt, however many lines it has: GNU readline is told its beginning and its end by the
    terminal (bracketed paste); elsewhere the lines that have come when one has been read belong to it.

    Args:
        history: Where the lines of this and of earlier sessions are kept.
    """

    interactive = True

    def __init__(self, history: History) -> None:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # a byte that is not UTF-8 must not end a session
        self._history: History | None = history
        self._last = ""
        self._ended = False
        # Without a terminal to write on, or without the module, Python reads lines by itself.
        self._readline = _readline() if sys.stdout.isatty() else None
        self._bracketed = self._readline is not None and _brackets_pastes(self._readline)
        try:
            lines = history.load()
        except OSError as error:
            self._forget(error)
            return
        if self._readline is not None:
            for line in lines:
                self._readline.add_history(line)

    def next(self) -> str | None:
        """Waits for the next prompt."""
        while not self._ended:
            try:
                text = self._read_text()
            except EOFError:
                if not self._bracketed:  # otherwise readline has ended the line
                    note("")
                return None
            except KeyboardInterrupt:
                note("")
                raise
            if text := text.strip():
                self._remember(text)
                return text
        return None

    def _read_text(self) -> str:
        text = _read(_PROMPT)
        while not self._bracketed and _more_has_come():
            try:
                text += "\n" + _read("")
            except EOFError:
                self._ended = True
                break
        return text

    def _remember(self, text: str) -> None:
        if text == self._last:
            return
        self._last = text
        if self._readline is not None:
            self._readline.add_history(text)
        if self._history is not None:
            try:
                self._history.add(text)
            except OSError as error:
                self._forget(error)

    def _forget(self, error: OSError) -> None:
        self._history = None
        note(f"the lines of this session are not kept: {error.filename}: {error.strerror}")


def _readline() -> ModuleType | None:
    try:
        module = importlib.import_module("readline")
    except ImportError:
        return None
    module.set_auto_history(False)  # several lines pasted are one entry
    return module


def _brackets_pastes(readline: ModuleType) -> bool:
    if "libedit" in (readline.__doc__ or "") or os.environ.get("TERM", "dumb") == "dumb":
        return False
    readline.parse_and_bind("set enable-bracketed-paste on")  # which Python turns off for its own prompt
    return True


def _read(prompt: str) -> str:
    """Reads a line that is typed."""
    if sys.stdout.isatty():
        return input(prompt)
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _more_has_come() -> bool:
    return bool(select.select([sys.stdin], [], [], _PASTE_SECONDS)[0])
