"""A retrieval service on real parts, and short ways to call it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any

import anyio

from headwater.v1 import document_pb2, filter_pb2, source_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.interfaces import Caller
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.service import RetrievalCore
from tests.retrieval.service.embedders import HarmfulEmbedder

ME = Caller(tenant="acme")
STRANGER = Caller(tenant="globex")
WAIT_SECONDS = 60
"""How long a test waits for what must happen, before it fails."""

READY = document_pb2.DOCUMENT_STATE_READY
FAILED = document_pb2.DOCUMENT_STATE_FAILED
PENDING = document_pb2.DOCUMENT_STATE_PENDING


def serving(folder: Path, **settings: Any) -> AbstractAsyncContextManager[RetrievalCore]:
    """A service in a folder, with one worker and the embedder that can do harm."""
    config = RetrievalConfig(**{"workers": 1, **settings})
    return open_retrieval(folder, config, make_embedder=HarmfulEmbedder)


def header(content: bytes, document_id: str = "", *, corpus: str = "default", **fields: Any) -> pb.ImportDocumentHeader:
    """The header of an upload."""
    size_bytes = fields.pop("size_bytes", len(content))
    return pb.ImportDocumentHeader(parent=f"corpora/{corpus}", document_id=document_id, size_bytes=size_bytes, **fields)


async def upload(first: pb.ImportDocumentHeader, *pieces: bytes) -> AsyncGenerator[pb.ImportDocumentRequest]:
    """The messages of an upload."""
    yield pb.ImportDocumentRequest(header=first)
    for piece in pieces:
        yield pb.ImportDocumentRequest(data=piece)


async def import_events(
    core: RetrievalCore, first: pb.ImportDocumentHeader, *pieces: bytes, caller: Caller = ME
) -> list[pb.ImportDocumentResponse]:
    """All that comes back from an upload."""
    with anyio.fail_after(WAIT_SECONDS):
        async with aclosing(core.import_document(upload(first, *pieces), caller)) as responses:
            return [response async for response in responses]


async def import_text(
    core: RetrievalCore,
    text: str,
    document_id: str = "",
    *,
    corpus: str = "default",
    caller: Caller = ME,
    **document: Any,
) -> document_pb2.Document:
    """Uploads a text and returns the document in the end."""
    content = text.encode()
    first = header(content, document_id, corpus=corpus, document=document_pb2.Document(**document))
    events = await import_events(core, first, content, caller=caller)
    return events[-1].document


async def create_corpus(core: RetrievalCore, corpus_id: str, *, caller: Caller = ME) -> document_pb2.Corpus:
    return await core.create_corpus(pb.CreateCorpusRequest(corpus_id=corpus_id), caller)


async def create_document(
    core: RetrievalCore, text: str, document_id: str = "", *, corpus: str = "default", caller: Caller = ME, **rest: Any
) -> document_pb2.Document:
    request = pb.CreateDocumentRequest(
        parent=f"corpora/{corpus}", document_id=document_id, content=text.encode(), **rest
    )
    return await core.create_document(request, caller)


async def get_document(core: RetrievalCore, name: str, caller: Caller = ME) -> document_pb2.Document:
    return await core.get_document(pb.GetDocumentRequest(name=name), caller)


async def watch(core: RetrievalCore, name: str, caller: Caller = ME) -> list[pb.WatchDocumentResponse]:
    """All that a watch says, to its end."""
    with anyio.fail_after(WAIT_SECONDS):
        async with aclosing(core.watch_document(pb.WatchDocumentRequest(name=name), caller)) as responses:
            return [response async for response in responses]


async def ended(core: RetrievalCore, name: str, caller: Caller = ME) -> document_pb2.Document:
    """The document, once it is READY or FAILED."""
    return (await watch(core, name, caller))[-1].document


async def download(core: RetrievalCore, name: str, caller: Caller = ME) -> list[pb.DownloadDocumentResponse]:
    async with aclosing(core.download_document(pb.DownloadDocumentRequest(name=name), caller)) as responses:
        return [response async for response in responses]


async def retrieve(
    core: RetrievalCore, query: str, *corpora: str, caller: Caller = ME, **options: Any
) -> list[pb.RetrieveResponse]:
    request = pb.RetrieveRequest(options=source_pb2.RetrievalOptions(query=query, corpora=corpora, **options))
    async with aclosing(core.retrieve(request, caller)) as responses:
        return [response async for response in responses]


async def sources(
    core: RetrievalCore, query: str, *corpora: str, caller: Caller = ME, **options: Any
) -> list[source_pb2.Source]:
    responses = await retrieve(core, query, *corpora, caller=caller, **options)
    return [source for response in responses for source in response.sources]


async def until(condition: Callable[[], bool]) -> None:
    """Returns once something has happened that no one tells us of."""
    with anyio.fail_after(WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 (nothing tells us)
            await anyio.sleep(0.01)


def string(value: str) -> filter_pb2.MetadataValue:
    return filter_pb2.MetadataValue(string_value=value)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
