from __future__ import annotations

import json
import signal
import stat
import threading
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format

from headwater.v1 import answer_pb2, answer_service_pb2
from tests.cli.conftest import Scripted
from tests.cli.typist import CTRL_C, CTRL_D, Typist, typing
from tests.client.chat_server import MemoryChats, chat_server
from tests.serving import TIME_LIMIT_S, headwater, started

PROMPT = "\n> "


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    return {"HEADWATER_STATE_DIR": str(tmp_path / "state")}


def prompts(scripted: Scripted) -> list[str]:
    """What the server was asked."""
    return [request.prompt for request in scripted.chats.asked]


def ask(typist: Typist, question: str, answer: str = "The tide comes in twice a day. [1]") -> None:
    typist.type(f"{question}\n")
    typist.wait_for(answer)
    typist.wait_for(PROMPT)


def test_the_questions_of_a_session_are_turns_of_one_chat(scripted: Scripted, state: dict[str, str]) -> None:
    with typing("chat", target=scripted.target, extra=state) as typist:
        assert "/help" in typist.wait_for(PROMPT)
        ask(typist, "When does the tide come in?")
        ask(typist, "And when does it go?")
        typist.type(CTRL_D)
        code, said = typist.end()
    assert code == 0
    assert "headwater chat --chat c1 goes on with this chat" in said
    assert {request.chat for request in scripted.chats.asked} == {"chats/c1"}
    assert scripted.chats.chats["chats/c1"].display_name == "When does the tide come in?"


