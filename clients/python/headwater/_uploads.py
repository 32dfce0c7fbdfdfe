"""The content of an upload: a path, bytes, or a file object, with its size and checksum."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from headwater._checks import making, required_text, text, wrong_type
from headwater._exceptions import ArgumentError
from headwater._names import corpus_name
from headwater._values import MetadataInput, to_metadata
from headwater.v1 import document_pb2, retrieval_service_pb2

Content = str | Path | bytes | BinaryIO
"""What to upload: the path of a file, the bytes themselves, or a file open for reading bytes, from where it stands."""

BLOCK_BYTES = 256 * 1024
MAX_BYTES = 2**31 - 1
_SPOOL_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OpenContent:
    """Content that is ready to be sent."""

    file: BinaryIO
    """A file that can be sought in."""
    start: int
    """Where in the file the content begins."""
    size: int
    """How many bytes the content has."""
    sha256: str
    """Its SHA-256, 64 hexadecimal digits."""
    uri: str
    """The path it was named by. Empty if it has none."""

    def seek(self, offset: int) -> None:
        """Goes to an offset in the content."""
        self.file.seek(self.start + offset)

    def block(self) -> bytes:
        """The next bytes. Empty at the end."""
        return self.file.read(BLOCK_BYTES)


@contextmanager
def open_content(content: Content) -> Iterator[OpenContent]:
    """Opens content, and closes what it opened.

    Raises:
        ArgumentError: It is not content, cannot be read, or is 2 GiB or more.
    """
    if isinstance(content, bytes):
        yield _measure(BytesIO(content), uri="")
    elif isinstance(content, str | Path):
        try:
            file = Path(content).open("rb")  # noqa: SIM115 (only opening may raise here; it is closed just below)
        except OSError as error:
            raise ArgumentError(f"{content} cannot be read: {error.strerror}") from error
        except ValueError as error:  # a NUL, or a lone surrogate that names no byte
            raise ArgumentError(f"{str(content)!r} is no path: {error}") from error
        with file:
            yield _measure(file, uri=str(content))
    elif not hasattr(content, "read"):
        raise ArgumentError(f"content is a path, bytes or a file open for reading, not {type(content).__name__}")
    elif content.seekable():
        yield _measure(content, uri=_file_name(content))
    else:
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
            while block := content.read(BLOCK_BYTES):
                spool.write(_bytes(block))
            spool.seek(0)
            yield _measure(cast("BinaryIO", spool), uri=_file_name(content))


def import_header(
    content: OpenContent,
    *,
    corpus: str,
    document_id: str | None,
    title: str | None,
    uri: str | None,
    media_type: str | None,
    metadata: Mapping[str, MetadataInput] | None,
) -> retrieval_service_pb2.ImportDocumentRequest:
    """Makes the first message of an upload.

    Raises:
        ArgumentError: A name or a metadata value is not as it must be.
    """
    with making("an upload"):
        return retrieval_service_pb2.ImportDocumentRequest(
            header=retrieval_service_pb2.ImportDocumentHeader(
                parent=corpus_name(corpus),
                document_id=text("document_id", document_id),
                document=new_document(
                    title=title, uri=content.uri if uri is None else uri, media_type=media_type, metadata=metadata
                ),
                size_bytes=content.size,
                sha256=content.sha256,
            )
        )


def create_document_request(
    content: bytes | str,
    *,
    corpus: str,
    document_id: str | None,
    title: str | None,
    uri: str | None,
    media_type: str | None,
    metadata: Mapping[str, MetadataInput] | None,
) -> retrieval_service_pb2.CreateDocumentRequest:
    """Makes the request that creates a document from one message.

    Raises:
        ArgumentError: An argument is not as it must be.
    """
    with making("a new document"):
        if not isinstance(content, bytes | str):
            raise wrong_type("content", "bytes or a string", content)
        if isinstance(content, str):
            content, media_type = required_text("content", content).encode(), media_type or "text/plain"
        return retrieval_service_pb2.CreateDocumentRequest(
            parent=corpus_name(corpus),
            document_id=text("document_id", document_id),
            document=new_document(title=title, uri=uri, media_type=media_type, metadata=metadata),
            content=content,
        )


def new_document(
    *, title: str | None, uri: str | None, media_type: str | None, metadata: Mapping[str, MetadataInput] | None
) -> document_pb2.Document:
    """Makes the part of a document that its caller writes.

    Raises:
        ArgumentError: A metadata value has no type that metadata knows.
    """
    with making("a document"):
        return document_pb2.Document(
            title=text("title", title),
            uri=text("uri", uri),
            media_type=text("media_type", media_type),
            metadata=to_metadata({} if metadata is None else metadata),
        )


def _measure(file: BinaryIO, *, uri: str) -> OpenContent:
    start = file.tell()
    size = 0
    sha256 = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        sha256.update(_bytes(block))
        size += len(block)
        if size > MAX_BYTES:
            raise ArgumentError(f"{uri or 'the content'} has 2 GiB or more, which no server takes")
    file.seek(start)
    return OpenContent(file, start, size, sha256.hexdigest(), uri)


def _bytes(block: object) -> bytes:
    if not isinstance(block, bytes):
        raise ArgumentError("the file is open for text: open it for bytes, with mode 'rb'")
    return block


def _file_name(file: BinaryIO) -> str:
    name = getattr(file, "name", "")
    return name if isinstance(name, str) else ""
