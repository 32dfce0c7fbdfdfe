"""Data folders to damage: small, with something of everything, made once."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import aclosing, closing
from pathlib import Path

from headwater.v1 import document_pb2, filter_pb2, source_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.interfaces import Caller
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.maintenance.layout import Layout
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.service import RetrievalCore
from headwater_server.retrieval.splitting.settings import SplitSettings
from tests.power_loss.embedder import WordEmbedder

ME = Caller(tenant="acme")
SUBJECTS = ("lighthouse", "ferry", "soup", "crane", "herring", "rope")
BROKEN = "broken"
"""A document that is FAILED."""


def word(subject: str) -> str:
    """What only the document about a subject has."""
    return f"secret{subject}"


def text_about(subject: str) -> bytes:
    """Its document's bytes."""
    paragraphs = (f"Of {subject} number {part} the {word(subject)} is told by the harbour master." for part in range(4))
    return "\n\n".join(paragraphs).encode()


def name_of(subject: str) -> str:
    """Its document's name."""
    return f"corpora/default/documents/{subject}"


def config() -> RetrievalConfig:
    """Short passages, so that there are several."""
    return RetrievalConfig(workers=1, split=SplitSettings(max_characters=120))


def opened(folder: Path) -> object:
    """A service in the folder."""
    return open_retrieval(folder, config(), make_embedder=WordEmbedder)


async def make_folder(folder: Path) -> None:
    """Makes the folder, and closes it in order."""
    async with open_retrieval(folder, config(), make_embedder=WordEmbedder) as core:
        for subject in SUBJECTS:
            metadata = {
                "kind": filter_pb2.MetadataValue(string_value=subject[:1]),
                "length": filter_pb2.MetadataValue(int64_value=len(subject)),
            }
            document = document_pb2.Document(title=f"About {subject}", uri=f"{subject}.txt", metadata=metadata)
            await import_bytes(core, subject, text_about(subject), document)
        await import_bytes(core, BROKEN, b"%PDF-1.7 and nothing else", document_pb2.Document(uri="broken.pdf"))


async def import_bytes(
    core: RetrievalCore, document_id: str, content: bytes, document: document_pb2.Document
) -> document_pb2.Document:
    """Imports a document, and returns it in the end."""

    async def requests() -> object:
        yield pb.ImportDocumentRequest(
            header=pb.ImportDocumentHeader(
                parent="corpora/default", document_id=document_id, size_bytes=len(content), document=document
            )
        )
        yield pb.ImportDocumentRequest(data=content)

    last = document_pb2.Document()
    async with aclosing(core.import_document(requests(), ME)) as responses:  # type: ignore[arg-type]  # an async generator of requests
        async for response in responses:
            last = response.document if response.HasField("document") else last
    return last


async def ended(core: RetrievalCore, subject: str) -> document_pb2.Document:
    """The document, once it is READY or FAILED."""
    last = document_pb2.Document()
    async with aclosing(core.watch_document(pb.WatchDocumentRequest(name=name_of(subject)), ME)) as responses:
        async for response in responses:
            last = response.document if response.HasField("document") else last
    return last


async def content_of(core: RetrievalCore, subject: str) -> bytes:
    """The document's bytes."""
    async with aclosing(core.download_document(pb.DownloadDocumentRequest(name=name_of(subject)), ME)) as responses:
        return b"".join([response.data async for response in responses])


async def sources(core: RetrievalCore, query: str) -> list[source_pb2.Source]:
    """What is found."""
    options = source_pb2.RetrievalOptions(query=query, corpora=["corpora/default"], top_k=100)
    async with aclosing(core.retrieve(pb.RetrieveRequest(options=options), ME)) as responses:
        return [source async for response in responses for source in response.sources]


def files_of(folder: Path) -> Mapping[str, list[Path]]:
    """The files by kind, without what is empty or no part of the data."""
    layout = Layout(folder)
    return {
        "catalog": [layout.catalog],
        "store": [layout.truth],
        "contents": sorted(path for path in layout.contents.glob("*/*/*") if path.is_file()),
        "index": sorted(path for path in layout.index.rglob("*") if path.is_file() and _has_data(path)),
    }


def _has_data(path: Path) -> bool:
    """Whether it is of a size to look at, and not all zeros."""
    return path.stat().st_size < 1 << 20 and any(path.read_bytes())


def copied(template: Path, target: Path) -> Path:
    """A copy to damage."""
    subprocess.run(["cp", "-r", "--sparse=always", template, target], check=True)  # the index is mostly holes
    return target


_OF_NO_DOCUMENT = {"request_ids", "settings", "changes", "sqlite_sequence"}


def said_by(folder: Path) -> object:
    """All that the databases and the contents say of documents, or None where they cannot be read."""
    layout = Layout(folder)
    said: list[object] = []
    try:
        for path in (layout.catalog, layout.truth):
            with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
                names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                said += [_rows(connection, name) for name in sorted(names) if name not in _OF_NO_DOCUMENT]
    except (sqlite3.Error, ValueError):
        return None
    return said, [path.read_bytes() for path in files_of(folder)["contents"]]


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    return sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)  # noqa: S608 (our own names)
