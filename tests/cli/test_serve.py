from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.cli.upstream import endless_model
from tests.serving import TIME_LIMIT_S, headwater, serving, started


def test_it_says_one_line_when_it_is_ready_and_ends_cleanly_when_it_is_asked_to(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        assert server.ready_line == (
            f"headwater is ready on {server.target} · data in {tmp_path / 'data'} · assistant builtin/extractive"
        )
        server.process.terminate()
        assert server.process.wait(timeout=TIME_LIMIT_S) == 0
        assert server.later_lines.get(timeout=TIME_LIMIT_S) is None


def test_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        assert server.interrupt() == 130


def test_a_second_ctrl_c_stops_at_once_what_the_first_lets_end(tmp_path: Path) -> None:
    with endless_model() as model:
        settings = {"OPENAI_BASE_URL": model.base_url, "HEADWATER_DRAIN": "600", "HEADWATER_DRAIN_NOTICE": "0.1"}
        with serving(tmp_path / "data", "--assistant", "openai/any", extra=settings) as server:
            note = tmp_path / "note.md"
            note.write_text("Something is said here.")
            assert headwater("import", note, target=server.target).returncode == 0
            with started("ask", "What is said here?", target=server.target) as asking:
                assert asking.stdout is not None
                assert asking.stdout.read(2) == "on"
                server.process.send_signal(signal.SIGINT)
                assert asking.stdout.read(20)  # the answer goes on
                server.process.send_signal(signal.SIGINT)
                assert server.process.wait(timeout=TIME_LIMIT_S) == 130
                assert asking.wait(timeout=TIME_LIMIT_S) == 1
        assert model.hung_up.wait(TIME_LIMIT_S)


def test_a_data_folder_that_is_taken_names_the_process_that_has_it(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        second = headwater("serve", "--address", "127.0.0.1:0", "--data-dir", tmp_path / "data")
        assert second.returncode == 1
        assert f"process {server.process.pid}" in second.stderr
        assert "--data-dir" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        assert second.stdout == ""


def test_a_port_in_use_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = headwater("serve", "--address", address, "--data-dir", tmp_path / "data")
    assert refused.returncode == 1
    assert address in refused.stderr
    assert "--address" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--address", "nowhere"], "host:port"),
        (["--address", "0.0.0.0:0"], "--insecure"),
        (["--assistant", "nobody/any"], "nobody"),
        (["--log-level", "loud"], "log.level"),
        (["--config", "absent.toml"], "absent.toml"),
        (["everything"], "everything"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_with_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    refused = headwater("serve", *arguments, "--data-dir", tmp_path / "data", cwd=tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stdout == ""


def test_a_data_folder_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = headwater("serve", "--address", "127.0.0.1:0", "--data-dir", tmp_path / "file" / "data")
    assert refused.returncode == 1
    assert "--data-dir" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_print_config_shows_the_settings_with_their_secrets_masked(tmp_path: Path) -> None:
    config = tmp_path / "headwater.toml"
    config.write_text('drain = 7\n[tokens]\nlocal = "a-token-of-some-length"\n')
    extra = {"HEADWATER_LIMITS__FIRST_TOKEN": "11"}
    shown = headwater("serve", "--print-config", "--config", config, "--address", "127.0.0.1:7", extra=extra)
    assert shown.returncode == 0
    assert 'address = "127.0.0.1:7"' in shown.stdout
    assert "drain = 7" in shown.stdout
    assert "first_token = 11" in shown.stdout
    assert "a-token-of-some-length" not in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("role", "address"),
    [
        ("all", "127.0.0.1:50051"),
        ("orchestrator", "127.0.0.1:50051"),
        ("retrieval", "127.0.0.1:50052"),
        ("assistant", "127.0.0.1:50053"),
    ],
)
def test_each_role_has_its_own_default_address(role: str, address: str) -> None:
    assert f'address = "{address}"' in headwater("serve", role, "--print-config").stdout


def test_three_processes_answer_like_one(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "retrieval", "retrieval") as retrieval,
        serving(tmp_path / "assistant", "assistant") as assistant,
        serving(
            tmp_path / "front",
            "orchestrator",
            "--retrieval-target",
            retrieval.target,
            "--assistant-target",
            assistant.target,
        ) as front,
    ):
        assert retrieval.ready_line.startswith("headwater retrieval is ready on ")
        assert front.ready_line.endswith(f"retrieval at {retrieval.target}, assistant at {assistant.target}")
        note = tmp_path / "note.md"
        note.write_text("# Bicycles\n\nEvery bicycle in the shed has a blue number plate.\n")
        assert headwater("import", note, target=front.target).returncode == 0
        asked = headwater("ask", "What colour is the number plate of a bicycle?", target=front.target)
        assert asked.returncode == 0, asked.stderr
        assert "blue number plate. [1]" in asked.stdout
