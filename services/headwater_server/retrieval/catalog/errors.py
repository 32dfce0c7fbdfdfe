"""What a catalog refuses, and why.

CatalogError
├── CorpusExists        the id is taken
├── CorpusMissing       there is no such corpus
├── CorpusNotEmpty      it still has documents
├── DocumentMissing     there is no such document
├── BeingDeleted        the name is taken by something that is being deleted
├── OtherContent        the document's id is taken by other content
├── RequestIdReused     the request id belongs to another request
├── CatalogFull         the disk, or a quota of it, is exhausted; nothing was written
└── CatalogNewerError   the catalog was written by a newer version of this program
"""

from __future__ import annotations


class CatalogError(Exception):
    """A catalog refused; nothing was changed."""


class CorpusExists(CatalogError):
    """The corpus id is taken."""


class CorpusMissing(CatalogError):
    """There is no such corpus."""


class CorpusNotEmpty(CatalogError):
    """The corpus still has documents.

    Attributes:
        documents: How many.
    """

    def __init__(self, documents: int) -> None:
        super().__init__(f"the corpus has {documents} documents")
        self.documents = documents


class DocumentMissing(CatalogError):
    """There is no such document."""


class BeingDeleted(CatalogError):
    """The name is taken by a corpus or document whose deletion was begun and not finished."""


class OtherContent(CatalogError):
    """The document's id is taken by other content."""


class RequestIdReused(CatalogError):
    """The request id belongs to a request with other content."""


class CatalogFull(CatalogError):
    """The disk, or a quota of it, is exhausted; nothing was written."""


class CatalogNewerError(CatalogError):
    """The catalog was written by a newer version of this program."""
