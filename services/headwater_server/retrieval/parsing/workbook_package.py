"""The files of an Excel workbook: which sheets it has, and what their cells refer to."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO

from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.number_formats import built_in_code
from headwater_server.retrieval.parsing.text import clean, one_line
from headwater_server.retrieval.parsing.xml_parts import Element, parse_xml, stream_elements

_PACKAGE = "_rels/.rels"
_TRUE = frozenset(("1", "true", "on"))
_MAX_SHEET_NAME = 255
# Relationship types, which end alike in the Transitional and the Strict variant (ISO/IEC 29500-1, 18 and annex A).
_DOCUMENT, _STRINGS, _STYLES, _SHEET = "/officeDocument", "/sharedStrings", "/styles", "/worksheet"
_PROPERTIES = "/core-properties"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet that a reader sees."""

    name: str
    path: str
    """Its file's name in the archive."""


@dataclass(frozen=True, slots=True)
class CellStyle:
    """What of a cell's style matters for what it says."""

    code: str = "General"
    """The format of numbers."""
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class _Relation:
    kind: str
    target: str


class Package:
    """An opened workbook.

    Raises:
        DocumentUnreadableError: It lacks what every workbook has.
        DocumentTooLargeError: It has more sheets or shared text than the limits.
    """

    def __init__(self, archive: zipfile.ZipFile, *, limits: ParseLimits) -> None:
        self._archive = archive
        self._limits = limits
        self._names = {name.lower(): name for name in archive.namelist()}
        package = self._relations("")
        path = next((one.target for one in package.values() if one.kind.endswith(_DOCUMENT)), "")
        self._related = self._relations(path)
        root = self._xml(path)
        if _local(root) != "workbook":
            raise DocumentUnreadableError("the file is an Office document, but not an Excel workbook (.xlsx)")
        self.from_1904 = any(element.get("date1904") in _TRUE for element in root.iterchildren("{*}workbookPr"))
        self.has_hidden_sheets = False
        self.sheets: Sequence[Sheet] = tuple(self._sheets(root))
        limits.check_pages(len(self.sheets), name="sheets")
        self._properties = next((one.target for one in package.values() if one.kind.endswith(_PROPERTIES)), "")

    @property
    def title(self) -> str:
        """The title among the workbook's properties; empty if it has none."""
        if self._properties.lower() not in self._names:
            return ""
        return self._xml(self._properties).findtext("{http://purl.org/dc/elements/1.1/}title") or ""

    @cached_property
    def strings(self) -> Sequence[str]:
        """The texts that cells refer to by number, each on one line."""
        strings: list[str] = []
        characters = 0
        for path in self._of_kind(_STRINGS):
            with self.open(path) as file:
                for item in stream_elements(file, "{*}si", until="{*}sst"):
                    text = rich_text(item)
                    characters += len(text) + 1  # empty ones cost something, too
                    self._limits.check_characters(characters)
                    strings.append(text)
        return strings

    @cached_property
    def styles(self) -> Sequence[CellStyle]:
        """The styles that cells refer to by number."""
        styles: list[CellStyle] = []
        for path in self._of_kind(_STYLES):
            root = self._xml(path)
            codes = {element.get("numFmtId"): element.get("formatCode") or "" for element in root.iter("{*}numFmt")}
            fonts = [_is_bold(font) for font in root.iterfind("{*}fonts/{*}font")]
            for style in root.iterfind("{*}cellXfs/{*}xf"):
                number, font = style.get("numFmtId") or "0", style.get("fontId") or ""
                code = codes[number] if number in codes else built_in_code(as_index(number))
                styles.append(CellStyle(code, 0 <= as_index(font) < len(fonts) and fonts[as_index(font)]))
        return styles

    @contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Open one of the archive's files.

        Raises:
            DocumentUnreadableError: There is no such file.
        """
        name = self._names.get(path.lower())
        if name is None:
            raise DocumentUnreadableError("the workbook is damaged: a part of it is missing")
        with self._archive.open(name) as file:
            yield file

    def _xml(self, path: str) -> Element:
        with self.open(path) as file:
            return parse_xml(file.read(), limits=self._limits)

    def _of_kind(self, kind: str) -> list[str]:
        paths = [one.target for one in self._related.values() if one.kind.endswith(kind)]
        return [path for path in paths if path.lower() in self._names][:1]

    def _sheets(self, root: Element) -> Iterator[Sheet]:
        seen: set[str] = set()
        for element in root.iterfind("{*}sheets/{*}sheet"):
            identity = next((value for key, value in element.items() if key.endswith("}id")), "")
            relation = self._related.get(identity)
            if relation is None or not relation.kind.endswith(_SHEET):
                continue  # a chart, or a macro, on a sheet of its own
            if element.get("state", "visible") != "visible":
                self.has_hidden_sheets = True
            elif relation.target not in seen:
                seen.add(relation.target)
                yield Sheet(one_line(element.get("name") or "", limit=_MAX_SHEET_NAME), relation.target)

    def _relations(self, path: str) -> Mapping[str, _Relation]:
        """Return what a file, or the package (an empty path), refers to, by the id of the reference."""
        folder, name = posixpath.split(path)
        relations = posixpath.join(folder, "_rels", f"{name}.rels")
        if relations.lower() not in self._names:
            return {}
        return {
            element.get("Id", ""): _Relation(element.get("Type", ""), _resolved(folder, element.get("Target", "")))
            for element in self._xml(relations).iterchildren("{*}Relationship")
            if element.get("TargetMode") != "External"
        }


def rich_text(item: Element) -> str:
    """Return a string item (`si`, `is`) as one line, without the readings that East Asian texts carry along."""
    pieces = (text.text or "" for text in item.iterfind("{*}t"))
    runs = (text.text or "" for text in item.iterfind("{*}r/{*}t"))
    return line("".join((*pieces, *runs)))


def line(text: str) -> str:
    """Return a cell's text as one line."""
    return " ".join(clean(text).split())


def as_index(text: str) -> int:
    """Return a number that refers to something; -1 if it is none."""
    return int(text) if text.isdecimal() and len(text) < 10 else -1


def _is_bold(font: Element) -> bool:
    bold = font.find("{*}b")
    return bold is not None and bold.get("val", "1") in _TRUE


def _resolved(folder: str, target: str) -> str:
    """Return the archive's name of a file that another refers to; it is looked up there and nowhere else."""
    return target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join(folder, target))


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
