"""What a document may cost."""

from __future__ import annotations

from dataclasses import dataclass

from headwater_server.retrieval.parsing.errors import DocumentTooLargeError


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """Bounds on one document; over any of them is a `DocumentTooLargeError`."""

    max_bytes: int = 64 * 1024 * 1024
    """Size of the file."""
    max_pages: int = 10_000
    """Pages of a PDF."""
    max_characters: int = 20_000_000
    """Characters of text taken from the document."""
    max_expanded_bytes: int = 256 * 1024 * 1024
    """Size of all files within an archive (such as DOCX), unpacked."""
    max_archive_files: int = 10_000
    """Number of files within an archive."""

    def __post_init__(self) -> None:
        """Refuse limits that nothing could meet.

        Raises:
            ValueError: A limit is below 1.
        """
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")

    def check_bytes(self, size: int) -> None:
        """Raise `DocumentTooLargeError` for a file of `size` bytes over the limit."""
        if size > self.max_bytes:
            raise DocumentTooLargeError(f"the file has {size:,} bytes; the limit is {self.max_bytes:,}")

    def check_pages(self, pages: int) -> None:
        """Raise `DocumentTooLargeError` for more `pages` than the limit."""
        if pages > self.max_pages:
            raise DocumentTooLargeError(f"the document has {pages:,} pages; the limit is {self.max_pages:,}")

    def check_characters(self, characters: int) -> None:
        """Raise `DocumentTooLargeError` for more `characters` of text than the limit."""
        if characters > self.max_characters:
            raise DocumentTooLargeError(f"the document's text is over the limit of {self.max_characters:,} characters")
