"""From documents to passages."""

from __future__ import annotations

from headwater_server.retrieval.splitting.documents import parse_and_split
from headwater_server.retrieval.splitting.settings import MAX_PASSAGE_BYTES, SplitSettings
from headwater_server.retrieval.splitting.splitter import split

__all__ = ["MAX_PASSAGE_BYTES", "SplitSettings", "parse_and_split", "split"]
