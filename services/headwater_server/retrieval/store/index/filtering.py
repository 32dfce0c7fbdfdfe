"""Filters as sets of documents: resolved by SQLite, and kept as long as the corpus stays as it is."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence

from headwater.v1 import filter_pb2
from headwater_server.retrieval.store.index.shard import DocumentSet
from headwater_server.retrieval.store.truth.reader import (
    CorpusState,
    count_documents,
    documents_of,
    matching_documents,
)

_MOST_KEPT = 32
_MOST_ROWS = 1_000_000
"""How many documents all sets that are kept may name together; about 60 bytes each."""


class Filters:
    """What filters leave of corpora. Not thread-safe; every method reads inside a transaction of its caller.

    Args:
        truth: A connection that reads.
    """

    def __init__(self, truth: sqlite3.Connection) -> None:
        self._truth = truth
        self._kept: OrderedDict[tuple[int, bytes], tuple[int, DocumentSet | None]] = OrderedDict()

    def documents(self, corpus: CorpusState, condition: filter_pb2.Filter) -> DocumentSet | None:
        """The documents of a corpus that a filter leaves; None for all of them."""
        key = corpus.row, condition.SerializeToString(deterministic=True)
        version, documents = self._kept.pop(key, (-1, None))
        if version != corpus.version:
            documents = self._resolve(corpus, condition)
        self._kept[key] = corpus.version, documents
        while len(self._kept) > 1 and (len(self._kept) > _MOST_KEPT or self._rows() > _MOST_ROWS):
            self._kept.popitem(last=False)
        return documents

    def _resolve(self, corpus: CorpusState, condition: filter_pb2.Filter) -> DocumentSet | None:
        matching = matching_documents(self._truth, corpus.row, condition)
        total = count_documents(self._truth, corpus.row)
        if len(matching) == total:
            return None
        share = len(matching) / total
        return DocumentSet(
            frozenset(matching), share=share, passages=round(share * corpus.passages), owners=self._owners
        )

    def _owners(self, passages: Sequence[int]) -> dict[int, int]:
        return documents_of(self._truth, passages)

    def _rows(self) -> int:
        return sum(len(documents.rows) for _, documents in self._kept.values() if documents is not None)
