from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.serving import TIME_LIMIT_S, headwater, serving

SECRET = "a-key-that-nobody-may-see"


def findings(
    *arguments: str, extra: dict[str, str], target: str | None = None
) -> tuple[int, dict[str, dict[str, Any]]]:
    done = headwater("doctor", "--json", *arguments, target=target, extra=extra)
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {finding["subject"]: finding for finding in found}


def test_it_says_what_is_set_up_without_a_server(tmp_path: Path) -> None:
    code, found = findings(extra={"HEADWATER_DATA_DIR": str(tmp_path / "data"), "OPENAI_API_KEY": SECRET})
    assert code == 0
    assert found["embedding model"]["verdict"] == "ok"
    assert "a key is set" in found["provider openai"]["detail"]
    assert str(tmp_path / "data") in found["data folder"]["detail"]
    assert not (tmp_path / "data").exists()
    server = found["server at 127.0.0.1:50051"]
    assert server["verdict"] in {"note", "ok"}  # somebody may run one there


def test_it_asks_the_server_and_says_whose_the_data_folder_is(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        code, found = findings(target=server.target, extra={"HEADWATER_DATA_DIR": str(tmp_path / "data")})
        assert code == 0
        assert f"in use by process {server.process.pid}" in found["data folder"]["detail"]
        health = found[f"server at {server.target}"]
        assert health["detail"] == "AnswerService serving, RetrievalService serving, AssistantService serving"
        assert "builtin/extractive" in found["its assistants"]["detail"]


def test_a_server_that_was_named_and_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    code, found = findings(target="127.0.0.1:1", extra={"HEADWATER_DATA_DIR": str(tmp_path)})
    assert code == 1
    assert found["server at 127.0.0.1:1"]["verdict"] == "problem"
    assert "headwater serve" in found["server at 127.0.0.1:1"]["advice"]


def test_a_wrong_setting_is_a_problem_that_is_named(tmp_path: Path) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text("adress = 'x'\n")
    code, found = findings("--config", str(config), extra={})
    assert code == 1
    assert "adress" in found["settings"]["detail"]


def test_a_key_that_is_not_set_where_a_setting_says_is_a_problem(tmp_path: Path) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text(
        '[assistants.ours]\napi = "openai-chat"\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "NOT_SET_ANYWHERE"\n'
    )
    code, found = findings("--config", str(config), extra={"HEADWATER_DATA_DIR": str(tmp_path / "data")})
    assert code == 1
    assert "NOT_SET_ANYWHERE" in found["assistants"]["detail"]


def test_a_data_folder_that_cannot_be_written_is_a_problem() -> None:
    code, found = findings(extra={"HEADWATER_DATA_DIR": "/proc/headwater"})
    assert (code, found["data folder"]["verdict"]) == (1, "problem")


def test_a_certificate_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("not PEM")
    extra = {
        "HEADWATER_TLS__CERT": str(tmp_path / "cert.pem"),
        "HEADWATER_TLS__KEY": str(tmp_path / "key.pem"),
        "HEADWATER_DATA_DIR": str(tmp_path / "data"),
    }
    code, found = findings(extra=extra)
    assert (code, found["TLS"]["verdict"]) == (1, "problem")


def test_embedders_are_listed_with_whether_they_answer(tmp_path: Path) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text(
        '[retrieval]\nembedder = "ours/m"\n'
        f'[embedders.ours]\napi = "tei"\nbase_url = "http://127.0.0.1:9"\napi_key = "{SECRET}"\n'
    )
    code, found = findings("--config", str(config), extra={"HEADWATER_DATA_DIR": str(tmp_path / "data")})
    assert code == 1
    assert found["embedder"]["detail"] == "new corpora have ours/m"
    assert found["embedder ours"]["verdict"] == "problem"
    assert "a key is set: ours cannot be reached (connection refused)" in found["embedder ours"]["detail"]


def test_an_embedder_that_is_not_set_up_is_a_problem(tmp_path: Path) -> None:
    extra = {"HEADWATER_DATA_DIR": str(tmp_path / "data"), "HEADWATER_RETRIEVAL__EMBEDDER": "ours/m"}
    code, found = findings(extra=extra)
    assert (code, found["embedders"]["verdict"]) == (1, "problem")
    assert "this server has no embedder 'ours/m'" in found["embedders"]["detail"]


def test_a_gpu_that_there_is_not_is_a_problem(tmp_path: Path) -> None:
    extra = {"HEADWATER_DATA_DIR": str(tmp_path / "data"), "HEADWATER_RETRIEVAL__DEVICE": "cuda"}
    code, found = findings(extra=extra)
    if found["embedder"]["verdict"] == "problem":  # most machines have none
        assert code == 1
        assert "headwater[gpu]" in found["embedder"]["detail"]


def test_for_people_it_is_a_line_a_finding_with_what_to_do(tmp_path: Path) -> None:
    done = headwater("doctor", target="127.0.0.1:1", extra={"HEADWATER_DATA_DIR": str(tmp_path)})
    last = done.stdout.splitlines()[-1]
    assert last.startswith("problem server at 127.0.0.1:1: ")
    assert " → start one with `headwater serve`" in last


def test_a_service_that_is_dead_behind_an_orchestrator_is_a_problem(tmp_path: Path) -> None:
    with ExitStack() as stack:
        retrieval = stack.enter_context(serving(tmp_path / "retrieval", "retrieval"))
        assistant = stack.enter_context(serving(tmp_path / "assistant", "assistant"))
        targets = ("--retrieval-target", retrieval.target, "--assistant-target", assistant.target)
        server = stack.enter_context(serving(tmp_path / "orchestrator", "orchestrator", *targets))
        extra = {"HEADWATER_DATA_DIR": str(tmp_path / "data")}
        code, found = findings(target=server.target, extra=extra)
        assert (code, found["its corpora"]["verdict"], found["its assistants"]["verdict"]) == (0, "ok", "ok")
        retrieval.process.kill()
        retrieval.process.wait(timeout=TIME_LIMIT_S)
        code, found = findings(target=server.target, extra=extra)
        assert (code, found["its corpora"]["verdict"], found["its assistants"]["verdict"]) == (1, "problem", "ok")
        assert "--retrieval-target" in found["its corpora"]["advice"]
        assistant.process.kill()
        assistant.process.wait(timeout=TIME_LIMIT_S)
        code, found = findings(target=server.target, extra=extra)
        assert (code, found["its assistants"]["verdict"]) == (1, "problem")
        assert "--assistant-target" in found["its assistants"]["advice"]
