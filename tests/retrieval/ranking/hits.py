"""Hits for the tests of what becomes of them."""

from __future__ import annotations

from headwater_server.retrieval.model import Location
from headwater_server.retrieval.store.protocol import CorpusKey, DocumentRecord, Hit

CORPUS = CorpusKey("tenant", "corpus")


def hit(
    text: str,
    *,
    document: str = "d",
    ordinal: int = 0,
    heading: str = "",
    location: Location | None = None,
    score: float = 1.0,
    cosine: float | None = None,
) -> Hit:
    record = DocumentRecord(document, "", "", "text/plain")
    return Hit(CORPUS, record, f"p{ordinal}", ordinal, text, heading, location, score, cosine)
