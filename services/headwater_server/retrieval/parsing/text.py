"""Bytes to text, and text to clean text."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePath, PureWindowsPath

from headwater_server.retrieval.parsing.charset_guess import guess_charset, guess_wide_charset
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError, DocumentUnsupportedError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MAX_TITLE = 300
_LONGEST_HEADING = 2000

# Encodings whose bytes are all ASCII, so that a text in them looks like UTF-8.
_SEVEN_BIT = re.compile(r"iso-?2022|hz|utf-?7|csiso2022", re.I)
_ESCAPED = {b"\x1b$@": "iso-2022-jp", b"\x1b$B": "iso-2022-jp", b"\x1b$)C": "iso-2022-kr"}
# What is labelled as one of these is nearly always the code page of Windows that has quotes and dashes beside it, and
# browsers read it so: https://encoding.spec.whatwg.org/#names-and-labels.
_MEANT = {"iso8859-1": "cp1252", "iso8859-9": "cp1254"}
_NEWLINES = re.compile("\r\n?")
_SPACE_LIKE = re.compile("[\v\f\x1c-\x1f\x85]")
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\ufeff\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_LIGATURES = re.compile("[\ufb00-\ufb06]")
_LIGATURE_LETTERS = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}


def decode(content: bytes, *, charset: str = "") -> str:
    """Decode a text file: by its byte order mark, as UTF-8, by the declared charset, or by what it looks like.

    Text that is UTF-8 but for a few broken places is UTF-8: those places become U+FFFD.

    Raises:
        DocumentUnreadableError: No encoding fits.
        DocumentUnsupportedError: The text has NUL characters: it is data.
    """
    text = _decode(content, charset)
    if "\x00" in text:
        raise DocumentUnsupportedError("the file is binary data, not text (it has NUL characters)")
    return text


def _decode(content: bytes, charset: str) -> str:
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return content[len(bom) :].decode(encoding, errors="replace")
    text = _decode_escaped(content, charset)
    if text is None:
        text = _decoded_as(content, guess_wide_charset(content)) or _decoded_as(content, "utf-8")
    if text is None:
        text = _decoded_as_declared(content, charset)
    return text if text is not None else _decode_guessed(content)


def _decode_escaped(content: bytes, charset: str) -> str | None:
    if _SEVEN_BIT.match(charset) and content.isascii():
        return _decoded_as(content, charset)
    return next((_decoded_as(content, name) for escape, name in _ESCAPED.items() if escape in content), None)


def _decoded_as(content: bytes, charset: str) -> str | None:
    try:
        return content.decode(charset) if charset else None
    except (LookupError, ValueError):
        return None


def _decoded_as_declared(content: bytes, charset: str) -> str | None:
    try:
        meant = _MEANT.get(codecs.lookup(charset).name)
    except (LookupError, ValueError):
        return None
    return content.decode(meant, errors="replace") if meant else _decoded_as(content, charset)


def _decode_guessed(content: bytes) -> str:
    lenient = content.decode("utf-8", errors="replace")
    broken = lenient.count("\ufffd")
    beyond_ascii = len(lenient) - len(lenient.encode("ascii", errors="ignore")) - broken
    if beyond_ascii > 4 * broken:
        return lenient
    charset = guess_charset(content)
    if not charset:
        raise DocumentUnreadableError("the text's character encoding cannot be recognised; save it as UTF-8")
    return content.decode(charset, errors="replace")


def clean(text: str) -> str:
    """Return text with LF as its only line end, and without control characters and unpaired surrogates.

    Tab and newline stay. Other separators become a space, so that no line is added or lost. Soft hyphens and byte order
    marks go: they are not seen, and would keep words from being found.
    """
    if text.isascii() and text.isprintable():
        return text  # nearly every short one
    if "\r" in text:
        text = _NEWLINES.sub("\n", text)
    text = _SPACE_LIKE.sub(" ", text)
    text = _SURROGATES.sub("\ufffd", text)
    return _UNWANTED.sub("", text)


def spell_out_ligatures(text: str) -> str:
    """Replace typographic ligatures (U+FB00 to U+FB06) by their letters."""
    return text.translate(_LIGATURE_LETTERS) if _LIGATURES.search(text) else text


def one_line(text: str, *, limit: int = _MAX_TITLE) -> str:
    """Return text as one line: runs of white space as single spaces, at most `limit` characters."""
    line = " ".join(clean(text[: 8 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def as_heading(text: str, level: int) -> tuple[str, int]:
    """Return a heading's text on one line, and its level; one too long to be a heading as it is, with level 0.

    A document may give a paragraph the style of a heading: its words are not cut off.

    Args:
        text: The clean text.
        level: The level that the document gives it; 0: it is no heading.
    """
    line = " ".join(text.split())
    return (line, level) if level and len(line) <= _LONGEST_HEADING else (text, 0)


def choose_title(*candidates: str | None, name: str) -> str:
    """Return the first candidate that says something, or the stem of the file's name.

    Args:
        candidates: Titles in order of preference; empty, missing or without a letter or digit are passed over.
        name: The file's name, with folders of either kind of slash or none.
    """
    for candidate in candidates:
        title = one_line(candidate or "")
        if any(character.isalnum() for character in title):
            return title
    return one_line(PurePath(PureWindowsPath(name).name).stem)
