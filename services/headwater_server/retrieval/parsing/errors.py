"""Why a document could not be read.

    DocumentError
    ├── DocumentUnreadableError     damaged, encrypted, without text
    ├── DocumentUnsupportedError    of a type nobody here reads
    └── DocumentTooLargeError       beyond a limit

The messages are written for the person who gave us the document; they never quote its content. Each class carries the
`reason` under which a caller of the API sees it. All are picklable.
"""

from __future__ import annotations

from typing import ClassVar

from headwater_server.errors import Reason


class DocumentError(Exception):
    """A document cannot be turned into passages, and trying again will not help."""

    reason: ClassVar[Reason] = Reason.DOCUMENT_UNREADABLE


class DocumentUnreadableError(DocumentError):
    """The document is of a supported type, but damaged, encrypted or without text."""

    reason: ClassVar[Reason] = Reason.DOCUMENT_UNREADABLE


class DocumentUnsupportedError(DocumentError):
    """The document's type is unknown, or known and not supported."""

    reason: ClassVar[Reason] = Reason.DOCUMENT_UNSUPPORTED


class DocumentTooLargeError(DocumentError):
    """The document is over a limit of size, pages, characters or expansion."""

    reason: ClassVar[Reason] = Reason.DOCUMENT_TOO_LARGE
