"""Writing for people: colour and movement only on a terminal, and nothing that could take the terminal over."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC
from functools import cache
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

# C0 and C1 control characters but tab and newline: a document's text must not move the cursor or change the title.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe(text: str) -> str:
    """The text without control characters, lone surrogates replaced."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n")).encode("utf-8", "replace").decode()


@cache
def output() -> Console:
    """Standard output."""
    return _console(stderr=False)


@cache
def errors() -> Console:
    """Standard error, for progress and notes."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    piped = not stream.isatty()  # then there is no colour, whatever FORCE_COLOR says
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        color_system=None if piped else "auto",
        force_terminal=False if piped else None,
    )


def moves() -> bool:
    """Whether progress may be shown that overwrites itself."""
    return errors().is_terminal and not errors().is_dumb_terminal


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Shows what is being waited for, on a terminal, for as long as the context lasts."""
    if not moves():
        yield
        return
    with Status(what, console=errors()):
        yield


def note(text: str) -> None:
    """Writes a line beside the output, dim on a terminal."""
    errors().print(Text(safe(text), style="dim"))


def line(text: str | Text) -> None:
    """Writes a line of output."""
    output().print(text if isinstance(text, Text) else Text(safe(text)))


def write(text: str) -> None:
    """Writes a piece of output at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def write_json(message: Any) -> None:
    """Writes a protobuf message as one line of JSON, in protobuf's own mapping."""
    write(json_line(message, ascii_only=not output_is_utf8()))


def json_line(message: Any, *, ascii_only: bool) -> str:
    """A protobuf message as one line of JSON, in protobuf's own mapping.

    Args:
        message: The message.
        ascii_only: Whether to escape all other characters, for an output that may not have them.
    """
    from google.protobuf import json_format  # noqa: PLC0415  # only --json pays for it

    return json_format.MessageToJson(message, indent=None, ensure_ascii=ascii_only) + "\n"


def write_object(values: dict[str, object]) -> None:
    """Writes a plain object as one line of JSON."""
    write(json.dumps(values, ensure_ascii=not output_is_utf8()) + "\n")


def output_is_utf8() -> bool:
    """Whether standard output takes every character."""
    return sys.stdout.encoding.lower().replace("-", "") == "utf8"


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Writes a table on a terminal, and tab-separated lines elsewhere."""
    if not output().is_terminal:
        for row in rows:
            write("\t".join(" ".join(safe(cell).split()) for cell in row) + "\n")
        return
    shown = Table(box=None, pad_edge=False, header_style="bold", width=None)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(" ".join(safe(cell).split())) for cell in row))
    output().print(shown, width=shutil.get_terminal_size().columns, soft_wrap=False)


def size(count: int) -> str:
    """A number of bytes for people."""
    value = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{int(value)} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the loop ends with its last unit")


def plural(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def local_time(moment: Timestamp) -> str:
    """A moment in the time zone of this machine, to the minute."""
    return moment.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def first_line(text: str, *, most: int = 60) -> str:
    """The beginning of a text, on one line."""
    words = " ".join(text.split())
    return words if len(words) <= most else words[: most - 1].rsplit(" ", 1)[0] + " …"
