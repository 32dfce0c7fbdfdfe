"""The protos in every language: all four compile, and Go and TypeScript stream an answer from a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CLIENTS = Path(__file__).resolve().parents[2] / "clients"
TOOLCHAINS = {"go": ["go"], "typescript": ["node", "npm"], "java": ["javac", "mvn"], "rust": ["cargo"]}
TIME_LIMIT_S = 900  # A cold build fetches its packages first.


def require_toolchain(language: str) -> None:
    absent = [command for command in ("make", *TOOLCHAINS[language]) if shutil.which(command) is None]
    if absent:
        pytest.skip(f"clients/{language} needs {' and '.join(absent)}, which this machine has not")


def run_make(language: str, target: str, environment: dict[str, str]) -> str:
    """Runs a target of a client's Makefile; returns its output, and fails with it if the target fails."""
    make = shutil.which("make")
    assert make is not None
    command = [make, "--no-print-directory", "-C", str(CLIENTS / language), target]
    done = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("language", ["go", "typescript"])
def test_a_client_streams_an_answer_and_reads_error_info_from_a_real_server(language: str, served: str) -> None:
    require_toolchain(language)
    output = run_make(language, "test", {**os.environ, "HEADWATER_TARGET": served})
    assert re.search(r"\b[1-9]\d* events, [1-9]\d* (bytes|characters), [1-9]\d* sources", output), output
    assert "names no server" not in output


@pytest.mark.slow
@pytest.mark.parametrize("language", ["java", "rust"])
def test_a_client_generates_and_compiles(language: str) -> None:
    require_toolchain(language)
    run_make(language, "build", dict(os.environ))


@pytest.mark.parametrize("target", ["generate", "build", "test", "check"])
@pytest.mark.parametrize("language", TOOLCHAINS)
def test_a_client_without_its_toolchain_is_skipped_with_one_line(language: str, target: str, tmp_path: Path) -> None:
    output = run_make(language, target, {"PATH": str(tmp_path)})
    assert re.fullmatch(rf"clients/{language}: {target} skipped, there is no .+ here\n", output)
