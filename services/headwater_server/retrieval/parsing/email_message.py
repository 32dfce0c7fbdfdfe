"""E-mail messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message

from headwater_server.retrieval.model import Block, ParsedDocument, SourceMap
from headwater_server.retrieval.parsing.email_headers import header, heading_lines
from headwater_server.retrieval.parsing.email_parts import attachment_name, charset_of, payload, readable_parts
from headwater_server.retrieval.parsing.errors import DocumentTooLargeError, DocumentUnreadableError
from headwater_server.retrieval.parsing.formats import HTML
from headwater_server.retrieval.parsing.html_page import parse_html
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.plain_text import line_blocks
from headwater_server.retrieval.parsing.text import choose_title, clean, decode, one_line

_DEEPEST_HEADING = 9
# The library's time grows with the square of the parameters of these headers, and it reads them more than once.
_PARAMETERS = re.compile(rb"^content-(?:type|disposition):(?:[^\r\n]|\r?\n[ \t]|\r[ \t])*+", re.I | re.M)
_LONGEST_PARAMETERS = 20_000


def parse_email(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read an e-mail message (RFC 5322, MIME); a `Parser`. Locations are paragraphs of the message as it is shown.

    The first paragraph is the subject, the second the other headers that a reader sees (From, To, Cc, Date); then come
    those of the text. Of alternatives the plain one is read, HTML if there is none. Attachments are named in the last
    paragraph, not read; forwarded messages are attachments.
    """
    message = _parse(file.content)
    blocks: list[Block] = []
    characters = 0
    for block in _blocks(message, limits):
        characters += len(block.text)
        limits.check_characters(characters)
        blocks.append(Block(block.text, SourceMap.whole(len(blocks) + 1), block.level))
    if not blocks:
        raise DocumentUnreadableError("the file has no text, or is not an e-mail message")
    title = choose_title(header(message, "subject"), name=file.name)
    return ParsedDocument(title, file.media_type, "paragraph", tuple(blocks))


def _parse(content: bytes) -> Message:
    if any(len(match[0]) > _LONGEST_PARAMETERS for match in _PARAMETERS.finditer(content)):
        raise DocumentUnreadableError("the message is damaged: what it says of one of its parts is too long")
    try:
        return message_from_bytes(content)
    except RecursionError as error:
        raise DocumentTooLargeError("the message has parts within parts too deep to be read") from error
    except Exception as error:  # the library answers some malformed messages with whatever exception comes of it
        raise DocumentUnreadableError("the message is damaged and cannot be read") from error


def _blocks(message: Message, limits: ParseLimits) -> Iterator[Block]:
    subject = one_line(header(message, "subject"))
    if subject:
        yield _block(subject, level=1)
    headings = "\n".join(heading_lines(message))
    if headings:
        yield _block(headings)
    attachments = []
    for part in readable_parts(message):
        name = attachment_name(part)
        if name:
            attachments.append(one_line(name))
        else:
            yield from _read_part(part, limits)
    if attachments:
        yield _block("Attachments: " + ", ".join(attachments))


def _block(text: str, *, level: int = 0) -> Block:
    return Block(text, SourceMap.whole(1), level)


def _read_part(part: Message, limits: ParseLimits) -> Iterator[Block]:
    content = payload(part)
    charset = charset_of(part)
    if part.get_content_type() != HTML:
        yield from line_blocks(clean(decode(content.replace(b"\x00", b""), charset=charset)))
        return
    try:
        page = parse_html(SourceFile(content, name="", media_type=HTML, charset=charset), limits=limits)
    except DocumentUnreadableError:  # there is nothing on it
        return
    for block in page.blocks:
        yield _block(block.text, level=min(block.level + 1, _DEEPEST_HEADING) if block.level else 0)
