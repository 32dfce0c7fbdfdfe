"""Chats on the command line against a real server, up to the model."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.typist import CTRL_C, CTRL_D, typing
from tests.cli.upstream import endless_model
from tests.serving import TIME_LIMIT_S, headwater, serving

PROMPT = "\n> "
QUESTION = "How many hours of annual leave can I carry over to the next leave year?"


def test_a_conversation_about_the_handbook(served: str, tmp_path: Path) -> None:
    with typing("chat", target=served, extra={"HEADWATER_STATE_DIR": str(tmp_path)}) as typist:
        typist.wait_for(PROMPT)
        typist.type(f"{QUESTION}\n")
        said = typist.wait_for(PROMPT)
        assert "240" in said
        assert "builtin/extractive" in said
        typist.type("/sources\n")
        assert "leave-types.pdf" in typist.wait_for(PROMPT)
        typist.type("Which receipts must I keep when I travel for work?\n")
        said = typist.wait_for(PROMPT)
        assert "[1]" in said
        assert "builtin/extractive" not in said
        typist.type(CTRL_D)
        assert typist.end()[0] == 0
    (row, *_) = headwater("chats", "list", target=served).stdout.splitlines()
    name, turns, _, _, title = row.split("\t")
    assert turns == "2 turns"
    assert title.startswith("How many hours of annual leave")
    shown = headwater("chats", "show", name, target=served).stdout
    assert shown.startswith(f"> {QUESTION}\n")
    assert shown.count("\nSources\n") == 2
    exported = headwater("chats", "export", name, "--json", target=served).stdout
    assert json.loads(exported.splitlines()[1])["answer"]["sources"][0]["content"]
    answer = json.loads(exported.splitlines()[1])["answer"]["name"]
    resumed = headwater("answers", "resume", answer, target=served).stdout
    assert resumed.partition("\n\nSources\n")[0] in shown
    assert headwater("chats", "delete", name, target=served).returncode == 0
    assert headwater("answers", "show", answer, target=served).returncode == 1


def test_ctrl_c_stops_the_answer_up_to_the_model_and_the_chat_goes_on(tmp_path: Path) -> None:
    state = {"HEADWATER_STATE_DIR": str(tmp_path / "state")}
    with (
        endless_model() as model,
        serving(tmp_path / "data", "--assistant", "openai/any", extra={"OPENAI_BASE_URL": model.base_url}) as server,
    ):
        (tmp_path / "note.md").write_text("The tide comes in twice a day.")
        assert headwater("import", tmp_path / "note.md", target=server.target).returncode == 0
        with typing("chat", target=server.target, extra=state) as typist:
            typist.wait_for(PROMPT)
            for _ in range(2):
                model.hung_up.clear()
                typist.type("When does the tide come in?\n")
                typist.wait_for("on and on")
                typist.type(CTRL_C)
                typist.wait_for("the answer was stopped")
                typist.wait_for(PROMPT)
                assert model.hung_up.wait(TIME_LIMIT_S)
            typist.type(CTRL_D)
            assert typist.end()[0] == 0
        listed = headwater("answers", "list", "--state", "cancelled", target=server.target).stdout
        assert len(listed.splitlines()) == 2
        shown = headwater("answers", "show", listed.partition("\t")[0], target=server.target).stdout
        assert "on and on" in shown
        assert "(the answer was stopped)" in shown
