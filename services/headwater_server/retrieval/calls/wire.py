"""From the catalog's records, and the store's hits, to the messages of `headwater.v1`."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from headwater.v1 import document_pb2, source_pb2
from headwater_server import names
from headwater_server.retrieval.catalog import Corpus, Document, DocumentState
from headwater_server.retrieval.jobs.progress import Progress
from headwater_server.retrieval.model import Location
from headwater_server.retrieval.presentation import cut, media_type_of, title_of
from headwater_server.retrieval.store.metadata_values import to_microseconds, to_proto
from headwater_server.retrieval.store.protocol import Hit

MAX_CONTENT_BYTES = 16 * 1024
MAX_METADATA_BYTES = 1024
_MAX_HEADING_BYTES = 1024
_MAX_SHEET_BYTES = 256
_MAX_INT32 = 2**31 - 1


def corpus_message(corpus: Corpus) -> document_pb2.Corpus:
    """A corpus."""
    message = document_pb2.Corpus(
        name=names.corpus_name(corpus.key.corpus_id),
        display_name=corpus.display_name,
        labels=corpus.labels,
        embedder=corpus.setup.embedder.name,
        document_count=min(corpus.document_count, _MAX_INT32),
        passage_count=min(corpus.passage_count, _MAX_INT32),
        create_time=_timestamp(corpus.create_time),
        update_time=_timestamp(corpus.update_time),
        language=corpus.setup.language,
    )
    splitting = corpus.setup.splitting
    if splitting.max_characters:
        message.splitting.max_characters = splitting.max_characters
    if splitting.overlap_characters is not None:
        message.splitting.overlap_characters = splitting.overlap_characters
    if corpus.reembedding is not None:
        progress = corpus.reembedding
        message.reembedding.embedder = progress.embedder
        message.reembedding.done_documents = min(progress.done_documents, _MAX_INT32)
        message.reembedding.document_count = min(progress.document_count, _MAX_INT32)
    return message


def document_message(document: Document, progress: Progress) -> document_pb2.Document:
    """A document; `progress` is shown while it is PROCESSING."""
    message = document_pb2.Document.FromString(document.metadata)
    message.name = names.document_name(document.key.corpus_id, document.key.document_id)
    message.title = title_of(document)
    message.uri = document.uri
    message.media_type = media_type_of(document)
    message.size_bytes = document.size_bytes
    message.sha256 = document.sha256
    message.state = document_pb2.DocumentState.ValueType(document.state)
    message.passage_count = document.passage_count
    message.create_time.CopyFrom(_timestamp(document.create_time))
    message.update_time.CopyFrom(_timestamp(document.update_time))
    if document.state is DocumentState.PROCESSING:
        message.progress.CopyFrom(progress_message(progress))
    if document.state is DocumentState.FAILED:
        message.error.ParseFromString(document.error)
    return message


def progress_message(progress: Progress) -> document_pb2.DocumentProgress:
    """How far the work on a document has come."""
    return document_pb2.DocumentProgress(
        stage=document_pb2.DocumentStage.ValueType(progress.stage),
        embedded_passages=progress.embedded_passages,
        passage_count=progress.passage_count,
    )


def source_message(hit: Hit, *, rank: int, relevance: float | None = None) -> source_pb2.Source:
    """A passage found, within the bounds of a source; without a cosine there is no relevance."""
    document_id = hit.document.document_id
    source = source_pb2.Source(
        passage=names.passage_name(hit.corpus.corpus_id, document_id, hit.passage_id),
        document=names.document_name(hit.corpus.corpus_id, document_id),
        title=hit.document.title,
        uri=hit.document.uri,
        content=cut(hit.text, MAX_CONTENT_BYTES),
        heading=cut(hit.heading, _MAX_HEADING_BYTES),
        score=hit.score,
        rank=rank,
    )
    if hit.cosine is not None:
        source.cosine = hit.cosine
    if relevance is not None:
        source.relevance = relevance
    if hit.location is not None:
        source.location.CopyFrom(location_message(hit.location))
    _add_metadata(source, hit)
    return source


def _add_metadata(source: source_pb2.Source, hit: Hit) -> None:
    """Adds metadata, by key, as long as they have at most 1 KiB in all; a value that is larger is left out."""
    room = MAX_METADATA_BYTES
    for key in sorted(hit.document.metadata):
        value = to_proto(hit.document.metadata[key])
        size = len(key.encode()) + value.ByteSize()
        if size <= room:
            source.metadata[key].CopyFrom(value)
            room -= size


def location_message(location: Location) -> source_pb2.Location:
    """Where a passage stands."""
    first, last = location.start, location.end
    match location.kind:
        case "page":
            return source_pb2.Location(page_range=source_pb2.PageRange(first=first, last=last))
        case "slide":
            return source_pb2.Location(slide=first)
        case "line":
            return source_pb2.Location(line_range=source_pb2.LineRange(first=first, last=last))
        case "paragraph":
            return source_pb2.Location(paragraph_range=source_pb2.ParagraphRange(first=first, last=last))
        case "row":
            sheet = cut(location.sheet, _MAX_SHEET_BYTES)
            return source_pb2.Location(row_range=source_pb2.RowRange(first=first, last=last, sheet=sheet))
        case "byte":
            return source_pb2.Location(byte_range=source_pb2.ByteRange(start=first, end=last))


def _timestamp(moment: datetime) -> Timestamp:
    seconds, microseconds = divmod(to_microseconds(moment), 1_000_000)
    return Timestamp(seconds=seconds, nanos=microseconds * 1000)
