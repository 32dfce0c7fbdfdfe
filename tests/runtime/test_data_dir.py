from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater_server.runtime.app import running
from headwater_server.runtime.data_dir import LOCK_NAME, DataDirError, owned
from headwater_server.runtime.settings import load

HOLD = """
import sys, pathlib
from headwater_server.runtime.data_dir import owned
with owned(pathlib.Path(sys.argv[1]), what="the first"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with owned(tmp_path / "a" / "b", what="me") as folder:
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0


def test_a_second_owner_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(DataDirError, match=rf"process {first.pid} \(the first\)"), owned(tmp_path, what="me"):
            pytest.fail("it must not be owned twice")
        first.kill()
        first.wait()
        with owned(tmp_path, what="me"):
            pass  # the lock went with its process


def test_the_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with owned(tmp_path, what="me"):
            assert str(os.getpid()) in (tmp_path / LOCK_NAME).read_text()


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirError, match="--data-dir"), owned(tmp_path / "file" / "data", what="me"):
        pytest.fail("it must not be owned")


@pytest.mark.anyio
async def test_a_server_refuses_a_folder_that_is_taken(tmp_path: Path) -> None:
    settings = load(flags={"address": "127.0.0.1:0", "data_dir": tmp_path})
    with owned(tmp_path, what="the first"), pytest.raises(DataDirError, match=rf"process {os.getpid()} \(the first\)"):
        async with running(settings):
            pytest.fail("it must not run")
