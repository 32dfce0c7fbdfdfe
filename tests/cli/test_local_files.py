from __future__ import annotations

import os
import re
import shutil
import signal
import zipfile
from functools import partial
from pathlib import Path

import pytest
from docx.document import Document as WordDocument

from headwater._cli import cache
from headwater._cli.failures import CommandFailed
from tests.retrieval.parsing.samples import make_docx, make_pdf
from tests.serving import HANDBOOK, TIME_LIMIT_S, headwater, started

QUESTION = "How many hours of annual leave can I carry over to the next leave year?"


@pytest.fixture
def caches(tmp_path: Path) -> dict[str, str]:
    return {cache.VARIABLE: str(tmp_path / "cache")}


def ask(*arguments: str | Path, extra: dict[str, str], cwd: Path | None = None) -> tuple[int, str, str]:
    done = headwater("ask", *arguments, target="127.0.0.1:1", extra=extra, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def test_files_answer_without_a_server_and_are_read_once(caches: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(HANDBOOK, tmp_path / "handbook")
    code, first, told = ask(QUESTION, "handbook", extra=caches, cwd=tmp_path)
    assert code == 0, told
    assert "240" in first
    assert "handbook/leave-types.pdf" in first
    assert "reading 12 files" in told
    code, again, told = ask(QUESTION, "handbook", extra=caches, cwd=tmp_path)
    assert code == 0
    assert again == first
    assert "reading" not in told


def test_what_changes_in_a_folder_changes_in_the_next_answer(caches: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "tides.md").write_text("The tide comes in twice a day.")
    (folder / "bells.md").write_text("The bells are rung at noon.")
    assert "at noon" in ask("When are the bells rung?", folder, extra=caches)[1]
    (folder / "bells.md").write_text("The bells are rung at midnight.")
    (folder / "tides.md").rename(folder / "sea.md")
    code, text, told = ask("When are the bells rung?", folder, extra=caches)
    assert code == 0
    assert "at midnight" in text
    assert "at noon" not in text
    assert "reading 1 file " in told
    assert "sea.md" in ask("When does the tide come in?", folder, extra=caches)[1]


def test_a_broken_pdf_is_told_of_and_the_rest_answers(caches: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF")
    (tmp_path / "bells.md").write_text("The bells are rung at noon.")
    code, text, told = ask("When are the bells rung?", tmp_path / "broken.pdf", tmp_path / "bells.md", extra=caches)
    assert code == 0
    assert "at noon. [1]" in text
    assert "broken.pdf cannot be read: " in told


def test_nothing_but_a_broken_pdf_is_an_error(caches: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF")
    code, text, told = ask("What is in it?", tmp_path / "broken.pdf", extra=caches)
    assert code == 1
    assert text == ""
    assert "nothing in " in told
    assert "Traceback" not in told


def test_an_empty_folder_is_an_error_in_one_line(caches: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, text, told = ask("What is in it?", tmp_path / "empty", extra=caches)
    assert (code, text) == (1, "")
    assert told == (
        f"headwater: there is nothing to read in {tmp_path / 'empty'}: text, web pages, PDF and office documents "
        "can be asked about, and ZIP archives of them\n"
    )


def test_an_archive_answers_like_a_folder(caches: dict[str, str], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "docs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sea/tides.md", "The tide comes in twice a day.")
        archive.writestr("bells.txt", "The bells are rung at noon.")
        archive.writestr("/etc/passwd.txt", "The way out.")
    code, text, told = ask("When are the bells rung?", "docs.zip", extra=caches, cwd=tmp_path)
    assert code == 0, told
    assert "at noon. [1]" in text
    assert "docs.zip!/bells.txt" in text
    assert "docs.zip!/etc/passwd.txt cannot be read: its name leads out of the archive" in told
    assert "reading" not in ask("When are the bells rung?", "docs.zip", extra=caches, cwd=tmp_path)[2]


def test_a_path_that_does_not_exist_is_refused(caches: dict[str, str], tmp_path: Path) -> None:
    code, _, told = ask("What is in it?", tmp_path / "absent", extra=caches)
    assert code == 2
    assert "absent: No such file" in told


def test_paths_and_a_corpus_contradict_each_other(caches: dict[str, str]) -> None:
    code, _, told = ask("What?", HANDBOOK, "--corpus", "default", extra=caches)
    assert code == 2
    assert "--corpus" in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--target", "127.0.0.1:1"], "--target"),
        (["--token", "secret-token"], "--token"),
        (["--tls-ca", "absent.pem"], "--tls-ca"),
        (["--tls", "--insecure"], "--tls, --insecure"),
    ],
)
def test_paths_and_a_server_contradict_each_other(caches: dict[str, str], options: list[str], said: str) -> None:
    code, text, told = ask("What?", HANDBOOK, *options, extra=caches)
    assert (code, text) == (2, "")
    assert f"leave out {said}, or the PATHs" in told
    assert "secret-token" not in told


def test_ctrl_c_while_files_are_read_exits_with_130_and_the_next_question_goes_on(
    caches: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    words = (HANDBOOK / "security-incidents.md").read_text()
    for number in range(30):
        (folder / f"{number:02}.md").write_text(f"# Copy {number}\n\n{words}")
    with started("ask", "What is an incident?", folder, target="127.0.0.1:1", extra=caches) as asking:
        assert asking.stderr is not None
        assert asking.stderr.readline() == "reading 30 files …\n"
        asking.send_signal(signal.SIGINT)
        assert asking.wait(timeout=TIME_LIMIT_S) == 130
        assert asking.stderr.read() == ""
    code, text, told = ask("What is an incident?", folder, extra=caches)
    assert code == 0, told
    assert "[1]" in text


def test_the_oldest_caches_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr(cache, "MOST_FOLDERS", 3)
    folders = []
    for number in range(5):
        with cache.cached_folder([tmp_path / f"asked-{number}"]) as data:
            data.mkdir()
            folders.append(data.parent)
        os.utime(data.parent / "ask.lock", (number, number))
    assert [folder.exists() for folder in folders] == [False, False, True, True, True]


def test_the_oldest_caches_go_when_they_are_too_large_but_never_the_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr(cache, "MOST_BYTES", 100)
    with cache.cached_folder([tmp_path / "first"]) as first:
        first.mkdir()
        (first / "content").write_bytes(bytes(500))
        with cache.cached_folder([tmp_path / "second"]):
            assert first.exists()
    with cache.cached_folder([tmp_path / "third"]):
        assert not first.exists()


def test_a_cache_belongs_to_one_process_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    monkeypatch.setattr(cache, "WAIT_SECONDS", 0.0)
    with (
        cache.cached_folder([tmp_path / "asked"]),
        pytest.raises(CommandFailed, match="still at work"),
        cache.cached_folder([tmp_path / "asked"]),
    ):
        pytest.fail("two have it")


def test_a_cache_that_cannot_be_made_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    with pytest.raises(CommandFailed, match=cache.VARIABLE), cache.cached_folder([tmp_path / "asked"]):
        pytest.fail("there is no such folder")


def paragraphs(subject: str) -> list[str]:
    return [f"Notes on {subject}, of the kind that fill an archive and that nobody asks about."] * 4


@pytest.mark.slow
def test_a_long_pdf_is_cited_by_the_page_that_answers(caches: dict[str, str], tmp_path: Path) -> None:
    pages = [paragraphs(f"matter number {number}") for number in range(1, 301)]
    pages[236] = ["The lighthouse keeper winds the brass clockwork every ninety minutes."]
    (tmp_path / "archive.pdf").write_bytes(make_pdf(pages))
    code, text, told = ask(
        "How often does the lighthouse keeper wind the clockwork?", tmp_path / "archive.pdf", extra=caches
    )
    assert code == 0, told
    answer, _, sources = text.partition("\n\nSources\n")
    assert "every ninety minutes. [1]" in answer
    first = sources.splitlines()[0]
    assert first.startswith("[1] ")
    assert "archive.pdf" in first
    pages_cited = re.search(r" · pp?\. (\d+)(?:–(\d+))? · ", first)
    assert pages_cited is not None, first
    begin, end = int(pages_cited[1]), int(pages_cited[2] or pages_cited[1])
    assert begin <= 237 <= end <= begin + 3, "short pages may share a passage, but not many of them"


def write_mixed(folder: Path, count: int) -> None:
    """Writes files of every kind that can be read, in turn."""
    folder.mkdir()
    for number in range(count):
        lines = paragraphs(f"matter number {number}")
        path = folder / f"{number:03}"
        match number % 5:
            case 0:
                path.with_suffix(".txt").write_text("\n".join(lines))
            case 1:
                path.with_suffix(".md").write_text(f"# Matter {number}\n\n{' '.join(lines)}")
            case 2:
                path.with_suffix(".html").write_text(f"<h1>Matter {number}</h1><p>{' '.join(lines)}</p>")
            case 3:
                text = " ".join(lines)
                path.with_suffix(".docx").write_bytes(make_docx(partial(WordDocument.add_paragraph, text=text)))
            case _:
                path.with_suffix(".pdf").write_bytes(make_pdf([lines]))


@pytest.mark.slow
def test_a_folder_of_many_kinds_answers_from_the_right_file_past_a_broken_one(
    caches: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    write_mixed(folder, 200)
    (folder / "104.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF")
    sentence = "The lighthouse keeper winds the brass clockwork every ninety minutes."
    (folder / "128.docx").write_bytes(make_docx(partial(WordDocument.add_paragraph, text=sentence)))
    code, text, told = ask("How often does the lighthouse keeper wind the clockwork?", folder, extra=caches)
    assert code == 0, told
    assert "reading 200 files" in told
    assert "104.pdf cannot be read: " in told
    assert told.count("cannot be read") == 1
    answer, _, sources = text.partition("\n\nSources\n")
    assert "every ninety minutes. [1]" in answer
    assert sources.splitlines()[0].startswith("[1] ")
    assert "128.docx" in sources.splitlines()[0]
