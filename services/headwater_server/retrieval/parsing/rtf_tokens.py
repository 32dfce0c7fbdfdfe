"""The tokens of an RTF file, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_TOKEN = re.compile(
    rb"""
      \\(?P<word>[A-Za-z]{1,32})(?P<number>-?\d{1,10})?[ ]?
    | \\'(?P<hex>[0-9A-Fa-f]{2})
    | \\(?P<symbol>[^A-Za-z])
    | (?P<brace>[{}])
    | (?P<text>[^\\{}\r\n]+)
    | [\r\n]+ | .
    """,
    re.X | re.S,
)


class Token(NamedTuple):
    """A control word, a brace, or bytes of text in the code page of their font."""

    kind: Literal["word", "{", "}", "text"]
    word: bytes = b""
    """The control word, or the text."""
    number: int | None = None


def read_tokens(content: bytes) -> Iterator[Token]:
    """Yield the tokens of an RTF file. Control symbols are words of one character; binary data is passed over."""
    position = 0
    while match := _TOKEN.match(content, position):
        position = match.end()
        match match.lastgroup:
            case "word" | "number":
                number = int(match["number"]) if match["number"] else None
                if match["word"] == b"bin":
                    position += max(0, number or 0)
                else:
                    yield Token("word", match["word"], number)
            case "hex":
                yield Token("text", bytes.fromhex(match["hex"].decode("ascii")))
            case "symbol":
                yield Token("word", match["symbol"])
            case "text":
                yield Token("text", match["text"])
            case "brace":
                yield Token("{" if match["brace"] == b"{" else "}")


CHARACTERS = {
    b"tab": "\t",
    b"line": "\n",
    b"lbr": "\n",
    b"emdash": "—",
    b"endash": "–",
    b"emspace": " ",
    b"enspace": " ",
    b"qmspace": " ",
    b"bullet": "•",
    b"lquote": "‘",
    b"rquote": "’",
    b"ldblquote": "“",
    b"rdblquote": "”",
    b"~": "\u00a0",
    b"_": "-",
    b"{": "{",
    b"}": "}",
    b"\\": "\\",
}
"""Control words that stand for a character."""

PARAGRAPH_ENDS = frozenset({b"par", b"sect", b"page", b"\n", b"\r"})
CELL_ENDS = frozenset({b"cell", b"nestcell"})
ROW_ENDS = frozenset({b"row", b"nestrow"})

UNSEEN = frozenset(
    b"""fonttbl colortbl stylesheet info pict objdata header headerl headerr headerf footer footerl footerr footerf
    footnote annotation fldinst themedata datastore listtable listoverridetable revtbl rsidtbl generator filetbl
    nonshppict shpinst do bkmkstart bkmkend xe tc rxe txe atnid atnauthor atndate colorschememapping latentstyles
    xmlnstbl mmathPr wgrffmtfilter fchars lchars listpicture private passwordhash protusertbl upr""".split()
)
"""Destinations whose text is no part of the document's."""
LIST_MARKS = frozenset({b"listtext", b"pntext", b"pntxtb", b"pntxta"})

CODE_PAGES = {b"ansi": "cp1252", b"mac": "mac_roman", b"pc": "cp437", b"pca": "cp850"}
FONT_CODE_PAGES = {
    77: "mac_roman",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gb18030",
    136: "cp950",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    255: "cp437",
}
"""Code pages by the character set of a font (`\\fcharset`)."""
