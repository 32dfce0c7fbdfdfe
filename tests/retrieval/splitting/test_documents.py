from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater_server.retrieval.model import SplitDocument
from headwater_server.retrieval.parsing import (
    DocumentError,
    DocumentTooLargeError,
    DocumentUnreadableError,
    DocumentUnsupportedError,
    ParseLimits,
)
from headwater_server.retrieval.splitting import SplitSettings, parse_and_split
from tests.retrieval.parsing.samples import make_docx, make_epub, make_odt, make_pdf, make_pptx, make_xlsx

SAMPLES: dict[str, Callable[[], bytes]] = {
    "a.txt": lambda: b"First paragraph.\n\nSecond paragraph.\n",
    "a.md": lambda: b"# Heading\n\nText of it.\n",
    "a.html": lambda: b"<title>T</title><h1>Heading</h1><p>Text of it.",
    "a.pdf": lambda: make_pdf([["Text of page one."], ["Text of page two."]]),
    "a.docx": lambda: make_docx(lambda document: document.add_heading("Heading")),
    "a.pptx": lambda: make_pptx(
        lambda deck: setattr(deck.slides.add_slide(deck.slide_layouts[0]).shapes.title, "text", "Title")
    ),
    "a.xlsx": lambda: make_xlsx(lambda workbook: workbook.add_worksheet("Sheet").write_row(0, 0, ["Name", 1])),
    "a.odt": lambda: make_odt("<text:h>Heading</text:h><text:p>Text of it.</text:p>"),
    "a.epub": lambda: make_epub({"a.xhtml": "<h1>Heading</h1><p>Text of it."}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_read_and_split(name: str) -> None:
    document = parse_and_split(SAMPLES[name](), name=name)
    assert document.passages
    assert pickle.loads(pickle.dumps(document)) == document  # noqa: S301  our own bytes


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes(SAMPLES["a.md"]())
    assert parse_and_split(path).title == "Heading"
    assert parse_and_split(path, name="other.txt").title == "other"


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.txt"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DocumentTooLargeError, match="bytes; the limit is"):
        parse_and_split(path)


def test_limits_and_settings_are_kept() -> None:
    with pytest.raises(DocumentTooLargeError, match="5 characters"):
        parse_and_split(b"123456", name="a.txt", limits=ParseLimits(max_characters=5))
    with pytest.raises(DocumentTooLargeError, match="6 bytes; the limit is 5"):
        parse_and_split(b"123456", name="a.txt", limits=ParseLimits(max_bytes=5))
    document = parse_and_split(b"word " * 100, name="a.txt", split=SplitSettings(max_characters=50))
    assert all(len(passage.text) <= 50 for passage in document.passages)


def test_limits_that_nothing_meets_are_refused() -> None:
    with pytest.raises(ValueError, match="max_pages must be at least 1"):
        ParseLimits(max_pages=0)


@pytest.mark.parametrize("kind", [DocumentUnreadableError, DocumentUnsupportedError, DocumentTooLargeError])
def test_errors_can_be_sent_between_processes(kind: type[DocumentError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("why")))  # noqa: S301  our own bytes
    assert type(copy) is kind
    assert (str(copy), copy.reason) == ("why", kind.reason)


def test_documents_are_read_in_a_worker_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        document = pool.submit(parse_and_split, SAMPLES["a.pdf"](), name="a.pdf").result(timeout=60)
        with pytest.raises(DocumentUnreadableError, match="is empty"):
            pool.submit(parse_and_split, b"", name="a.pdf").result(timeout=60)
    assert isinstance(document, SplitDocument)


NAMES = st.sampled_from([*SAMPLES, "a", "a.csv", ""])


@settings(deadline=None)
@given(st.binary(max_size=3000), NAMES)
def test_random_bytes_end_in_passages_or_an_error_of_ours(content: bytes, name: str) -> None:
    check_any(content, name)


@settings(deadline=None)
@given(
    NAMES,
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 255)), max_size=8),
)
def test_damaged_documents_end_in_passages_or_an_error_of_ours(
    name: str, sample: str, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(SAMPLES[sample]())
    for position, value in changes:
        content[position % len(content)] = value
    check_any(bytes(content), name)


def check_any(content: bytes, name: str) -> None:
    try:
        document = parse_and_split(content, name=name)
    except DocumentError:
        return
    assert document.passages
    for passage in document.passages:
        passage.text.encode()
        assert passage.location is not None
        assert 1 <= passage.location.start <= passage.location.end < sys.maxsize
