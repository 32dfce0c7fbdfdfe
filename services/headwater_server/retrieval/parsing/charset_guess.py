"""Guessing the character encoding of a text that does not say it."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter

from headwater_server.retrieval.parsing.alphabets import ALPHABETS, PUNCTUATION

_SAMPLE_BYTES = 64 * 1024
_FEWEST_UNITS = 16
_WIDE = ("utf-16-le", "utf-16-be")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_PRINTABLE_ASCII = bytes(range(0x20, 0x7F))

# In order of how common they are: where several fit alike, the first is the best bet.
_LATIN = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257")
_LATIN_RELATIVES = re.compile(r"cp125[02478]|iso8859_(?:[12349]|1[03456])|latin_1|mac_(?:roman|latin2|turkish|iceland)")


def guess_charset(content: bytes) -> str:
    """Return the encoding that a text most likely has that is not UTF-8; empty if none fits."""
    from charset_normalizer import from_bytes  # noqa: PLC0415  most documents are UTF-8 and never need it

    # The guess looks at the part around the first byte that is not ASCII: the rest tells it nothing.
    first = _NOT_ASCII.search(content)
    start = max(0, first.start() - _SAMPLE_BYTES // 4) if first else 0
    sample = content[start : start + _SAMPLE_BYTES]
    matches = from_bytes(sample)
    best = matches.best()
    if best is None:
        return ""
    # The library tells scripts apart well, but not the code pages of Latin script, which look alike to it.
    is_latin = _LATIN_RELATIVES.fullmatch(best.encoding) or any(
        match.chaos <= best.chaos and "cp1252" in match.could_be_from_charset for match in matches
    )
    return _best_latin(sample) if is_latin else best.encoding


def _best_latin(sample: bytes) -> str:
    """Return the code page in which the letters of a text are most nearly those of one language."""
    shares = {charset: _share_of_letters(sample.decode(charset, errors="replace")) for charset in _LATIN}
    return max(_LATIN, key=lambda charset: shares[charset])


def _share_of_letters(text: str) -> float:
    counts = Counter(character for character in text.lower() if character >= "\x80" and character not in PUNCTUATION)
    total = counts.total()
    if not total:
        return 1
    return max(sum(counts[letter] for letter in alphabet) for alphabet in ALPHABETS) / total


def guess_wide_charset(content: bytes) -> str:
    """Return "utf-16-le" or "utf-16-be" if a text has that encoding without a byte order mark; empty if not.

    Only a text with some ASCII (spaces, line ends) is recognised: without, it cannot be told from other encodings.
    """
    if len(content) % 2 or b"\x00" not in content:
        return ""
    sample = content[:_SAMPLE_BYTES]
    shares = {charset: _plausibility(sample, charset) for charset in _WIDE}
    best = max(_WIDE, key=lambda charset: shares[charset])
    return best if shares[best] > 0 else ""


def _plausibility(sample: bytes, charset: str) -> float:
    """Return how much of a sample would be ASCII; 0 if it is no text in this charset."""
    try:
        text = codecs.getincrementaldecoder(charset)().decode(sample)
    except UnicodeDecodeError:
        return 0
    if not text or not _is_text(text):
        return 0
    ascii_share = sum(character < "\x80" for character in text) / len(text)
    if ascii_share >= 1 / 2:
        return ascii_share
    # Plain ASCII, with a NUL somewhere, also decodes to assigned characters: they are Chinese, and make no sense.
    printable = 1 - len(sample.translate(None, _PRINTABLE_ASCII)) / len(sample)
    return ascii_share if len(text) >= _FEWEST_UNITS and printable < 3 / 4 else 0


def _is_text(text: str) -> bool:
    """Return whether all characters are assigned, and none is a control character but those of white space."""
    return not any(
        unicodedata.category(character) in {"Cc", "Cn", "Co", "Cs"} and character not in "\t\n\v\f\r"
        for character in set(text)
    )
