"""The archive of a corpus: a tar file (POSIX ustar) that is written and read from its beginning to its end.

Its entries, in this order:

- `corpus.json`: `{"format": "headwater-corpus", "version": 1, "corpus": {…}}`, the corpus as `headwater.v1.Corpus` in
  protobuf's JSON: name, display_name, labels, embedder, splitting, language;
- for each document, by id: `documents/{id}/document.json`, a `headwater.v1.Document` in protobuf's JSON with title,
  uri, media_type, metadata, size_bytes and sha256; then `documents/{id}/content`, its bytes;
- `end.json`: `{"documents": N}`. An archive without it was cut off.

All entries are plain files of mode 0644 with time 0 and no owner, and JSON is written with sorted keys and without
spaces, so equal corpora make equal archives. The reader takes nothing else: what is not in this order, or larger than
it may be, ends it before anything of it is used.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from google.protobuf import json_format
from google.protobuf.message import Message

from headwater.v1 import document_pb2

VERSION = 1
"""Of the format. A reader takes archives of its own version and of older ones."""

FORMAT = "headwater-corpus"
MOST_JSON_BYTES = 4 * 1024 * 1024
MOST_CONTENT_BYTES = 2**31 - 1

_BLOCK = 512
_PIECE = 1 << 20
_CORPUS, _END = "corpus.json", "end.json"
_NAME = re.compile(r"corpora/[A-Za-z0-9][A-Za-z0-9._~-]{0,62}", re.ASCII)
_DOCUMENT = re.compile(r"documents/([A-Za-z0-9][A-Za-z0-9._~-]{0,127})/document\.json", re.ASCII)
_CORPUS_FIELDS = ("name", "display_name", "labels", "embedder", "splitting", "language")
_DOCUMENT_FIELDS = ("title", "uri", "media_type", "metadata", "size_bytes", "sha256")


class ArchiveError(Exception):
    """What is read is no archive of a corpus, or not a whole one; the message says why."""


@dataclass(frozen=True, slots=True)
class ArchivedDocument:
    """A document in an archive that is being read."""

    document_id: str
    document: document_pb2.Document
    """Its title, uri, media_type, metadata, size_bytes and sha256."""
    content: BinaryIO
    """Its bytes, to be read once, before the next document is asked for."""
    offset: int
    """Where in the archive its bytes begin."""


class ArchiveWriter:
    """Writes an archive: the corpus, then each document with its content, then `finish`."""

    def __init__(self, file: BinaryIO, corpus: document_pb2.Corpus) -> None:
        self._file = file
        self._documents = 0
        self._add_json(_CORPUS, {"corpus": _fields(corpus, _CORPUS_FIELDS), "format": FORMAT, "version": VERSION})

    def add(self, document: document_pb2.Document, pieces: Iterable[bytes]) -> None:
        """Adds a document.

        Args:
            document: As the server gives it.
            pieces: Its content, of `document.size_bytes` in all.
        """
        folder = f"documents/{document.name.rpartition('/')[2]}"
        self._add_json(f"{folder}/document.json", _fields(document, _DOCUMENT_FIELDS))
        self._begin(f"{folder}/content", document.size_bytes)
        size = 0
        for piece in pieces:
            self._file.write(piece)
            size += len(piece)
        if size != document.size_bytes:
            raise ArchiveError(f"{document.name} has {document.size_bytes} bytes, and {size} came")
        self._end(size)
        self._documents += 1

    def finish(self) -> None:
        """Writes the end, without which an archive is not whole."""
        self._add_json(_END, {"documents": self._documents})
        self._file.write(bytes(2 * _BLOCK))

    def _add_json(self, name: str, value: dict[str, Any]) -> None:
        data = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        self._begin(name, len(data))
        self._file.write(data)
        self._end(len(data))

    def _begin(self, name: str, size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = size
        self._file.write(entry.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))

    def _end(self, size: int) -> None:
        self._file.write(bytes(-size % _BLOCK))


class ArchiveReader:
    """Reads an archive, and takes nothing but what `ArchiveWriter` writes.

    Args:
        file: The archive, from its beginning.
        verify: Whether to read, and verify, also what nobody asks for. False for a file that has been read before.

    Attributes:
        corpus: The corpus.

    Raises:
        ArchiveError: It is no archive of a corpus, or of a newer version.
    """

    def __init__(self, file: BinaryIO, *, verify: bool = True) -> None:
        self._file = file
        self._verify = verify
        self._offset = 0
        self.corpus = self._read_corpus()

    def documents(self) -> Iterator[ArchivedDocument]:
        """The documents, by id. The archive was whole if this comes to its end.

        Raises:
            ArchiveError: The archive is damaged, was cut off, or has something else in it.
        """
        last, count = "", 0
        while True:
            name, size = self._next()
            if name == _END:
                self._check_end(self._json(name, size), count)
                return
            found = _DOCUMENT.fullmatch(name)
            if found is None:
                raise ArchiveError(f"it has an entry that does not belong there: {name!r}")
            document_id = found.group(1)
            if document_id <= last:
                raise ArchiveError(f"the document {document_id!r} is in it twice, or out of order")
            document = self._document(name, self._json(name, size))
            content = self._content(document_id, document)
            yield ArchivedDocument(document_id, document, io.BufferedReader(content), self._offset)
            content.drain(verify=self._verify)
            self._offset += document.size_bytes
            self._skip_padding(document.size_bytes)
            last, count = document_id, count + 1

    def _read_corpus(self) -> document_pb2.Corpus:
        try:
            head = self._head()
        except ArchiveError as error:
            raise ArchiveError(f"it is not an archive of a corpus: {error}") from error
        if head["version"] > VERSION:
            raise ArchiveError(
                f"it was written by a newer Headwater: it has version {head['version']}, and this one reads {VERSION}"
            )
        corpus = document_pb2.Corpus()
        _parse(head.get("corpus"), corpus, _CORPUS_FIELDS, what=_CORPUS)
        if not _NAME.fullmatch(corpus.name):
            raise ArchiveError(f"{_CORPUS} names no corpus")
        return corpus

    def _head(self) -> dict[str, Any]:
        name, size = self._next()
        if name != _CORPUS:
            raise ArchiveError(f"it begins with {name!r}")
        head = self._json(name, size)
        if head.get("format") != FORMAT or not isinstance(head.get("version"), int):
            raise ArchiveError("it does not say so")
        return head

    def _document(self, name: str, value: dict[str, Any]) -> document_pb2.Document:
        document = document_pb2.Document()
        _parse(value, document, _DOCUMENT_FIELDS, what=name)
        if document.size_bytes < 0 or not re.fullmatch("[0-9a-f]{64}", document.sha256):
            raise ArchiveError(f"{name} does not say what its content is")
        return document

    def _content(self, document_id: str, document: document_pb2.Document) -> _Content:
        name, size = self._next()
        if name != f"documents/{document_id}/content" or size != document.size_bytes:
            raise ArchiveError(f"the content of the document {document_id!r} is not where it belongs")
        return _Content(self._file, name, size, document.sha256)

    def _check_end(self, end: dict[str, Any], count: int) -> None:
        if end.get("documents") != count:
            raise ArchiveError(f"it says that it has {end.get('documents')} documents, and has {count}")
        if self._read(2 * _BLOCK) != bytes(2 * _BLOCK):
            raise ArchiveError("it goes on after its end")

    def _next(self) -> tuple[str, int]:
        block = self._read(_BLOCK)
        try:
            entry = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            raise ArchiveError(f"an entry is damaged ({error})") from error
        if entry.type != tarfile.REGTYPE:
            raise ArchiveError(f"{entry.name!r} is no plain file")
        if not 0 <= entry.size <= MOST_CONTENT_BYTES:
            raise ArchiveError(f"{entry.name!r} is too large: {entry.size} bytes")
        return entry.name, entry.size

    def _json(self, name: str, size: int) -> dict[str, Any]:
        if size > MOST_JSON_BYTES:
            raise ArchiveError(f"{name} is too large: {size} bytes")
        data = self._read(size)
        self._skip_padding(size)
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ArchiveError(f"{name} is not JSON") from error
        if not isinstance(value, dict):
            raise ArchiveError(f"{name} is not an object")
        return value

    def _skip_padding(self, size: int) -> None:
        if any(self._read(-size % _BLOCK)):
            raise ArchiveError("there is something between two entries")

    def _read(self, size: int) -> bytes:
        data = _exactly(self._file, size)
        self._offset += size
        return data


class _Content(io.RawIOBase):
    """The bytes of one entry, verified as they are read."""

    def __init__(self, file: BinaryIO, name: str, size: int, sha256: str) -> None:
        super().__init__()
        self._file = file
        self._name = name
        self._left = size
        self._expected = sha256
        self._sha256 = hashlib.sha256()
        self._verify_at_end()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = _exactly(self._file, min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        self._sha256.update(data)
        if data:
            self._verify_at_end()
        return len(data)

    def drain(self, *, verify: bool) -> None:
        """Passes what nobody has read."""
        if not verify:
            self._file.seek(self._left, io.SEEK_CUR)
            return
        piece = bytearray(_PIECE)
        while self._left:
            self.readinto(piece)

    def _verify_at_end(self) -> None:
        if not self._left and self._sha256.hexdigest() != self._expected:
            raise ArchiveError(f"{self._name} is damaged: its checksum is wrong")


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    while len(data) < size:  # a pipe gives what it has
        more = file.read(size - len(data))
        if not more:
            raise ArchiveError("it ends too early: it was cut off")
        data += more
    return data


def _fields(message: Message, names: Iterable[str]) -> dict[str, Any]:
    """The named fields of a message, in protobuf's JSON."""
    whole: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return {name: whole[name] for name in names if name in whole}


def _parse(value: Any, message: Message, names: Iterable[str], *, what: str) -> None:
    if not isinstance(value, dict) or not value.keys() <= set(names):
        raise ArchiveError(f"{what} has fields that do not belong there")
    try:
        json_format.ParseDict(value, message)
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise ArchiveError(f"{what} is not as it must be: {error}") from error
