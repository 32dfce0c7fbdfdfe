"""What the command line remembers from one time to the next: the lines that were typed into a chat."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

VARIABLE = "HEADWATER_STATE_DIR"
MOST_LINES = 1000


def chat_history() -> History:
    """The lines that were typed into chats."""
    folder = state_folder()
    return History(None if folder is None else folder / "chat_history")


def state_folder() -> Path | None:
    """Where it lies: what HEADWATER_STATE_DIR says, or the platform's folder for a user's state.

    That is `$XDG_STATE_HOME/headwater`, by default `~/.local/state/headwater`, and on macOS
    `~/Library/Application Support/headwater`. None where nothing says whose home `~` is, as for a number of a user
    that no one has a name for, in a container.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    xdg = os.environ.get("XDG_STATE_HOME", "") if sys.platform != "darwin" else ""
    if xdg.startswith("/"):  # a relative path there is to be ignored: XDG Base Directory Specification, version 0.8
        return Path(xdg) / "headwater"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "headwater"
    return home / ".local" / "state" / "headwater"


class History:
    """A file of lines, the last one last, which only its owner may read. Each is a JSON string on a line of its own.

    Several programs may add to it at once. One whose file has grown to twice its bound begins it anew with the newest.

    Args:
        path: The file; it is made when something is added. None: there is no place for one, and each use fails.
    """

    def __init__(self, path: Path | None) -> None:
        self._place = path

    def load(self) -> list[str]:
        """The last lines, oldest first; at most `MOST_LINES`. What cannot be read of them is left out.

        Raises:
            OSError: The file is there, and cannot be read or shortened.
        """
        path = self._path
        try:
            stored = path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        lines = [line for line in map(_parsed, stored) if line is not None]
        if len(stored) > 2 * MOST_LINES:
            self._replace(lines[-MOST_LINES:])
        return lines[-MOST_LINES:]

    def add(self, line: str) -> None:
        """Adds a line.

        Raises:
            OSError: It cannot be written.
        """
        path = self._path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if hasattr(os, "fchmod"):  # Windows has it from Python 3.13 on; its files are closed by their folder
                os.fchmod(descriptor, 0o600)  # whatever it was before
            os.write(descriptor, _encoded([line]))
        finally:
            os.close(descriptor)

    @property
    def _path(self) -> Path:
        if self._place is None:
            raise OSError(errno.ENOENT, f"there is no home folder ({VARIABLE} may name another)", "~")
        return self._place

    def _replace(self, lines: Sequence[str]) -> None:
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_encoded(lines))
        beside.replace(self._path)


def _encoded(lines: Sequence[str]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _parsed(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
