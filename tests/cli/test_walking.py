from __future__ import annotations

import os
from pathlib import Path

import pytest

from headwater._cli.failures import CommandFailed
from headwater._cli.walking import READABLE, find_files
from headwater_server.retrieval.parsing.media_types import detect

_CONTENTS = {".pdf": b"%PDF-1.7\n"}


def write(path: Path, text: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found_in(*paths: Path) -> list[str]:
    return [path.name for path in find_files(paths).files]


def test_a_folder_gives_its_readable_files_at_every_depth_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b/deep/er/z.md", "a.txt", "b/y.PDF", "c.html"):
        write(tmp_path / name)
    assert found_in(tmp_path) == ["a.txt", "c.html", "y.PDF", "z.md"]


def test_hidden_files_version_control_and_software_are_left_out_without_being_counted(tmp_path: Path) -> None:
    for name in (
        ".hidden.txt",
        ".git/config.txt",
        "node_modules/x/readme.md",
        "venv/lib/x.txt",
        "CVS/x.txt",
        "kept.txt",
    ):
        write(tmp_path / name)
    write(tmp_path / "venv" / "pyvenv.cfg")
    found = find_files([tmp_path])
    assert [path.name for path in found.files] == ["kept.txt"]
    assert not found.skipped


def test_files_of_other_kinds_in_a_folder_are_counted_by_ending(tmp_path: Path) -> None:
    for name in ("a.png", "b.PNG", "c.zip", "Makefile", "kept.txt"):
        write(tmp_path / name)
    found = find_files([tmp_path])
    assert dict(found.skipped) == {".png": 2, ".zip": 1, "no ending": 1}
    assert found.skipped_line() == "4 files of other kinds skipped (.png 2, no ending 1, .zip 1)"


def test_a_file_that_is_named_itself_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    assert found_in(write(tmp_path / "picture.png"), write(tmp_path / ".hidden")) == ["picture.png", ".hidden"]


def test_symbolic_links_in_a_circle_end(tmp_path: Path) -> None:
    write(tmp_path / "folder" / "a.txt")
    (tmp_path / "folder" / "up").symlink_to(tmp_path)
    (tmp_path / "itself.txt").symlink_to(tmp_path / "itself.txt")
    assert found_in(tmp_path) == ["a.txt"]


def test_a_file_that_two_paths_reach_is_taken_once(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt")
    (tmp_path / "b.txt").symlink_to(file)
    assert found_in(file, tmp_path) == ["a.txt"]


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert found_in(tmp_path) == []
    with pytest.raises(CommandFailed, match="neither a file nor a folder"):
        find_files([tmp_path / "pipe.txt"])


def test_a_path_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"absent: No such file or directory") as refused:
        find_files([tmp_path / "absent"])
    assert refused.value.code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_may_not_be_looked_into_is_told_of(tmp_path: Path) -> None:
    write(tmp_path / "open" / "a.txt")
    (tmp_path / "closed").mkdir(mode=0o000)
    found = find_files([tmp_path])
    assert [path.name for path in found.files] == ["a.txt"]
    assert [folder.name for folder, _ in found.unreadable] == ["closed"]


@pytest.mark.parametrize("ending", sorted(READABLE - {".docx"}))
def test_the_server_reads_every_ending_that_a_folder_s_import_takes(ending: str) -> None:
    media_type, _ = detect(_CONTENTS.get(ending, b"plain words"), name=f"file{ending}")
    assert media_type
