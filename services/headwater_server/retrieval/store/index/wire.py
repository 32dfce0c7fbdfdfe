"""Queries and results as plain tuples for the pipes: to pickle dataclasses and arrays takes five times as long."""

from __future__ import annotations

from typing import Any

from headwater.v1 import filter_pb2
from headwater_server.retrieval.model import Location
from headwater_server.retrieval.store.protocol import CorpusKey, DocumentRecord, Hit, Query, SearchMode, SearchResult
from headwater_server.retrieval.store.truth.records import dump_vector, load_vector

Plain = tuple[Any, ...]


def dump_query(query: Query) -> Plain:
    """A query as a tuple."""
    return (
        [(corpus.tenant, corpus.corpus_id) for corpus in query.corpora],
        query.text,
        None if query.vector is None else dump_vector(query.vector),
        query.mode.value,
        query.limit,
        None if query.filter is None else query.filter.SerializeToString(),
        query.min_score,
    )


def load_query(plain: Plain) -> Query:
    """The query of which `dump_query` made this."""
    corpora, text, vector, mode, limit, condition, min_score = plain
    return Query(
        corpora=[CorpusKey(*corpus) for corpus in corpora],
        text=text,
        vector=None if vector is None else load_vector(vector),
        mode=SearchMode(mode),
        limit=limit,
        filter=None if condition is None else filter_pb2.Filter.FromString(condition),
        min_score=min_score,
    )


def dump_result(result: SearchResult) -> Plain:
    """A result as a tuple."""
    hits = [_dump_hit(hit) for hit in result.hits]
    return hits, result.candidates, result.below_min_score, result.current


def load_result(plain: Plain) -> SearchResult:
    """The result of which `dump_result` made this."""
    hits, candidates, below_min_score, current = plain
    return SearchResult(
        hits=tuple([_load_hit(hit) for hit in hits]),
        candidates=candidates,
        below_min_score=below_min_score,
        current=current,
    )


def _dump_hit(hit: Hit) -> Plain:
    document, location = hit.document, hit.location
    return (
        (hit.corpus.tenant, hit.corpus.corpus_id),
        (document.document_id, document.title, document.uri, document.media_type, document.metadata),
        hit.passage_id,
        hit.ordinal,
        hit.text,
        hit.heading,
        None if location is None else (location.kind, location.start, location.end, location.sheet),
        hit.score,
        hit.cosine,
    )


def _load_hit(plain: Plain) -> Hit:
    corpus, document, passage_id, ordinal, text, heading, location, score, cosine = plain
    place = None if location is None else Location(*location)
    owner, record = CorpusKey(*corpus), DocumentRecord(*document)
    return Hit(owner, record, passage_id, ordinal, text, heading, place, score, cosine)  # by place: twice as fast
