"""Jupyter notebooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from headwater_server.retrieval.model import Block, ParsedDocument, SourceMap
from headwater_server.retrieval.parsing.errors import DocumentError, DocumentTooLargeError, DocumentUnreadableError
from headwater_server.retrieval.parsing.formats import MARKDOWN
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.markdown import parse_markdown
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.text import choose_title, clean, decode

# The library makes some 100 bytes of every value and bracket; a notebook has few of them, and long.
_MAX_VALUES = 2_000_000
MAX_CELLS = 100_000
_DEEPEST_HEADING = 6

_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_OUTPUT_TYPES = ("text/markdown", "text/plain", "text/latex")


def parse_notebook(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read a Jupyter notebook (nbformat 3 or 4); a `Parser`. Locations are paragraphs, one a cell.

    Markdown cells are read as Markdown; of code cells the source is one block, and the text that they put out, or the
    error, another. Pictures, widgets and HTML that has a plain form are left out.
    """
    notebook = _load(decode(file.content, charset=file.charset))
    blocks: list[Block] = []
    characters = 0
    for number, cell in enumerate(_cells(notebook), start=1):
        if number > MAX_CELLS:
            raise DocumentTooLargeError(f"the notebook has more than {MAX_CELLS:,} cells")
        for block in _read_cell(cell, number, limits):
            characters += len(block.text)
            limits.check_characters(characters)
            blocks.append(block)
    if not blocks:
        raise DocumentUnreadableError("the notebook has no text")
    heading = next((block.text for block in blocks if block.level), "")
    title = choose_title(_text(_mapping(notebook.get("metadata")).get("title")), heading, name=file.name)
    return ParsedDocument(title, file.media_type, "paragraph", tuple(blocks))


def _load(text: str) -> Mapping[str, Any]:
    if text.count(",") + text.count("[") + text.count("{") > _MAX_VALUES:
        raise DocumentTooLargeError(f"the notebook has more than {_MAX_VALUES:,} values")
    try:
        notebook = json.loads(text, parse_int=_small, strict=False)
    except ValueError as error:
        raise DocumentUnreadableError("the file is damaged or not a notebook: it is not valid JSON") from error
    except RecursionError as error:
        raise DocumentUnreadableError("the file is not a notebook: it nests too deep") from error
    if not isinstance(notebook, dict) or not ("cells" in notebook or "worksheets" in notebook):
        raise DocumentUnreadableError("the file is JSON, but not a notebook: it has no cells")
    return notebook


def _small(number: str) -> int:
    """Return a whole number, or 0 for one so long that reading it would cost."""
    return int(number) if len(number) < 10 else 0


def _cells(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    sheets = [notebook, *_list(notebook.get("worksheets"))]  # nbformat 3 had worksheets
    for sheet in sheets:
        for cell in _list(_mapping(sheet).get("cells")):
            yield _mapping(cell)


def _read_cell(cell: Mapping[str, Any], number: int, limits: ParseLimits) -> Iterator[Block]:
    source = _text(cell.get("source", cell.get("input")))
    match cell.get("cell_type"):
        case "markdown":
            yield from _read_markdown(source, number, limits)
        case "heading":  # of nbformat 3
            given = cell.get("level")
            level = given if isinstance(given, int) and 1 <= given <= _DEEPEST_HEADING else 1
            yield from _block(" ".join(source.split()), number, level=level)
        case _:
            yield from _block(source, number)
    yield from _block("\n".join(filter(None, (text.strip("\n") for text in _outputs(cell)))), number)


def _read_markdown(source: str, number: int, limits: ParseLimits) -> Iterator[Block]:
    try:
        read = parse_markdown(SourceFile(source.encode(), name="", media_type=MARKDOWN), limits=limits)
    except DocumentTooLargeError:
        raise
    except DocumentError:  # there is nothing in it
        return
    for block in read.blocks:
        yield Block(block.text, SourceMap.whole(number), block.level)


def _outputs(cell: Mapping[str, Any]) -> Iterator[str]:
    for output in map(_mapping, _list(cell.get("outputs"))):
        data = _mapping(output.get("data", output))
        if output.get("output_type") in {"error", "pyerr"}:
            yield f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
        elif output.get("output_type") == "stream":
            yield _text(output.get("text"))
        else:
            yield next((text for kind in _OUTPUT_TYPES if (text := _text(data.get(kind)))), _text(data.get("text")))


def _block(text: str, number: int, *, level: int = 0) -> Iterator[Block]:
    lines = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
    if lines:
        yield Block(lines, SourceMap.whole(number), level)


def _text(value: object) -> str:
    """Return a string, or the strings of a list put together, without what colours it on a terminal."""
    text = "".join(part for part in value if isinstance(part, str)) if isinstance(value, list) else value
    return clean(_TERMINAL_CODE.sub("", text)) if isinstance(text, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
