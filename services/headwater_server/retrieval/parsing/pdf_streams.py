"""Noticing PDFs made to exhaust memory, before PDFium unpacks them: it has no bound on what a page may need."""

from __future__ import annotations

import re
import zlib

from headwater_server.retrieval.parsing.errors import DocumentTooLargeError
from headwater_server.retrieval.parsing.limits import ParseLimits

_STREAM = re.compile(rb"(?<!end)stream\r?\n")
# What PDFium leaves packed when it looks for text, and what may well be large.
_NOT_TEXT = re.compile(rb"/(?:Image|EmbeddedFile|Length[123])\b")
_PACKERS = re.compile(rb"/(?:FlateDecode|Fl|LZWDecode|LZW|RunLengthDecode|RL)\b")
_FILTERS = re.compile(rb"/Filter\s*\[([^\]]{0,400})\]")
_DICTIONARY = 1000  # bytes before a stream in which its dictionary is looked for
_CHUNK = 64 * 1024
# Text and drawings are packed to a tenth or a twentieth. What is packed this much counts for all streams together.
_SUSPICIOUS_RATIO = 100


def check_streams(content: bytes, *, limits: ParseLimits) -> None:
    """Refuse a PDF one of whose pages would unpack to more than PDFium can read in a worker's memory.

    Looked at are the streams packed with Deflate, as nearly all are; a PDF may have other ways to need much memory.

    Raises:
        DocumentTooLargeError: It is refused.
    """
    position = suspicious = 0
    while match := _STREAM.search(content, position):
        position = match.end()
        dictionary = content[max(0, match.start() - _DICTIONARY) : match.start()].rpartition(b" obj")[2]
        if _NOT_TEXT.search(dictionary):
            continue
        filters = _FILTERS.search(dictionary)
        if filters and len(_PACKERS.findall(filters[1])) > 1:
            raise DocumentTooLargeError("the PDF has content that is packed twice over, which may unpack to any size")
        packed, unpacked = _sizes(content, position, limits.max_stream_bytes)
        if unpacked > _SUSPICIOUS_RATIO * packed:
            suspicious += unpacked
        if max(unpacked, suspicious) > limits.max_stream_bytes:
            raise DocumentTooLargeError(
                f"the PDF has content that unpacks to over {limits.max_stream_bytes:,} bytes, which is the limit"
            )
        position += packed


def _sizes(content: bytes, start: int, most: int) -> tuple[int, int]:
    """Return how many bytes of packed data begin somewhere, and to how many they unpack; counting ends past `most`."""
    unpacker = zlib.decompressobj()
    position, unpacked = start, 0
    try:
        while not unpacker.eof and unpacked <= most and position < len(content):
            chunk = unpacker.unconsumed_tail or content[position : position + _CHUNK]
            data = unpacker.decompress(chunk, most)
            unpacked += len(data)
            position += len(chunk) - len(unpacker.unconsumed_tail) - len(unpacker.unused_data)
    except zlib.error:  # packed in another way, or not at all; or damaged, and then PDFium reads up to here, too
        pass
    return position - start, unpacked
