from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from headwater.v1 import chat_pb2
from tests.cli.conftest import Scripted
from tests.serving import headwater


@pytest.fixture
def two_turns(scripted: Scripted) -> Scripted:
    """A chat of two turns, of which the second failed."""
    done = headwater("chat", target=scripted.target, stdin="When does the tide\u2028come in?\nfail\n")
    assert done.returncode == 1
    return scripted


def test_chats_are_listed_with_their_first_question(two_turns: Scripted) -> None:
    listed = headwater("chats", "list", target=two_turns.target)
    name, turns, changed, state, title = listed.stdout.rstrip("\n").split("\t")
    assert (name, turns, state, title) == ("c1", "2 turns", "", "When does the tide come in?")
    assert changed.startswith("2026-01-0")


def test_show_has_each_turn_with_its_sources_and_how_it_ended(two_turns: Scripted) -> None:
    shown = headwater("chats", "show", "c1", target=two_turns.target)
    assert shown.stdout == (
        "> When does the tide\u2028come in?\n"
        "The tide comes in twice a day. [1]\n"
        "\nSources\n"
        "[1] Tides · tides.md\n"
        "\n"
        "> fail\n"
        "The tide comes in\n"
        "(the answer failed: the model is away)\n"
        "\nSources\n"
        "[1] Tides · tides.md\n"
    )


@pytest.mark.parametrize(("command", "kind"), [("list", chat_pb2.Chat), ("show", chat_pb2.Turn)])
def test_json_is_one_message_a_line(
    command: str, kind: type[chat_pb2.Chat | chat_pb2.Turn], two_turns: Scripted
) -> None:
    names = ["c1"] if command == "show" else []
    done = headwater("chats", command, *names, "--json", target=two_turns.target)
    messages = [json_format.Parse(line, kind()) for line in done.stdout.rstrip("\n").split("\n")]
    assert [message.name for message in messages] == (
        ["chats/c1"] if command == "list" else ["chats/c1/turns/t1", "chats/c1/turns/t2"]
    )


def test_rename_gives_another_name_for_people_and_nothing_else(two_turns: Scripted) -> None:
    done = headwater("chats", "rename", "c1", "Tides", target=two_turns.target)
    assert done.stdout.startswith("c1\t")
    assert two_turns.chats.chats["chats/c1"].display_name == "Tides"
    assert list(two_turns.chats.updated[0].update_mask.paths) == ["display_name"]


def test_delete_deletes(two_turns: Scripted) -> None:
    done = headwater("chats", "delete", "chats/c1", target=two_turns.target)
    assert (done.returncode, done.stderr) == (0, "c1 is deleted\n")
    assert not two_turns.chats.chats
    again = headwater("chats", "delete", "c1", target=two_turns.target)
    assert again.returncode == 1
    assert again.stderr == "headwater: chats/c1 does not exist: `headwater chats list` shows those there are\n"


def test_export_is_markdown_with_questions_answers_and_sources(two_turns: Scripted) -> None:
    done = headwater("chats", "export", "c1", target=two_turns.target, extra={"TZ": "UTC"})
    assert done.stdout == (
        "# When does the tide come in?\n"
        "\nchats/c1, 2026-01-02 03:04\n"
        "\n> When does the tide\n> come in?\n"
        "\nThe tide comes in twice a day. [1]\n"
        "\n- [1] Tides · tides.md\n"
        "\n> fail\n"
        "\nThe tide comes in\n"
        "\n*(the answer failed: the model is away)*\n"
        "\n- [1] Tides · tides.md\n"
    )


def test_export_as_json_has_what_the_sources_say(two_turns: Scripted, tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    done = headwater("chats", "export", "c1", "--json", "--output", file, target=two_turns.target)
    assert (done.returncode, done.stdout) == (0, "")
    chat, first, second = (json.loads(line) for line in file.read_text().rstrip("\n").split("\n"))
    assert chat["name"] == "chats/c1"
    assert first["answer"]["sources"][0]["content"] == "Twice a day."
    assert second["answer"]["error"]["message"] == "the model is away"


def test_export_as_json_loses_nothing_where_the_output_takes_ascii_only(two_turns: Scripted) -> None:
    done = headwater(
        "chats", "export", "c1", "--json", target=two_turns.target, extra={"PYTHONIOENCODING": "ascii:replace"}
    )
    _, first, _ = (json.loads(line) for line in done.stdout.rstrip("\n").split("\n"))
    assert first["prompt"] == "When does the tide\u2028come in?"


def test_export_replaces_a_file_only_when_told_to(two_turns: Scripted, tmp_path: Path) -> None:
    file = tmp_path / "chat.md"
    file.write_text("mine")
    refused = headwater("chats", "export", "c1", "-o", file, target=two_turns.target)
    assert refused.returncode == 1
    assert "--force replaces it" in refused.stderr
    assert file.read_text() == "mine"
    missing = headwater("chats", "export", "absent", "-o", file, "--force", target=two_turns.target)
    assert missing.returncode == 1
    assert file.read_text() == "mine"
    assert headwater("chats", "export", "c1", "-o", file, "--force", target=two_turns.target).returncode == 0
    assert file.read_text().startswith("# When")
    assert [each.name for each in tmp_path.iterdir()] == ["chat.md"]
