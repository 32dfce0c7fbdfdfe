from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater._cli.state import MOST_LINES, History, chat_history, state_folder


@given(lines=st.lists(st.text(), max_size=20))
def test_a_history_gives_back_every_line_whatever_is_in_it(
    lines: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    history = History(tmp_path_factory.mktemp("state") / "lines")
    for line in lines:
        history.add(line)
    assert history.load() == lines


def test_a_history_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.touch(mode=0o644)
    History(file).add("a secret")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_history_keeps_the_newest_lines(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    history = History(file)
    for number in range(2 * MOST_LINES + 1):
        history.add(str(number))
    newest = [str(number) for number in range(MOST_LINES + 1, 2 * MOST_LINES + 1)]
    assert history.load() == newest
    assert len(file.read_bytes().splitlines()) == MOST_LINES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert history.load() == newest


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b'"first"\n\xff\xfe\n{}\n"cut o')
    assert History(file).load() == ["first"]


def test_a_history_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert History(tmp_path / "absent" / "lines").load() == []


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "/home/ada/.local/state/headwater"),
        ("linux", {"XDG_STATE_HOME": "/var/ada"}, "/var/ada/headwater"),
        ("linux", {"XDG_STATE_HOME": "relative"}, "/home/ada/.local/state/headwater"),
        ("darwin", {}, "/home/ada/Library/Application Support/headwater"),
        ("linux", {"HEADWATER_STATE_DIR": "/own", "XDG_STATE_HOME": "/var/ada"}, "/own"),
    ],
)
def test_the_state_lies_where_the_platform_has_it(
    platform: str, variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_STATE_HOME", "HEADWATER_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ada", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert state_folder() == Path(folder)


def test_a_history_is_kept_where_files_cannot_be_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fchmod")
    history = History(tmp_path / "lines")
    history.add("kept")
    assert history.load() == ["kept"]


def test_without_a_home_a_history_fails_as_files_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_knows() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_STATE_HOME", "HEADWATER_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody_knows)
    history = chat_history()
    with pytest.raises(OSError, match="HEADWATER_STATE_DIR"):
        history.load()
    with pytest.raises(OSError, match="HEADWATER_STATE_DIR"):
        history.add("lost")
