"""Rows to records, and the times in them."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

from headwater_server.retrieval.catalog.records import (
    Corpus,
    CorpusSetup,
    Document,
    DocumentKey,
    DocumentState,
    EmbedderIdentity,
    Reembedding,
    ReembeddingProgress,
    Splitting,
)
from headwater_server.retrieval.store.protocol import CorpusKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now() -> int:
    """This moment, in microseconds since 1970."""
    return to_microseconds(datetime.now(UTC))


def to_microseconds(moment: datetime) -> int:
    """A moment as the tables keep it."""
    return (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def corpus_of(row: sqlite3.Row) -> Corpus:
    """The corpus in a row that has its counts too."""
    return Corpus(
        key=CorpusKey(row["tenant"], row["corpus_id"]),
        display_name=row["display_name"],
        labels=json.loads(row["labels"]),
        setup=setup_of(row),
        document_count=row["document_count"],
        passage_count=row["passage_count"],
        reembedding=None
        if row["new_embedder"] is None
        else ReembeddingProgress(row["new_embedder"], row["done_documents"], row["document_count"]),
        create_time=_moment(row["create_time"]),
        update_time=_moment(row["update_time"]),
    )


def setup_of(row: sqlite3.Row) -> CorpusSetup:
    """How the documents of the corpus in a row become passages."""
    return CorpusSetup(
        embedder=embedder_of(row),
        splitting=Splitting(row["max_characters"], row["overlap_characters"]),
        language=row["language"],
    )


def embedder_of(row: sqlite3.Row) -> EmbedderIdentity:
    """The embedder in a row of the corpora, or of the reembeddings."""
    return EmbedderIdentity(row["embedder_name"], row["embedder"], row["dimension"])


def reembedding_of(row: sqlite3.Row, *, taking_over: bool) -> Reembedding:
    """The reembedding in a row of its table."""
    return Reembedding(
        corpus=CorpusKey(row["tenant"], row["corpus_id"]),
        shadow=CorpusKey(row["tenant"], row["shadow_id"]),
        embedder=embedder_of(row),
        taking_over=taking_over,
    )


def document_of(row: sqlite3.Row) -> Document:
    """The document in a row of its table."""
    return Document(
        key=DocumentKey(row["tenant"], row["corpus_id"], row["document_id"]),
        revision=row["revision"],
        title=row["title"],
        found_title=row["found_title"],
        uri=row["uri"],
        media_type=row["media_type"],
        found_media_type=row["found_media_type"],
        metadata=row["metadata"],
        size_bytes=row["size_bytes"],
        sha256=row["sha256"],
        state=DocumentState(row["state"]),
        error=row["error"],
        passage_count=row["passage_count"],
        crashes=row["crashes"],
        interruptions=row["interruptions"],
        create_time=_moment(row["create_time"]),
        update_time=_moment(row["update_time"]),
    )
