from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import json_format

from headwater.v1 import answer_pb2
from tests.cli.upstream import EndlessModel, endless_model
from tests.serving import TIME_LIMIT_S, ServerProcess, headwater, serving, started

QUESTION = "How many hours of annual leave can I carry over to the next leave year?"


def test_the_text_is_followed_by_the_numbered_sources_it_rests_on(served: str) -> None:
    asked = headwater("ask", QUESTION, target=served)
    assert asked.returncode == 0, asked.stderr
    text, _, sources = asked.stdout.partition("\n\nSources\n")
    assert "240" in text
    assert "[1]" in text
    first = sources.splitlines()[0]
    assert first.startswith("[1] ")
    assert " · p. " in first
    assert "leave-types.pdf" in first
    assert "builtin/extractive" in asked.stderr


def test_every_number_in_the_text_is_one_of_a_source(served: str) -> None:
    asked = headwater("ask", "Which receipts must I keep when I travel for work?", target=served)
    text, _, sources = asked.stdout.partition("\n\nSources\n")
    numbers = {line.partition(" ")[0] for line in sources.splitlines()}
    assert numbers
    assert all(number in text for number in numbers)


def test_what_is_piped_has_no_colour_even_where_colour_is_forced(served: str) -> None:
    asked = headwater("ask", QUESTION, target=served, extra={"FORCE_COLOR": "1"})
    assert "\x1b" not in asked.stdout + asked.stderr


def test_no_sources_leaves_the_list_out(served: str) -> None:
    asked = headwater("ask", QUESTION, "--no-sources", target=served)
    assert "Sources" not in asked.stdout
    assert "240" in asked.stdout


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_the_question_comes_from_standard_input(arguments: list[str], served: str) -> None:
    asked = headwater("ask", *arguments, target=served, stdin=QUESTION + "\n")
    assert asked.returncode == 0
    assert "240" in asked.stdout


def test_json_is_one_chunk_a_line_in_protobuf_s_own_mapping(served: str) -> None:
    asked = headwater("ask", QUESTION, "--json", target=served)
    chunks = [json_format.Parse(line, answer_pb2.AnswerChunk()) for line in asked.stdout.splitlines()]
    assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert chunks[0].HasField("started")
    assert "".join(chunk.text.text for chunk in chunks) == chunks[-1].answer.text
    assert chunks[-1].answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert asked.stderr == ""


def test_abstaining_is_said_kindly_and_is_no_failure(served: str) -> None:
    asked = headwater("ask", "Who won the football world championship in 1974?", target=served)
    assert asked.returncode == 0
    assert asked.stdout.startswith(("What was found does not answer this.", "Nothing was found"))


def test_a_corpus_that_does_not_exist_is_named_with_what_to_do(served: str) -> None:
    asked = headwater("ask", QUESTION, "--corpus", "absent", target=served)
    assert asked.returncode == 1
    assert "corpora/absent" in asked.stderr
    assert "headwater import" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


def test_an_assistant_that_does_not_exist_is_named(served: str) -> None:
    asked = headwater("ask", QUESTION, "--assistant", "nobody/any", target=served)
    assert asked.returncode == 1
    assert "nobody/any" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


