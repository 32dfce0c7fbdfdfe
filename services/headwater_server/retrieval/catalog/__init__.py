"""The catalog: which corpora and documents there are, the documents' bytes, and the jobs that are left to do."""

from __future__ import annotations

from headwater_server.retrieval.catalog.errors import (
    BeingDeleted,
    CatalogError,
    CatalogFull,
    CatalogNewerError,
    CorpusExists,
    CorpusMissing,
    CorpusNotEmpty,
    DocumentMissing,
    OtherContent,
    RequestIdReused,
)
from headwater_server.retrieval.catalog.protocol import Catalog, StagedContent
from headwater_server.retrieval.catalog.records import (
    Accepted,
    ContentKey,
    Corpus,
    Document,
    DocumentChanges,
    DocumentKey,
    DocumentState,
    RequestMark,
    Submission,
    Unfinished,
)
from headwater_server.retrieval.catalog.sqlite import SqliteCatalog

__all__ = [
    "Accepted",
    "BeingDeleted",
    "Catalog",
    "CatalogError",
    "CatalogFull",
    "CatalogNewerError",
    "ContentKey",
    "Corpus",
    "CorpusExists",
    "CorpusMissing",
    "CorpusNotEmpty",
    "Document",
    "DocumentChanges",
    "DocumentKey",
    "DocumentMissing",
    "DocumentState",
    "OtherContent",
    "RequestIdReused",
    "RequestMark",
    "SqliteCatalog",
    "StagedContent",
    "Submission",
    "Unfinished",
]
