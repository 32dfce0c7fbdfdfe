from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from headwater._cli.document_ids import content_id, path_id, slug

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
names = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=80).filter(lambda n: n not in {".", ".."})


@given(names)
def test_every_file_name_makes_an_id_that_the_server_takes(name: str) -> None:
    assert ID.fullmatch(path_id(Path("/files") / name.encode("utf-8", "replace").decode()))
    assert ID.fullmatch(slug(name))


@given(names)
def test_every_ending_makes_a_content_id_that_the_server_takes(name: str) -> None:
    assert ID.fullmatch(content_id(Path(name), "ab" * 32))


def test_an_id_says_which_file_it_is() -> None:
    assert path_id(Path("/files/Über uns.md")).startswith("Uber-uns.md-")


def test_files_of_one_name_in_two_folders_have_two_ids() -> None:
    assert path_id(Path("/a/report.pdf")) != path_id(Path("/b/report.pdf"))


def test_a_file_has_one_id_however_its_path_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "notes.txt"
    file.write_text("x")
    (tmp_path / "link.txt").symlink_to(file)
    assert path_id(tmp_path / "folder" / ".." / "notes.txt") == path_id(file) == path_id(tmp_path / "link.txt")


def test_a_long_name_is_shortened_and_keeps_its_ending() -> None:
    assert len(path_id(Path("/" + "long " * 40 + "name.pdf"))) <= 77
    assert slug("long " * 40 + "name.pdf").endswith("name.pdf")


def test_a_content_has_one_id_wherever_it_lies_and_another_where_it_is_read_differently() -> None:
    assert content_id(Path("/a/x.md"), "ab" * 32) == content_id(Path("/b/y.MD"), "ab" * 32)
    assert content_id(Path("/a/x.md"), "ab" * 32) != content_id(Path("/a/x.txt"), "ab" * 32)
