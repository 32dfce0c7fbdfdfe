from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentTooLargeError, DocumentUnreadableError, ParseLimits, parse


def message(subject: str = "Plans — größer") -> EmailMessage:
    made = EmailMessage()
    made["From"] = "Ann Müller <ann@example.org>"
    made["To"] = "bob@example.org, Cleo <cleo@example.org>"
    made["Date"] = "Mon, 01 Jan 2024 10:00:00 +0000"
    made["Subject"] = subject
    made["X-Secret"] = "not shown"
    return made


def read(content: bytes | EmailMessage, *, name: str = "mail.eml") -> ParsedDocument:
    return parse(content if isinstance(content, bytes) else bytes(content), name=name)


def texts(content: bytes | EmailMessage) -> list[str]:
    return [block.text for block in read(content).blocks]


def test_a_message_is_its_subject_its_headers_and_its_text() -> None:
    made = message()
    made.set_content("Hello Bob,\n\nthe café at 8.\n", charset="iso-8859-1")
    document = read(made)
    assert (document.unit, document.title, document.media_type) == ("paragraph", "Plans — größer", "message/rfc822")
    assert [(block.level, block.text, block.source.starts[0]) for block in document.blocks] == [
        (1, "Plans — größer", 1),
        (
            0,
            (
                "From: Ann Müller <ann@example.org>\nTo: bob@example.org, Cleo <cleo@example.org>\n"
                "Date: Mon, 01 Jan 2024 10:00:00 +0000"
            ),
            2,
        ),
        (0, "Hello Bob,", 3),
        (0, "the café at 8.", 4),
    ]


def test_of_alternatives_the_plain_one_is_read_and_html_where_there_is_none() -> None:
    both = message()
    both.set_content("plain words")
    both.add_alternative("<p>marked words</p>", subtype="html")
    assert texts(both)[2:] == ["plain words"]
    only_html = message()
    only_html.set_content("<h1>Title</h1><p>marked <b>words</b></p><script>no</script>", subtype="html")
    assert [(block.level, block.text) for block in read(only_html).blocks][2:] == [(2, "Title"), (0, "marked words")]
    empty_plain = message()
    empty_plain.set_content("\n")
    empty_plain.add_alternative("<p>marked words</p>", subtype="html")
    assert texts(empty_plain)[2:] == ["marked words"]


def test_attachments_are_named_and_not_read() -> None:
    made = message()
    made.set_content("see attached")
    made.add_attachment(b"%PDF-1.4 secret", maintype="application", subtype="pdf", filename="räport.pdf")
    made.add_attachment("secret notes", filename="notes.txt")
    forwarded = message("Forwarded words")
    forwarded.set_content("secret forwarded")
    made.add_attachment(forwarded)
    assert texts(made)[2:] == ["see attached", "Attachments: räport.pdf, notes.txt, message Forwarded words"]


@pytest.mark.parametrize("encoding", ["koi8-r", "windows-1251", "utf-8"])
@pytest.mark.parametrize("transfer", ["8bit", "base64", "quoted-printable"])
def test_charsets_and_transfer_encodings_are_undone(encoding: str, transfer: str) -> None:
    made = message("Привет")
    made.set_content("Тело письма", charset=encoding, cte=transfer)
    assert texts(made)[0] == "Привет"
    assert texts(made)[2] == "Тело письма"


@pytest.mark.parametrize(
    ("charset", "text"),
    [("iso-2022-jp", "日本語の本文"), ("shift_jis", "日本語の本文"), ("gb18030", "中文正文"), ("utf-7", "é")],
)
def test_a_charset_of_the_east_is_read_as_declared(charset: str, text: str) -> None:
    content = f"Subject: x\nContent-Type: text/plain; charset={charset}\n\n".encode() + text.encode(charset)
    assert texts(content)[1] == text


@pytest.mark.parametrize(
    "content",
    [
        b'Subject: =?utf-8?b?!!!?= =?nope?q?=E9=00?= x\nContent-Type: text/plain; charset="\xff\xfe"\n\nbody \xe9',
        b"Subject: x\nContent-Type: multipart/mixed\n\nno boundary, body",
        b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nbody, never closed",
        b"Subject: x\nContent-Type: text/plain; charset=no-such\n\nbody \xe9",
        b"Subject: x\nContent-Type: /;;=\n\nbody",
        b"Subject: x\nContent-Disposition: ;;;\n\nbody\x00 with NUL",
        b"no headers, body only\n",
    ],
)
def test_broken_messages_are_read_as_far_as_they_go(content: bytes) -> None:
    assert "body" in " ".join(texts(content))


def test_parts_nested_too_deep_are_too_large() -> None:
    content = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(10_000))
    with pytest.raises(DocumentTooLargeError, match="too deep"):
        read(content + b"\ntext")
    with pytest.raises(DocumentTooLargeError, match="too deep"):
        read(b"Content-Type: message/rfc822\n\n" * 10_000 + b"text")


def test_too_many_parts_are_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match="parts"):
        read(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 10_000)


@pytest.mark.parametrize(
    "header",
    [b"Content-Type: text/plain; " + b"a*0=b; " * 20_000, b"Content-Disposition: x;\n" + b" a=b;\n" * 20_000],
)
def test_a_header_of_very_many_parameters_is_refused(header: bytes) -> None:
    with pytest.raises(DocumentUnreadableError, match="too long"):
        read(header.rstrip() + b"\n\nbody")


def test_a_very_long_header_is_cut() -> None:
    assert len(texts(b"To: " + b"=?utf-8?q?x?= " * 100_000 + b"\n\nbody")[0]) < 2010


def test_a_message_without_text_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(b"X-Nothing: x\n\n\n")


def test_text_over_the_limit_is_too_large() -> None:
    with pytest.raises(DocumentTooLargeError, match="characters"):
        parse(b"Subject: x\n\n" + b"word\n\n" * 1000, name="a.eml", limits=ParseLimits(max_characters=2000))


@given(st.lists(st.text("abc é语<&", min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=8))
def test_every_paragraph_comes_out_once_and_in_order(paragraphs: list[str]) -> None:
    marked = [f"m{number}x {text}" for number, text in enumerate(paragraphs)]
    made = message("s")
    made.set_content("\n\n".join(marked))
    blocks = read(made).blocks[2:]
    assert [block.text.split() for block in blocks] == [text.split() for text in marked]
    assert [block.source.locate(0, 1) for block in blocks] == [
        (number + 3, number + 3) for number in range(len(marked))
    ]
