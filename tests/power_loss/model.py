"""What must be true of a service that is opened on what a loss of power has left."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio import to_thread

from headwater._cli.failures import innermost
from headwater.v1 import document_pb2, source_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.errors import ResourceNotFound
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.service import RetrievalCore
from tests.power_loss.embedder import WordEmbedder
from tests.power_loss.recording import Op, Record
from tests.power_loss.texts import text_of, word_of
from tests.power_loss.workload import CORPUS, DOCUMENTS, TENANT, config

_SECONDS = 60


@dataclass(slots=True)
class Expected:
    """What may be of one document."""

    editions: set[int | None] = field(default_factory=lambda: {None})
    """The acknowledged edition, and one whose acknowledgement had not come; None: no document."""
    titles: set[str | None] = field(default_factory=lambda: {None})
    """The title that was acknowledged, and one whose acknowledgement had not come; None: what the reader found."""
    newest: int = 0
    """The newest edition that was ever sent."""


def expectations(records: Iterable[Record]) -> dict[int, Expected]:
    """What may be of each document, after what was noted until the cut."""
    expected = {number: Expected() for number in range(DOCUMENTS)}
    for record in records:
        if record.op is Op.MARKED and "document" in record.note:
            _note(expected[record.note["document"]], record.note)
    return expected


def _note(document: Expected, note: dict[str, object]) -> None:
    kind, done = note["kind"], note["done"]
    if kind == "title":
        title = str(note["title"])
        document.titles = {title} if done else {title, *document.titles}
        return
    edition = note["edition"] if kind == "put" else None
    if edition is not None and not isinstance(edition, int):
        raise TypeError(f"an edition is a number: {note}")
    document.newest = max(document.newest, edition or 0)
    document.editions = {edition} if done else {edition, *document.editions}
    document.titles = {None}  # a new edition, or a deletion under way, takes the title with it


async def violations(folder: Path, expected: dict[int, Expected]) -> list[str]:
    """Opens a service in the folder, lets it put itself in order, and says what is not as it must be."""
    found: list[str] = []
    try:
        with anyio.fail_after(_SECONDS):
            async with open_retrieval(folder, config(), make_embedder=WordEmbedder) as core:
                there = {number: await _ended(core, number) for number in range(DOCUMENTS)}
                for number, document in there.items():
                    found += [
                        f"d{number}: {each}" async for each in _violations(core, number, document, expected[number])
                    ]
    except Exception as error:
        found.append(f"the service failed: {innermost(error)!r}")
    return found + await to_thread.run_sync(_inconsistencies, folder)


async def _ended(core: RetrievalCore, number: int) -> document_pb2.Document | None:
    """The document, once it is READY or FAILED."""
    request = pb.WatchDocumentRequest(name=_name(number))
    document = None
    try:
        async with aclosing(core.watch_document(request, TENANT)) as responses:
            async for response in responses:
                if response.HasField("document"):
                    document = response.document
    except ResourceNotFound:
        return None
    return document


async def _violations(
    core: RetrievalCore, number: int, document: document_pb2.Document | None, expected: Expected
) -> AsyncIterator[str]:
    edition = None
    if document is not None:
        content = await _content(core, number)
        edition = next((each for each in expected.editions if each and text_of(number, each).encode() == content), None)
        if edition is None:
            yield f"has the bytes of no edition in {expected.editions}: {content[:60]!r}"
        if document.state != document_pb2.DOCUMENT_STATE_READY:
            yield f"is in state {document.state}: {document.error.message}"
        if None not in expected.titles and document.title not in expected.titles:
            yield f"has the title {document.title!r}, and not one of {expected.titles}"
    elif None not in expected.editions:
        yield f"is lost; it was acknowledged as edition {expected.editions}"
    for each in range(1, expected.newest + 1):
        sources = await _sources(core, word_of(number, each), number)
        if each != edition and sources:
            yield f"edition {each} is found, which is gone: it has {edition}"
        if each == edition and document is not None and {source.title for source in sources} != {document.title}:
            yield f"edition {each} is READY and found as {[source.title for source in sources]}, not {document.title!r}"


def _name(number: int) -> str:
    return f"corpora/{CORPUS}/documents/d{number}"


async def _content(core: RetrievalCore, number: int) -> bytes:
    request = pb.DownloadDocumentRequest(name=_name(number))
    async with aclosing(core.download_document(request, TENANT)) as responses:
        return b"".join([response.data async for response in responses])


async def _sources(core: RetrievalCore, query: str, number: int) -> list[source_pb2.Source]:
    options = source_pb2.RetrievalOptions(query=query, corpora=[f"corpora/{CORPUS}"], top_k=100)
    try:
        async with aclosing(core.retrieve(pb.RetrieveRequest(options=options), TENANT)) as responses:
            found = [source async for response in responses for source in response.sources]
    except ResourceNotFound:  # not even the corpus was acknowledged
        return []
    return [source for source in found if source.document == _name(number) and query in source.content]


def _inconsistencies(folder: Path) -> list[str]:
    """What the databases say of themselves, and whether they agree on which documents there are."""
    found = []
    documents = []
    for path in (folder / "catalog.sqlite", folder / "store" / "truth.sqlite3"):
        with closing(sqlite3.connect(path)) as connection:
            for (line,) in connection.execute("PRAGMA integrity_check"):
                if line != "ok":
                    found.append(f"{path.name}: {line}")
            documents.append({row for (row,) in connection.execute("SELECT document_id FROM documents")})
    if documents[1] - documents[0]:
        found.append(f"the store has documents that the catalog has not: {documents[1] - documents[0]}")
    return found
