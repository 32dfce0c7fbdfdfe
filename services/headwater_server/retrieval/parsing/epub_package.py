"""What an EPUB book says of itself: its title, its chapters in order, and its table of contents (EPUB 3.3, 4 to 7)."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.text import one_line
from headwater_server.retrieval.parsing.xml_parts import Element, parse_xml

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
# Fonts are obfuscated in these ways; the text is not (EPUB 3.3, 4.4, and what Adobe's programs did before).
_OBFUSCATION = frozenset(("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"))
_CHAPTERS = frozenset(("application/xhtml+xml", "text/html", "application/html", "text/x-oeb1-document"))
_NCX = "application/x-dtbncx+xml"
_DC = "{http://purl.org/dc/elements/1.1/}"
_EPUB_TYPE = "{http://www.idpf.org/2007/ops}type"
_MAX_ENTRIES = 10_000
_MAX_LEVEL = 9


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the table of contents."""

    title: str
    chapter: str
    """The file that it leads to."""
    level: int


@dataclass(frozen=True, slots=True)
class _Item:
    path: str
    media_type: str
    properties: frozenset[str]


class Package:
    """An opened book.

    Raises:
        DocumentUnreadableError: It is protected or damaged, or a chapter is missing.
    """

    def __init__(self, archive: zipfile.ZipFile, *, limits: ParseLimits) -> None:
        self._archive = archive
        self._limits = limits
        self._names = frozenset(archive.namelist())
        self._refuse_protected()
        path = self._package_path()
        root = self._xml(path)
        items = self._items(root, posixpath.dirname(path))
        self.title = next((text for text in (one_line(e.text or "") for e in root.iter(f"{_DC}title")) if text), "")
        self.chapters: Sequence[str] = tuple(self._chapters(root, items))
        self.outline: Sequence[Entry] = tuple(self._outline(items))

    def _refuse_protected(self) -> None:
        if _ENCRYPTION not in self._names:
            return
        for method in self._xml(_ENCRYPTION).iter("{*}EncryptedData"):
            algorithm = method.find("{*}EncryptionMethod")
            if algorithm is None or algorithm.get("Algorithm") not in _OBFUSCATION:
                raise DocumentUnreadableError("the book is protected against copying (DRM) and cannot be read")

    def _xml(self, path: str) -> Element:
        if path not in self._names:
            raise DocumentUnreadableError("the book is damaged, or not an EPUB: a part of it is missing")
        return parse_xml(self._archive.read(path), limits=self._limits, doctype=True)

    def _package_path(self) -> str:
        paths = (element.get("full-path") or "" for element in self._xml(_CONTAINER).iter("{*}rootfile"))
        return next(paths, "")

    def _items(self, root: Element, folder: str) -> Mapping[str, _Item]:
        return {
            item.get("id", ""): _Item(
                _resolved(folder, item.get("href", "")),
                item.get("media-type", "").lower(),
                frozenset(item.get("properties", "").split()),
            )
            for item in root.iterfind("{*}manifest/{*}item")
        }

    def _chapters(self, root: Element, items: Mapping[str, _Item]) -> Iterator[str]:
        seen: set[str] = set()
        for reference in root.iterfind("{*}spine/{*}itemref"):
            item = items.get(reference.get("idref", ""))
            if item is None or item.path in seen or item.media_type not in _CHAPTERS or "nav" in item.properties:
                continue
            if item.path not in self._names:
                raise DocumentUnreadableError("the book is damaged: a chapter of it is missing")
            seen.add(item.path)
            yield item.path

    def _outline(self, items: Mapping[str, _Item]) -> Iterator[Entry]:
        """Yield the entries of the table of contents; of EPUB 3's, or else of EPUB 2's. A damaged one has none."""
        for item in items.values():
            is_navigation = "nav" in item.properties
            if item.path in self._names and (is_navigation or item.media_type == _NCX):
                try:
                    root = self._xml(item.path)
                except DocumentUnreadableError:
                    continue
                folder = posixpath.dirname(item.path)
                yield from _navigation_entries(root, folder) if is_navigation else _ncx_entries(root, folder)


def _navigation_entries(root: Element, folder: str) -> Iterator[Entry]:
    for navigation in root.iter("{*}nav"):
        if "toc" not in (navigation.get(_EPUB_TYPE) or "").split():
            continue
        for count, link in enumerate(navigation.iter("{*}a")):
            if count == _MAX_ENTRIES:
                return
            level = sum(1 for _ in link.iterancestors("{*}ol"))
            yield Entry(one_line("".join(link.itertext())), _resolved(folder, link.get("href", "")), _bounded(level))


def _ncx_entries(root: Element, folder: str) -> Iterator[Entry]:
    for count, point in enumerate(root.iter("{*}navPoint")):
        if count == _MAX_ENTRIES:
            return
        content = point.find("{*}content")
        if content is not None:
            level = 1 + sum(1 for _ in point.iterancestors("{*}navPoint"))
            title = one_line(point.findtext("{*}navLabel/{*}text") or "")
            yield Entry(title, _resolved(folder, content.get("src", "")), _bounded(level))


def _bounded(level: int) -> int:
    return min(max(level, 1), _MAX_LEVEL)


def _resolved(folder: str, reference: str) -> str:
    """Return the archive's name of a file that another refers to; empty if it is elsewhere: nothing is fetched."""
    try:
        parts = urlsplit(reference)
    except ValueError:
        return ""
    if parts.scheme or parts.netloc or not parts.path:
        return ""
    return posixpath.normpath(posixpath.join(folder, unquote(parts.path)))
