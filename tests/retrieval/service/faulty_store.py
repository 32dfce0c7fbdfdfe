"""The embedded store with failures on order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.protocol import (
    CorpusKey,
    DocumentRecord,
    PassageRecord,
    Query,
    SearchResult,
    StoreError,
)


class FaultyStore(EmbeddedStore):
    """The real one, but that the next writes raise what `faults` holds, first come first served."""

    faults: ClassVar[list[StoreError]] = []

    async def replace_document(
        self, corpus: CorpusKey, document: DocumentRecord, passages: Sequence[PassageRecord]
    ) -> int:
        self._fail()
        return await super().replace_document(corpus, document, passages)

    async def delete_document(self, corpus: CorpusKey, document_id: str) -> int:
        self._fail()
        return await super().delete_document(corpus, document_id)

    async def delete_corpus(self, corpus: CorpusKey) -> int:
        self._fail()
        return await super().delete_corpus(corpus)

    async def update_document(self, corpus: CorpusKey, document: DocumentRecord) -> int:
        self._fail()
        return await super().update_document(corpus, document)

    async def search(self, query: Query) -> SearchResult:
        self._fail()
        return await super().search(query)

    def _fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)
