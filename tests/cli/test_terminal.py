from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from headwater._cli.terminal import plural, safe, size
from tests.serving import HEADWATER, TIME_LIMIT_S, environment

QUESTION = "How many hours of annual leave can I carry over to the next leave year?"


def on_a_terminal(*arguments: str | Path, target: str, extra: dict[str, str] | None = None) -> str:
    """Runs the command line on a terminal, and returns all that it wrote there."""
    ours, theirs = pty.openpty()
    more = {"HEADWATER_TARGET": target, "TERM": "xterm-256color", **(extra or {})}
    with subprocess.Popen(
        [*HEADWATER, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(more)
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                block = os.read(ours, 4096)
            except OSError:  # how Linux says that nobody has the terminal any more
                break
            if not block:
                break
            written += block
        process.wait(timeout=TIME_LIMIT_S)
    os.close(ours)
    return written.decode()


def test_ask_shows_what_it_waits_for_and_colours_the_sources(served: str) -> None:
    shown = on_a_terminal("ask", QUESTION, target=served)
    assert "waiting for the assistant …" in shown
    assert "240" in shown
    assert "\x1b[1mSources" in shown


def test_no_color_is_respected(served: str) -> None:
    shown = on_a_terminal("doctor", target=served, extra={"NO_COLOR": "1"})
    assert "ok" in shown
    assert "\x1b[3" not in shown


def test_import_shows_bars_that_leave_the_summary_alone(served: str, tmp_path: Path) -> None:
    (tmp_path / "note[bold].md").write_text("The tide comes in twice a day.")
    shown = on_a_terminal("import", tmp_path, "--corpus", "terminal", target=served)
    assert "files" in shown
    assert "0/1" in shown
    assert "1 file imported" in shown
    assert "[1/1]" not in shown


def test_lists_are_tables_with_headings(served: str) -> None:
    shown = on_a_terminal("documents", "list", target=served, extra={"COLUMNS": "200"})
    assert "DOCUMENT" in shown
    assert "leave-types.pdf" in shown


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KB"), (1_500_000, "1.5 MB"), (10**13, "10000.0 GB")],
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size(count) == text


def test_what_comes_from_documents_cannot_move_the_cursor() -> None:
    assert safe("a\x1b[2Jb\x9b1mc\rd\r\ne\tf") == "a[2Jb1mcd\ne\tf"
    assert safe("\ud800") == "?"


def test_numbers_agree_with_their_nouns() -> None:
    assert [plural(count, "file") for count in (0, 1, 1234)] == ["0 files", "1 file", "1,234 files"]