def test_on_a_new_server_it_says_what_to_import_first(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        asked = headwater("ask", QUESTION, target=server.target)
    assert asked.returncode == 0
    assert asked.stdout == "Nothing was found that could answer this.\n"
    assert "headwater import PATH" in asked.stderr


def test_without_a_server_it_says_how_to_start_one() -> None:
    asked = headwater("ask", QUESTION, target="127.0.0.1:1")
    assert asked.returncode == 1
    assert "127.0.0.1:1 (nothing listens there)" in asked.stderr
    assert "headwater serve" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "no question"),
        (["  "], "no question"),
        (["x", "--top-k", "0"], "--top-k"),
        (["x", "--nothing"], "--nothing"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line_with_2(arguments: list[str], said: str) -> None:
    refused = headwater("ask", *arguments)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_reader_who_goes_away_is_no_error(served: str) -> None:
    with started("ask", QUESTION, target=served) as asking:
        assert asking.stdout is not None
        assert asking.stderr is not None
        asking.stdout.close()
        assert asking.wait(timeout=TIME_LIMIT_S) == 141
        assert asking.stderr.read() == ""


@pytest.fixture(scope="module")
def model() -> Iterator[EndlessModel]:
    with endless_model() as model:
        yield model


@pytest.fixture(scope="module")
def endless(model: EndlessModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("endless")
    settings = {"OPENAI_BASE_URL": model.base_url, "HEADWATER_DRAIN": "1", "HEADWATER_DRAIN_NOTICE": "0.1"}
    with serving(folder / "data", "--assistant", "openai/any", extra=settings) as server:
        (folder / "note.md").write_text("The tide comes in twice a day.")
        assert headwater("import", folder / "note.md", target=server.target).returncode == 0
        yield server


@pytest.mark.parametrize(
    ("options", "sent", "code"), [([], signal.SIGINT, 130), (["--json"], signal.SIGINT, 130), ([], signal.SIGTERM, 143)]
)
def test_ctrl_c_and_sigterm_stop_the_answer_up_to_the_model(
    options: list[str], sent: signal.Signals, code: int, endless: ServerProcess, model: EndlessModel
) -> None:
    model.hung_up.clear()
    with started("ask", "When does the tide come in?", *options, target=endless.target) as asking:
        assert asking.stdout is not None
        assert asking.stderr is not None
        while "on and" not in (line := asking.stdout.read(64)):
            assert line
        asking.send_signal(sent)
        assert asking.wait(timeout=TIME_LIMIT_S) == code
        assert asking.stderr.read() == ""
    assert model.hung_up.wait(TIME_LIMIT_S)


def test_a_reader_who_goes_away_in_the_middle_stops_the_answer(endless: ServerProcess, model: EndlessModel) -> None:
    model.hung_up.clear()
    with started("ask", "When does the tide come in?", target=endless.target) as asking:
        assert asking.stdout is not None
        assert asking.stdout.read(2) == "on"
        asking.stdout.close()
        assert asking.wait(timeout=TIME_LIMIT_S) == 141
    assert model.hung_up.wait(TIME_LIMIT_S)


def test_a_server_that_dies_in_the_middle_keeps_what_was_written_and_says_so(tmp_path: Path) -> None:
    with (
        endless_model() as model,
        serving(tmp_path / "data", "--assistant", "openai/any", extra={"OPENAI_BASE_URL": model.base_url}) as server,
    ):
        (tmp_path / "note.md").write_text("The tide comes in twice a day.")
        assert headwater("import", tmp_path / "note.md", target=server.target).returncode == 0
        with started("ask", "When does the tide come in?", target=server.target) as asking:
            assert asking.stdout is not None
            assert asking.stderr is not None
            assert asking.stdout.read(2) == "on"
            server.process.kill()
            assert asking.wait(timeout=TIME_LIMIT_S) == 1
            assert asking.stdout.read().endswith("\n")
            said = asking.stderr.read()
    assert len(said.splitlines()) == 1
    assert "broke" in said


def test_lists_in_json_are_one_object_a_line(served: str) -> None:
    for command in (["corpora", "list"], ["documents", "list"], ["assistants"], ["retrieve", "leave"], ["doctor"]):
        listed = headwater(*command, "--json", target=served)
        assert listed.returncode == 0, listed.stderr
        assert [json.loads(line) for line in listed.stdout.splitlines()]


@pytest.mark.parametrize("command", ["ask", "retrieve"])
def test_a_question_that_is_not_utf_8_is_asked_with_its_bad_bytes_replaced(command: str, served: str) -> None:
    asked = headwater(command, os.fsdecode(QUESTION.encode() + b" \xff"), target=served)
    assert asked.returncode == 0, asked.stderr
    assert "leave-types.pdf" in asked.stdout
