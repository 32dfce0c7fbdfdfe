from __future__ import annotations

import json
import signal

import pytest
from google.protobuf import json_format

from headwater.v1 import answer_pb2
from tests.cli.conftest import Scripted
from tests.serving import TIME_LIMIT_S, headwater, started


def name_of(scripted: Scripted, prompt: str) -> str:
    return next(name for name, kept in scripted.chats.answers.items() if kept.answer.prompt == prompt)


@pytest.fixture
def asked(scripted: Scripted) -> Scripted:
    """A server that was asked twice; the second answer failed."""
    assert headwater("ask", "When?", target=scripted.target).returncode == 0
    assert headwater("ask", "fail", target=scripted.target).returncode == 1
    return scripted


def test_answers_are_listed_newest_first_with_how_they_ended(asked: Scripted) -> None:
    listed = headwater("answers", "list", target=asked.target, extra={"TZ": "UTC"})
    rows = [line.split("\t") for line in listed.stdout.splitlines()]
    assert [row[1:] for row in rows] == [["failed", "2026-01-02 03:04", "fail"], ["done", "2026-01-02 03:04", "When?"]]
    assert rows[1][0] == name_of(asked, "When?").removeprefix("answers/")


def test_a_state_and_json_are_respected(asked: Scripted) -> None:
    listed = headwater("answers", "list", "--state", "failed", "--json", target=asked.target)
    (answer,) = (json_format.Parse(line, answer_pb2.Answer()) for line in listed.stdout.splitlines())
    assert answer.error.message == "the model is away"
    refused = headwater("answers", "list", "--state", "paused", target=asked.target)
    assert refused.returncode == 2
    assert "'running', 'succeeded', 'failed', 'cancelled'" in refused.stderr


def test_show_has_the_question_the_text_and_the_sources(asked: Scripted) -> None:
    shown = headwater("answers", "show", name_of(asked, "When?"), target=asked.target)
    assert shown.stdout == "> When?\nThe tide comes in twice a day. [1]\n\nSources\n[1] Tides · tides.md\n"
    shown = headwater("answers", "show", name_of(asked, "fail"), "--json", target=asked.target)
    assert json.loads(shown.stdout)["state"] == "ANSWER_STATE_FAILED"


def test_resume_shows_an_answer_as_ask_did(asked: Scripted) -> None:
    resumed = headwater("answers", "resume", name_of(asked, "When?"), target=asked.target)
    assert resumed.stdout == headwater("ask", "When?", target=asked.target).stdout
    as_json = headwater("answers", "resume", name_of(asked, "When?"), "--json", target=asked.target)
    assert "answer" in json.loads(as_json.stdout.splitlines()[-1])


def test_ctrl_c_ends_the_reading_of_a_resumed_answer_and_not_the_answer(scripted: Scripted) -> None:
    with started("ask", "hold on", target=scripted.target) as asking:
        assert asking.stdout is not None
        assert asking.stdout.read(8) == "The tide"
        name = name_of(scripted, "hold on")
        with started("answers", "resume", name, target=scripted.target) as reading:
            assert reading.stdout is not None
            assert reading.stdout.read(8) == "The tide"
            reading.send_signal(signal.SIGINT)
            assert reading.wait(timeout=TIME_LIMIT_S) == 130
        assert not scripted.chats.answers[name].stopped.is_set()
        cancelled = headwater("answers", "cancel", name, target=scripted.target)
        assert (cancelled.returncode, cancelled.stderr) == (0, f"{name.removeprefix('answers/')} is stopped\n")
        assert asking.wait(timeout=TIME_LIMIT_S) == 0
        assert asking.stderr is not None
        assert asking.stderr.read().startswith("headwater: the answer was stopped\n")


def test_delete_forgets_an_answer(asked: Scripted) -> None:
    name = name_of(asked, "When?")
    assert headwater("answers", "delete", name, target=asked.target).returncode == 0
    for command in ("show", "resume", "cancel", "delete"):
        done = headwater("answers", command, name, target=asked.target)
        assert done.returncode == 1
        assert done.stderr == f"headwater: {name} does not exist: `headwater answers list` shows those there are\n"
