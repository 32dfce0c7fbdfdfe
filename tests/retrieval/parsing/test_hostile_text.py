"""Whatever bytes a file has, it is read or refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater_server.retrieval.parsing import DocumentError, DocumentTooLargeError, ParseLimits, parse
from headwater_server.retrieval.parsing.formats import FORMATS

LIMITS = ParseLimits(max_bytes=1_000_000, max_characters=200_000, max_expanded_bytes=2_000_000, max_archive_files=100)

# Pieces that steer the readers into their corners.
WORDS = rb"""
{ } [ ] ( ) < > " ' , ; : \ / * # = - | & &a; &#65; <a> </a> <p> <b <!DOCTYPE ]> <![CDATA[ ]]> <?xml <html>
\rtf1 {\rtf \par \cell \row \u-1? \'ff \bin9 \* {\fonttbl {\stylesheet \s1 \f1 \uc9
"a":1 {"cells":[ {"cell_type":"markdown","source":"#x"} null true 1e999 \ud800 "\ud800"
Subject:x Content-Type:multipart/mixed;boundary=b --b --b-- Content-Type:text/html Content-Transfer-Encoding:base64
=?utf-8?b?/w==?= =?x?q?=00?= message/rfc822 Content-Disposition:attachment;filename*=utf-8''%ff
class def f(): fn if === --- ~~~~ == \section{x} sep=;
""".split()
BYTES = [b"\t", b"\r", b"\n", b"\n\n", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\x00", b"\xff", b"\x1b$B", b"\xe9"]
PIECES = st.sampled_from(WORDS + BYTES)
# Of source code some languages: they share a parser.
NAMES = sorted({each.suffixes[0] for each in FORMATS if each.name != "source code"} | {".py", ".c", ".js", ".yaml"})


def read(content: bytes, name: str) -> None:
    try:
        document = parse(content, name=name, limits=LIMITS)
    except DocumentError as error:
        assert str(error)  # noqa: PT017  any other error fails the test
        return
    assert document.blocks
    lowest = 0 if document.unit == "byte" else 1
    for block in document.blocks:
        assert block.text.strip()
        assert not block.text.startswith("\n")
        assert not block.text.endswith("\n")
        block.text.encode()
        first, last = block.source.locate(0, len(block.text))
        assert lowest <= first <= last
        assert 0 <= block.level <= 9


@pytest.mark.parametrize("suffix", NAMES)
@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300))
def test_random_bytes_are_read_or_refused(suffix: str, content: bytes) -> None:
    read(content, f"a{suffix}")


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=40), st.sampled_from(NAMES))
def test_pieces_of_every_format_are_read_or_refused(pieces: list[bytes], suffix: str) -> None:
    read(b"".join(pieces), f"a{suffix}")
    read(b" ".join(pieces), f"a{suffix}")
    read(b"\n".join(pieces), f"a{suffix}")
    read(b"{\\rtf1" + b" ".join(pieces), "a.rtf")


@pytest.mark.parametrize("suffix", NAMES)
@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"<a>" * 100_000,
        b"{\\rtf1" + b"{" * 100_000,
        b'{"cells":' + b'{"a":' * 100_000,
        b'"' * 100_000,
        b"\n" * 100_000,
        b"," * 100_000,
        b"(" * 100_000,
        b"word " * 100_000,
        b"\\" * 100_000,
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 2000,
        b"> " * 50_000,
        b"- " * 50_000,
        b"\x00\x00" * 50_000,
        b"\xff" * 100_000,
        b"&a;" * 30_000,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_said_very_often_is_read_or_refused(suffix: str, content: bytes) -> None:
    read(content, f"a{suffix}")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".xml", ".eml", ".py"])
def test_a_line_of_64_mebibytes_and_more_is_too_large(suffix: str) -> None:
    with pytest.raises(DocumentTooLargeError, match="the file has 67,108,866 bytes"):
        parse(b"x," * 33_554_433, name=f"a{suffix}")
