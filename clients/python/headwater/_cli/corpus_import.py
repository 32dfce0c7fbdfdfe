"""`headwater corpora import`."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, cast

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headwater import _exceptions as exc
from headwater._cli.archive_sections import Section
from headwater._cli.corpus_archive import ArchivedDocument, ArchiveError, ArchiveReader
from headwater._cli.corpus_export import STANDARD
from headwater._cli.failures import CommandFailed, describe
from headwater._cli.terminal import errors, line, moves, note, plural
from headwater._client import Client
from headwater._documents import Upload
from headwater._names import corpus_name
from headwater._uploads import OpenContent
from headwater.v1 import document_pb2, retrieval_service_pb2

_UPLOADS = 4
_TRIES = 8
_LONGEST_WAIT = 30.0
_SPOOL_BYTES = 8 * 1024 * 1024
_GOES_ON = "the same command again goes on where this one stopped"


def import_corpus(client: Client, archive: str, *, corpus: str | None, embedder: str | None) -> int:
    """Brings the documents of an archive into a corpus, which is created as it was if there is none of that name.

    A file is read once and verified before anything is sent; standard input is verified document by document. What
    the corpus has already is not sent again.

    Args:
        client: The server.
        archive: The file, or `-`.
        corpus: The corpus. None: of the archive's name.
        embedder: The embedder of a corpus that is created. None: the archive's; empty: the server's default.

    Returns:
        How many documents failed.

    Raises:
        CommandFailed: The archive cannot be used, or the server does not go on.
    """
    if archive == STANDARD:
        return _Import(client, sys.stdin.buffer, None).run(corpus, embedder=embedder, total=None)
    path = Path(archive)
    with _reading(path):
        total = _verified(path)
        with path.open("rb") as file:
            return _Import(client, file, path).run(corpus, embedder=embedder, total=total)


def _verified(path: Path) -> int:
    """How many documents there are, after all of the file was read."""
    with path.open("rb") as file, _shown("verified", path.stat().st_size) as tell:
        count = 0
        for count, document in enumerate(ArchiveReader(file).documents(), start=1):  # noqa: B007 (counted)
            tell(document.offset)
        return count


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        raise CommandFailed(f"{path} cannot be imported: {error}") from error


class _Import:
    """One import; the archive is read here, and documents are sent by threads."""

    def __init__(self, client: Client, file: BinaryIO, path: Path | None) -> None:
        self._client = client
        self._file = file
        self._path = path
        self._room = threading.Semaphore(2 * _UPLOADS)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._failures: list[str] = []
        self._done = 0

    def run(self, corpus: str | None, *, embedder: str | None, total: int | None) -> int:
        """Imports everything; returns how many documents failed."""
        try:
            reader = ArchiveReader(self._file, verify=self._path is None)
        except ArchiveError as error:
            raise CommandFailed(f"the archive cannot be imported: {error}") from error
        name = (corpus or reader.corpus.name).removeprefix("corpora/")
        self._ensure(name, reader.corpus, embedder)
        with _shown("documents", total) as tell:
            self._send_all(reader, name, tell)
        line(f"{plural(self._done, 'document')} imported into {name}")
        for failure in sorted(self._failures):
            line(f"failed {failure}")
        return len(self._failures)

    def _ensure(self, name: str, corpus: document_pb2.Corpus, embedder: str | None) -> None:
        wanted = document_pb2.Corpus()
        wanted.CopyFrom(corpus)
        if embedder is not None:
            wanted.embedder = embedder
        request = retrieval_service_pb2.CreateCorpusRequest(corpus_id=name, corpus=wanted)
        transport = self._client._transport
        try:
            transport.unary(transport.retrieval.CreateCorpus, request)
        except exc.AlreadyExists:
            note(f"the corpus {name} is there already: its settings stay as they are")
        except (exc.InvalidRequest, exc.FailedPrecondition) as error:
            if embedder is not None or not corpus.embedder:
                raise
            raise CommandFailed(
                f"the corpus was made with the embedder {corpus.embedder}, and the server refuses it ({error.message}):"
                ' --embedder NAME takes another, --embedder "" the server\'s own'
            ) from error

    def _send_all(self, reader: ArchiveReader, corpus: str, tell: Callable[[int], None]) -> None:
        pending: set[Future[None]] = set()
        with ThreadPoolExecutor(_UPLOADS, thread_name_prefix="headwater-import") as pool:
            try:
                for archived in reader.documents():
                    self._room.acquire()
                    content = self._content(archived)
                    future = pool.submit(self._send, corpus, archived, content)
                    pending.add(future)
                    for ended in [each for each in pending if each.done()]:
                        pending.remove(ended)
                        ended.result()
                    tell(self._done)
                for future in pending:
                    future.result()
                    tell(self._done)
            except BaseException as error:
                self._stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self._client.close()
                if isinstance(error, ArchiveError | exc.HeadwaterError):
                    why = describe(error) if isinstance(error, exc.HeadwaterError) else f"the archive: {error}"
                    raise CommandFailed(f"after {plural(self._done, 'document')}: {why}; {_GOES_ON}") from error
                if isinstance(error, KeyboardInterrupt):
                    note(_GOES_ON)
                raise

    def _content(self, archived: ArchivedDocument) -> OpenContent:
        """The document's bytes in a form that stays readable while the archive is read on."""
        document = archived.document
        file: BinaryIO
        if self._path is not None:
            section = Section(self._path, start=archived.offset, size=document.size_bytes)
            file = cast("BinaryIO", io.BufferedReader(section))
        else:
            file = cast("BinaryIO", tempfile.SpooledTemporaryFile(_SPOOL_BYTES))  # noqa: SIM115 (closed by who sends it)
            while piece := archived.content.read(1 << 20):
                file.write(piece)
            file.seek(0)
        return OpenContent(file, 0, document.size_bytes, document.sha256, document.uri)

    def _send(self, corpus: str, archived: ArchivedDocument, content: OpenContent) -> None:
        try:
            with content.file:
                failure = self._patiently(corpus, archived, content)
            with self._lock:
                if failure:
                    self._failures.append(f"{archived.document_id}: {failure}")
                else:
                    self._done += 1
        except _Stopped:
            return
        finally:
            self._room.release()

    def _patiently(self, corpus: str, archived: ArchivedDocument, content: OpenContent) -> str:
        """Imports a document, again where the server has too much to do; returns why it FAILED, if it did."""
        for tried in range(1, _TRIES + 1):
            if self._stopped.is_set():
                raise _Stopped
            try:
                return self._import(corpus, archived, content)
            except exc.Overloaded as error:
                if tried == _TRIES:
                    raise
                self._stopped.wait(min(error.retry_after or float(tried), _LONGEST_WAIT))
        raise AssertionError("the last try returns or raises")

    def _import(self, corpus: str, archived: ArchivedDocument, content: OpenContent) -> str:
        wanted = archived.document
        header = retrieval_service_pb2.ImportDocumentHeader(
            parent=corpus_name(corpus),
            document_id=archived.document_id,
            document=_said(wanted),
            size_bytes=wanted.size_bytes,
            sha256=wanted.sha256,
        )
        upload = Upload(content, retrieval_service_pb2.ImportDocumentRequest(header=header))
        transport = self._client._transport
        try:
            document = upload.run(transport, on_progress=None, timeout=None)
        except exc.CallError as error:
            if upload.document is None:
                raise
            return error.message  # the call went well, and the document is FAILED
        if _differs(document, wanted):  # the same bytes were there, under another title or with other metadata
            changed = _said(wanted)
            changed.name = document.name
            request = retrieval_service_pb2.UpdateDocumentRequest(document=changed)
            request.update_mask.paths.extend(("title", "uri", "metadata"))
            transport.unary(transport.retrieval.UpdateDocument, request)
        return ""


class _Stopped(Exception):
    """The import was stopped from outside."""


def _said(document: document_pb2.Document) -> document_pb2.Document:
    """What is said of a document, without what the server knows of it."""
    said = document_pb2.Document(title=document.title, uri=document.uri, media_type=document.media_type)
    for key, value in document.metadata.items():
        said.metadata[key].CopyFrom(value)
    return said


def _differs(document: document_pb2.Document, wanted: document_pb2.Document) -> bool:
    """Whether a document says something else of itself than it should; its media type is the reader's to say."""
    found, expected = _said(document), _said(wanted)
    found.media_type = expected.media_type
    found.title = expected.title and found.title
    return found != expected


@contextlib.contextmanager
def _shown(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not moves():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors(), transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)
