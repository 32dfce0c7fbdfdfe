"""Documents to import under faults: every version of every document can be made again, and tells which it is."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tests.retrieval.parsing.samples import make_docx, make_pdf

_SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "pra", "ste", "vor", "zi", "qua", "fel", "gro")
_MARK = re.compile(r"mark-(\d+)-(\d+)-(\d+)-end")


@dataclass(frozen=True, slots=True)
class Version:
    """One content of one document."""

    number: int
    content: bytes
    media_type: str
    marks: frozenset[str]
    """One word for each of its paragraphs, which stands in no other version or document."""

    @property
    def sha256(self) -> str:
        """The checksum of its content."""
        return hashlib.sha256(self.content).hexdigest()


@cache  # an archive has the time in it at which it was made
def make_version(document: int, number: int, *, seed: int) -> Version:
    """The same content for the same arguments; its format depends on the document, its length on chance."""
    chance = random.Random(f"{seed} {document} {number}")  # noqa: S311 (texts, not secrets)
    count = chance.choice((1, 3, 8, 20))
    marks = [f"mark-{document}-{number}-{paragraph}-end" for paragraph in range(count)]
    paragraphs = [f"{mark} {_prose(chance)}" for mark in marks]
    media_type, write = list(_FORMATS.items())[document % len(_FORMATS)]
    return Version(number, write(paragraphs), media_type, frozenset(marks))


def marks_in(text: str) -> Mapping[tuple[int, int], set[str]]:
    """The marks that stand in a text, by document and version."""
    found: dict[tuple[int, int], set[str]] = {}
    for match in _MARK.finditer(text):
        found.setdefault((int(match[1]), int(match[2])), set()).add(match[0])
    return found


def _prose(chance: random.Random) -> str:
    """Some sentences of words that no other text has, so that no two passages are near-duplicates."""
    sentences = (" ".join(_word(chance) for _ in range(10)).capitalize() + "." for _ in range(10))
    return " ".join(sentences)


def _word(chance: random.Random) -> str:
    return "".join(chance.choice(_SYLLABLES) for _ in range(chance.randint(2, 4)))


def _text(paragraphs: Sequence[str]) -> bytes:
    return "\n\n".join(paragraphs).encode()


def _markdown(paragraphs: Sequence[str]) -> bytes:
    return "\n\n".join(f"## Part {number}\n\n{text}" for number, text in enumerate(paragraphs)).encode()


def _html(paragraphs: Sequence[str]) -> bytes:
    return ("<!doctype html><title>Parts</title>" + "".join(f"<p>{text}</p>\n" for text in paragraphs)).encode()


def _pdf(paragraphs: Sequence[str]) -> bytes:
    return make_pdf([_lines(text) for text in paragraphs])


def _lines(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[start : start + 8]) for start in range(0, len(words), 8)]


def _docx(paragraphs: Sequence[str]) -> bytes:
    return make_docx(lambda document: [document.add_paragraph(text) for text in paragraphs])


_FORMATS: Mapping[str, Callable[[Sequence[str]], bytes]] = {
    "text/plain": _text,
    "text/markdown": _markdown,
    "text/html": _html,
    "application/pdf": _pdf,
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": _docx,
}
