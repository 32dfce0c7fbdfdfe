from __future__ import annotations

import json
from typing import Any

import pytest

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentTooLargeError, DocumentUnreadableError, ParseLimits, parse


def cell(kind: str, source: str | list[str], **more: Any) -> dict[str, Any]:
    return {"cell_type": kind, "metadata": {}, "source": source, **more}


def notebook(*cells: dict[str, Any]) -> bytes:
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()


def read(content: bytes, *, name: str = "analysis.ipynb", media_type: str = "") -> ParsedDocument:
    return parse(content, name=name, media_type=media_type)


def test_cells_are_read_in_order_and_located_by_their_number() -> None:
    document = read(
        notebook(
            cell("markdown", ["# Analysis\n", "\n", "Some *words*.\n"]),
            cell(
                "code",
                "print(1)\n\nx = 2",
                outputs=[
                    {"output_type": "stream", "name": "stdout", "text": ["\x1b[1mbold\x1b[0m\n", "1\n"]},
                    {"output_type": "execute_result", "data": {"text/plain": ["2"], "text/html": "<b>2</b>"}},
                    {"output_type": "display_data", "data": {"image/png": "aGVsbG8="}},
                    {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["long"]},
                ],
            ),
            cell("markdown", ""),
            cell("raw", "as it is"),
        )
    )
    assert (document.unit, document.title) == ("paragraph", "Analysis")
    assert [(b.level, b.text, b.source.locate(0, len(b.text))) for b in document.blocks] == [
        (1, "Analysis", (1, 1)),
        (0, "Some words.", (1, 1)),
        (0, "print(1)\n\nx = 2", (2, 2)),
        (0, "bold\n1\n2\nValueError: no", (2, 2)),
        (0, "as it is", (4, 4)),
    ]


def test_a_notebook_of_the_older_format_is_read() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": "Title"},
        {"cell_type": "code", "input": ["x"], "outputs": [{"output_type": "pyout", "text": ["7"]}]},
    ]
    document = read(json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}).encode())
    assert [(block.level, block.text) for block in document.blocks] == [(2, "Title"), (0, "x"), (0, "7")]


@pytest.mark.parametrize("media_type", ["", "application/json", "application/x-ipynb+json"])
def test_a_notebook_is_known_by_its_ending_also_where_it_is_declared_to_be_json(media_type: str) -> None:
    assert read(notebook(cell("raw", "x")), media_type=media_type).media_type == "application/x-ipynb+json"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no json", "not valid JSON"),
        (b"[]", "no cells"),
        (b'{"a": 1}', "no cells"),
        (b'{"cells": []}', "no text"),
        (b'{"cells": 5}', "no text"),
        (b'{"cells": [5, null, {"source": 5, "outputs": 3}, {"outputs": [1, {"data": 2}]}]}', "no text"),
        (b'{"cells":' + b"[" * 100_000, "too deep"),
    ],
)
def test_what_is_no_notebook_is_unreadable(content: bytes, message: str) -> None:
    with pytest.raises(DocumentUnreadableError, match=message):
        read(content)


def test_a_notebook_of_too_many_values_is_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match="values"):
        read(b'{"cells": [' + b"1," * 2_000_001 + b"1]}")


def test_huge_numbers_and_lone_surrogates_do_no_harm() -> None:
    content = b'{"cells": [{"cell_type": "raw", "source": "a\\ud800b"}], "n": ' + b"9" * 10_000 + b"}"
    assert read(content).blocks[0].text == "a\ufffdb"


def test_text_over_the_limit_is_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match="characters"):
        parse(notebook(*[cell("raw", "word " * 100)] * 20), name="a.ipynb", limits=ParseLimits(max_characters=5000))
