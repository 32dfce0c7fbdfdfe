"""Reading the XML files of an archive without what XML can do to its reader."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import IO, Any

from lxml import etree

from headwater_server.retrieval.parsing.errors import DocumentTooLargeError, DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.xml_declaration import declared_charset

# lxml's elements are untyped.
Element = Any

_DOCTYPES = tuple("<!DOCTYPE".encode(encoding) for encoding in ("ascii", "utf-16-le", "utf-16-be"))
# In these, and in no others that a parser may know, the bytes of markup are those that `count_markup` looks for.
_PLAIN_ENCODING = re.compile(
    r"utf-?(?:8|16(?:-?[lb]e)?)|(?:us-)?ascii|iso-8859-\d+|latin-?1|windows-125\d|cp125\d", re.I
)
_STARTS = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00<")
_APPLE_DOUBLE = b"\x00\x05\x16\x07"  # what macOS packs beside a file under a like name; no parser takes it for XML
# Beside these, libxml2 bounds the depth of elements (256) and the length of a text or an attribute (10 MB).
_HARDENED = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_CHUNK = 64 * 1024
_MAX_PENDING = 16 * 1024 * 1024


def check_declarations(data: bytes) -> None:
    """Refuse XML with a document type declaration, where entities come from, or in an encoding that hides one.

    Raises:
        DocumentUnreadableError: It is refused.
    """
    if data.startswith(_APPLE_DOUBLE):
        return
    if any(doctype in data for doctype in _DOCTYPES):
        raise DocumentUnreadableError("the document declares XML entities, which documents of its kind never do")
    _check_encoding(data)


def _check_encoding(data: bytes) -> None:
    declared = declared_charset(data)
    known = _PLAIN_ENCODING.fullmatch(declared) if declared else data.lstrip().startswith(_STARTS)
    if data and not known:
        raise DocumentUnreadableError("the document's XML is damaged, or in an encoding that is not supported")


def count_markup(data: bytes) -> int:
    """Return a number that the elements, attributes and other nodes of an XML file do not exceed."""
    return data.count(b"<") + data.count(b"=") + data.count(b"&")


def parse_xml(data: bytes, *, limits: ParseLimits, doctype: bool = False, lenient: bool = False) -> Element:
    """Return the root of an XML file; entities are not expanded, and nothing outside the file is read.

    Args:
        data: The file's bytes.
        limits: What it may cost.
        doctype: Whether it may have a document type declaration, as the files of an EPUB do.
        lenient: Whether it is read so far as it can be. Then a prefix may be undeclared, and is part of the name.

    Raises:
        DocumentUnreadableError: It is not well-formed, nested deeper than 256 elements, or declares what it may not.
        DocumentTooLargeError: It has more markup than the limit.
    """
    if doctype:
        _check_encoding(data)
    else:
        check_declarations(data)
    limits.check_markup(count_markup(data))
    try:
        root = etree.fromstring(data, etree.XMLParser(**_HARDENED, recover=lenient))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DocumentUnreadableError("the document is damaged: a part of it is not well-formed XML") from error
    if root is None:
        raise DocumentUnreadableError("the document is damaged: a part of it is not XML")
    return root


def outermost(root: Element, *tags: str, skipped: Container[str]) -> Iterator[Element]:
    """Yield, in document order, the elements of these tags that are not inside another; wrappers are looked into.

    Args:
        root: Where to look.
        tags: What to look for.
        skipped: Tags of the wrappers that are not looked into.
    """
    stack = [iter(root)]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
        elif child.tag in tags:
            yield child
        elif child.tag not in skipped:
            stack.append(iter(child))


def stream_elements(file: IO[bytes], tag: str, *, until: str) -> Iterator[Element]:
    """Yield the elements of one tag, each to be read before the next, and forget them; the file is never held whole.

    Args:
        file: An XML file whose declarations were checked.
        tag: The tag as lxml writes it; `{*}` stands for any namespace.
        until: The tag after whose end nothing more is read.

    Raises:
        DocumentUnreadableError: The XML is not well-formed.
        DocumentTooLargeError: An element, or what stands between two, is larger than 16 MiB.
    """
    parser = etree.XMLPullParser(("end",), tag=(tag, until), **_HARDENED)
    stop = etree.QName(until).localname
    pending = 0
    try:
        while chunk := file.read(_CHUNK):
            parser.feed(chunk)
            pending += len(chunk)
            for _, element in parser.read_events():
                if etree.QName(element).localname == stop:
                    return
                yield element
                pending = 0
                _forget(element)
            if pending > _MAX_PENDING:
                raise DocumentTooLargeError("a part of the document is too large: over 16 MiB of XML in one piece")
        parser.close()
    except etree.XMLSyntaxError as error:
        raise DocumentUnreadableError("the document is damaged: a part of it is not well-formed XML") from error


def _forget(element: Element) -> None:
    """Free an element and all before it."""
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]
