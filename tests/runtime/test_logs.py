from __future__ import annotations

import errno
import io
import json
import logging
from pathlib import Path

import pytest
import structlog

from headwater_server.runtime import logs

TOKEN = "a-token-of-some-length"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out, err = capsys.readouterr()
    assert not out, "the log is on standard error"
    assert err.endswith("\n")
    return err[:-1].split("\n")


def fail(message: str, *, prompt: str = "") -> None:
    """Raises from a frame whose local variables are nobody's business."""
    raise ValueError(message)


def test_an_event_is_one_line_of_json_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(style="json")
    structlog.get_logger("x").info(
        "happened", text="two\nlines\u2028and “more”", path=Path("/x"), number=7, nothing=None
    )
    (line,) = lines(capsys)
    event = json.loads(line)
    assert event["event"] == "happened"
    assert event["level"] == "info"
    assert event["text"] == "two\nlines\u2028and “more”"
    assert event["number"] == 7
    assert event["nothing"] is None
    assert event["timestamp"].endswith("Z")


@pytest.mark.parametrize("style", ["json", "console"])
def test_secrets_are_masked_wherever_they_stand(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(style="json" if style == "json" else "console", secrets=[TOKEN, "", TOKEN[:8]])
    log = structlog.get_logger("x")
    event = f"event with {TOKEN}"
    log.info(event, nested={"a": [TOKEN, (f"x{TOKEN}x",)]}, other=ValueError(TOKEN), raw=TOKEN.encode())
    prompt = " ".join(["a", "private", "prompt"])
    log.info("by key", authorization="Bearer unknown-secret", nested={"api_key": "unknown-secret"})
    try:
        fail(f"failed with {TOKEN}", prompt=prompt)
    except ValueError:
        log.exception("failed")
    logged = "\n".join(lines(capsys))
    assert TOKEN not in logged
    assert "unknown-secret" not in logged
    assert logs.MASK in logged
    assert "ValueError: failed with [secret]" in logged
    assert prompt not in logged, "local variables are nobody's business"


def test_what_is_less_important_than_the_level_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(style="json", level="warning")
    log = structlog.get_logger("x")
    log.info("no")
    log.warning("yes")
    assert [json.loads(line)["event"] for line in lines(capsys)] == ["yes"]


def test_what_libraries_log_has_the_same_form_and_mask(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(style="json", secrets=[TOKEN])
    logs.configure(style="json", secrets=[TOKEN])
    library = logging.getLogger("some.library")
    library.info("chatter")
    library.warning("careful: %s", TOKEN)
    try:
        fail(TOKEN)
    except ValueError:
        library.exception("failed")
    careful, failed = (json.loads(line) for line in lines(capsys))
    assert (careful["event"], careful["logger"], careful["level"]) == ("careful: [secret]", "some.library", "warning")
    assert failed["event"] == "failed"
    assert "ValueError: [secret]" in failed["exception"]


class Full:
    """A file on a disk without room."""

    encoding = "utf-8"

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        """There is nothing to flush."""

    def isatty(self) -> bool:
        return False


def test_a_log_that_cannot_be_written_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Full())
    logs.configure(style="json")
    structlog.get_logger("x").info("happened")
    logging.getLogger("y").warning("happened too")


def test_a_line_is_written_whole_so_that_processes_can_share_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "write", written.append)
    monkeypatch.setattr("sys.stderr", stderr)
    logs.configure(style="json")
    structlog.get_logger("x").info("happened")
    (line,) = written
    assert line.endswith("}\n")