def test_a_chat_is_made_with_the_first_question_and_keeps_what_it_was_begun_with(
    scripted: Scripted, state: dict[str, str]
) -> None:
    options = ["--corpus", "sea", "--assistant", "openai/any", "--top-k", "3", "--instructions", "In rhymes."]
    with typing("chat", *options, target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        assert not scripted.chats.created
        ask(typist, "When?")
    (created,) = scripted.chats.created
    assert list(created.chat.retrieval.corpora) == ["corpora/sea"]
    assert (created.chat.retrieval.top_k, created.chat.assistant) == (3, "openai/any")
    (asked,) = scripted.chats.asked
    assert not asked.HasField("retrieval")
    assert asked.generation.instructions == "In rhymes."


def test_sources_are_those_of_the_last_answer(scripted: Scripted, state: dict[str, str]) -> None:
    with typing("chat", target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        ask(typist, "/sources", "there is no answer yet")
        ask(typist, "When?")
        ask(typist, "/sources", "[1] Tides · tides.md")
        ask(typist, "fail", "the model is away")
        ask(typist, "/sources", "there is no answer yet")


def test_new_begins_another_chat_and_retry_asks_again(scripted: Scripted, state: dict[str, str]) -> None:
    with typing("chat", target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        ask(typist, "/retry", "nothing has been asked yet")
        ask(typist, "fail", "the model is away")
        ask(typist, "/retry", "the model is away")
        ask(typist, "/new", "begins a new chat")
        ask(typist, "When?")
        typist.type("/exit\n")
        assert typist.end()[0] == 0
    assert [(request.chat, request.prompt) for request in scripted.chats.asked] == [
        ("chats/c1", "fail"),
        ("chats/c1", "fail"),
        ("chats/c2", "When?"),
    ]


def test_ctrl_c_stops_the_answer_and_not_the_program(scripted: Scripted, state: dict[str, str]) -> None:
    with typing("chat", target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        typist.type("hold on\n")
        typist.wait_for("The tide comes in")
        typist.type(CTRL_C)
        typist.wait_for("the answer was stopped")
        typist.wait_for(PROMPT)
        ask(typist, "When?")
    first, second = (kept.answer for _, kept in scripted.chats.turns["chats/c1"])
    assert (first.state, first.text) == (answer_pb2.ANSWER_STATE_CANCELLED, "The tide comes in ")
    assert second.state == answer_pb2.ANSWER_STATE_SUCCEEDED


def test_ctrl_c_at_the_prompt_clears_the_line_and_twice_leaves(scripted: Scripted, state: dict[str, str]) -> None:
    with typing("chat", target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        typist.type("half a ques")
        typist.wait_for("half a ques")
        typist.interrupt()
        typist.wait_for("Ctrl-C again leaves")
        typist.wait_for(PROMPT)
        ask(typist, "When?")
        typist.interrupt()
        typist.wait_for("Ctrl-C again leaves")
        typist.wait_for(PROMPT)
        typist.interrupt()
        assert typist.end()[0] == 130
    assert prompts(scripted) == ["When?"]


def test_the_end_of_input_right_after_a_line_leaves_that_line_to_be_asked(
    scripted: Scripted, state: dict[str, str]
) -> None:
    with typing("chat", target=scripted.target, extra={**state, "TERM": "dumb"}) as typist:
        typist.wait_for(PROMPT)
        typist.type(f"When?\n{CTRL_D}")
        typist.wait_for("twice a day. [1]")
        typist.type(CTRL_D)
        assert typist.end()[0] == 0
    assert prompts(scripted) == ["When?"]


def test_what_is_pasted_is_one_question(scripted: Scripted, state: dict[str, str]) -> None:
    with typing("chat", target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        typist.paste("first line\n\nthird\tline\n")
        ask(typist, "")
    assert prompts(scripted) == ["first line\n\nthird\tline"]


def test_what_is_pasted_is_one_question_where_the_terminal_does_not_say_what_is(
    scripted: Scripted, state: dict[str, str]
) -> None:
    with typing("chat", target=scripted.target, extra={**state, "TERM": "dumb"}) as typist:
        typist.wait_for(PROMPT)
        ask(typist, "first line\nsecond line")
    assert prompts(scripted) == ["first line\nsecond line"]


def test_slashes_that_are_no_command_are_asked(scripted: Scripted, state: dict[str, str]) -> None:
    with typing("chat", target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        ask(typist, "/etc/hosts is what?")
        ask(typist, "//help")
        ask(typist, "/nothing", "there is no command /nothing")
    assert prompts(scripted) == ["/etc/hosts is what?", "/help"]


def test_the_lines_of_a_session_are_there_in_the_next_and_only_for_their_owner(
    scripted: Scripted, state: dict[str, str]
) -> None:
    with typing("chat", target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        ask(typist, "When does the tide come in?")
        typist.type(CTRL_D)
        typist.end()
    file = Path(state["HEADWATER_STATE_DIR"]) / "chat_history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with typing("chat", target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        ask(typist, "\x1b[A")  # the key up
    assert prompts(scripted) == ["When does the tide come in?"] * 2


def test_a_history_that_cannot_be_kept_does_not_keep_anybody_from_asking(scripted: Scripted, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with typing("chat", target=scripted.target, extra={"HEADWATER_STATE_DIR": str(tmp_path / "file")}) as typist:
        assert "the lines of this session are not kept" in typist.wait_for(PROMPT)
        ask(typist, "When?")


def test_a_failure_is_said_and_the_next_question_may_be_asked(scripted: Scripted, state: dict[str, str]) -> None:
    with typing("chat", target=scripted.target, extra=state) as typist:
        typist.wait_for(PROMPT)
        ask(typist, "fail at once", "headwater: the model is away")
        ask(typist, "When?")
        typist.type(CTRL_D)
        assert typist.end()[0] == 0


def test_chat_and_last_go_on_with_a_chat_and_the_options_hold_for_the_session(
    scripted: Scripted, state: dict[str, str]
) -> None:
    headwater("chat", target=scripted.target, stdin="One?\n")
    headwater("chat", target=scripted.target, stdin="Two?\n")
    with typing("chat", "--last", "--corpus", "sea", target=scripted.target, extra=state) as typist:
        assert "Two? (1 turn)" in typist.wait_for(PROMPT)
        ask(typist, "Three?")
    assert headwater("chat", "--chat", "c1", target=scripted.target, stdin="Four?\n").returncode == 0
    assert [request.chat for request in scripted.chats.asked[2:]] == ["chats/c2", "chats/c1"]
    assert list(scripted.chats.asked[2].retrieval.corpora) == ["corpora/sea"]
    assert len(scripted.chats.created) == 2


def test_an_answer_that_still_runs_is_shown_first(scripted: Scripted, state: dict[str, str]) -> None:
    headwater("chat", target=scripted.target, stdin="One?\n")
    with started("ask", "hold on", "--chat", "c1", target=scripted.target) as asking:
        assert asking.stdout is not None
        assert asking.stdout.read(8) == "The tide"
        with typing("chat", "--chat", "c1", target=scripted.target, extra=state) as typist:
            typist.wait_for("the last answer is still being written")
            typist.wait_for("The tide comes in")
            typist.type(CTRL_C)
            typist.wait_for("the answer was stopped")
            typist.wait_for(PROMPT)
            assert asking.wait(timeout=TIME_LIMIT_S) == 0
            ask(typist, "When?")


def test_each_line_of_a_pipe_is_a_question(scripted: Scripted) -> None:
    done = headwater("chat", target=scripted.target, stdin="When?\n\n  \nAnd nöw?")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "The tide comes in twice a day. [1]\n\nThe tide comes in twice a day. [1]\n"
    assert prompts(scripted) == ["When?", "And nöw?"]


def test_a_line_of_a_pipe_is_no_command(scripted: Scripted) -> None:
    done = headwater("chat", target=scripted.target, stdin="/etc\n/exit\n//etc\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert prompts(scripted) == ["/etc", "/exit", "//etc"]


def test_the_first_failure_of_a_pipe_ends_the_command(scripted: Scripted) -> None:
    done = headwater("chat", target=scripted.target, stdin="When?\nfail\nAnd now?\n")
    assert done.returncode == 1
    assert done.stderr.startswith("headwater: the model is away")
    assert len(done.stderr.splitlines()) == 1
    assert prompts(scripted) == ["When?", "fail"]


def test_nothing_piped_makes_no_chat(scripted: Scripted) -> None:
    done = headwater("chat", target=scripted.target, stdin="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not scripted.chats.created


def test_json_is_one_chunk_a_line(scripted: Scripted) -> None:
    done = headwater("chat", "--json", target=scripted.target, stdin="When?\nAnd now?\n")
    chunks = [json_format.Parse(line, answer_pb2.AnswerChunk()) for line in done.stdout.splitlines()]
    assert [chunk.answer.prompt for chunk in chunks if chunk.HasField("answer")] == ["When?", "And now?"]


def test_ctrl_c_where_nobody_types_stops_the_answer_and_the_program(scripted: Scripted) -> None:
    with started("ask", "hold on", target=scripted.target) as asking:
        assert asking.stdout is not None
        assert asking.stdout.read(8) == "The tide"
        asking.send_signal(signal.SIGINT)
        assert asking.wait(timeout=TIME_LIMIT_S) == 130
    (kept,) = scripted.chats.answers.values()
    assert kept.stopped.wait(TIME_LIMIT_S)


def test_without_a_server_it_says_how_to_start_one_before_anything_is_typed() -> None:
    done = headwater("chat", target="127.0.0.1:1", stdin="When?\n")
    assert done.returncode == 1
    assert "headwater serve" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--chat", "c1", "--last"], 2, "leave one of them out"),
        (["--last"], 1, "there is no chat yet"),
        (["--chat", "absent"], 1, "`headwater chats list` shows those there are"),
        (["--chat", "a/b"], 2, "a chat is named chats/"),
    ],
)
def test_a_chat_that_cannot_be_gone_on_with_is_refused_in_one_line(
    options: list[str], code: int, said: str, scripted: Scripted
) -> None:
    done = headwater("chat", *options, target=scripted.target, stdin="When?\n")
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_busy_chat_says_which_answer_runs_and_what_to_do(scripted: Scripted) -> None:
    headwater("chat", target=scripted.target, stdin="One?\n")
    with started("ask", "hold on", "--chat", "c1", "--json", target=scripted.target) as asking:
        assert asking.stdout is not None
        name = json.loads(asking.stdout.readline())["started"]["answer"].removeprefix("answers/")
        done = headwater("ask", "And now?", "--chat", "c1", target=scripted.target)
        assert done.returncode == 1
        assert f"`headwater answers resume {name}` reads it, `headwater answers cancel {name}` stops it" in done.stderr


@pytest.mark.parametrize("command", [["ask", "break it"], ["chat"]])
def test_a_resumed_connection_is_said_with_v_alone(command: list[str], scripted: Scripted) -> None:
    stdin = "break it\n" if command == ["chat"] else ""
    silent = headwater(*command, target=scripted.target, stdin=stdin)
    assert silent.returncode == 0
    assert silent.stdout.startswith("The tide comes in twice a day. [1]\n")
    assert silent.stderr == ""
    said = headwater(*command, "-v", target=scripted.target, stdin=stdin)
    assert said.stdout == silent.stdout
    assert len(said.stderr.splitlines()) == 1
    assert "the connection broke; going on with answers/" in said.stderr


def test_a_chat_is_not_about_files(tmp_path: Path) -> None:
    done = headwater("ask", "When?", tmp_path, "--chat", "c1")
    assert done.returncode == 2
    assert "leave out --chat, or the PATHs" in done.stderr


def test_an_answer_that_cannot_be_kept_is_said_to_be_none(scripted: Scripted) -> None:
    done = headwater("ask", "full house", target=scripted.target)
    assert done.returncode == 0
    assert done.stderr == "headwater: the server has no room to keep this answer: it cannot be shown again\n"


class Deaf(MemoryChats):
    """Does not stop what it is asked to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def CancelAnswer(  # noqa: N802 (the generated servicer's name)
        self, request: answer_service_pb2.CancelAnswerRequest, context: grpc.ServicerContext
    ) -> answer_pb2.Answer:
        self.released.wait(TIME_LIMIT_S)
        return super().CancelAnswer(request, context)


def test_a_second_ctrl_c_does_not_wait_for_a_server_that_does_not_stop(state: dict[str, str]) -> None:
    chats = Deaf()
    with chat_server(chats) as target, typing("chat", target=target, extra=state) as typist:
        typist.wait_for(PROMPT)
        typist.type("hold on\n")
        typist.wait_for("The tide comes in")
        typist.interrupt()
        typist.interrupt()
        typist.wait_for("headwater: ")
        typist.wait_for(PROMPT)
        chats.released.set()
        typist.type(CTRL_D)
        assert typist.end()[0] == 0
