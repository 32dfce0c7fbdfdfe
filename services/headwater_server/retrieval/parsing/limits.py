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
    """Pages of a PDF, slides of a presentation, sheets of a workbook."""
    max_characters: int = 20_000_000
    """Characters of text taken from the document."""
    max_expanded_bytes: int = 256 * 1024 * 1024
    """Size of all files within an archive (such as DOCX), unpacked."""
    max_archive_files: int = 10_000
    """Number of files within an archive."""
    max_stream_bytes: int = 48 * 1024 * 1024
    """Size of the content of a page of a PDF, unpacked: PDFium needs up to forty times as much memory to read it."""
    max_markup: int = 4_000_000
    """Number of elements and attributes of XML held in memory at once: each costs up to 250 bytes."""

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

    def check_pages(self, pages: int, *, name: str = "pages") -> None:
        """Raise `DocumentTooLargeError` for more `pages` (or what `name` says they are) than the limit."""
        if pages > self.max_pages:
            raise DocumentTooLargeError(f"the document has {pages:,} {name}; the limit is {self.max_pages:,}")

    def check_characters(self, characters: int) -> None:
        """Raise `DocumentTooLargeError` for more `characters` of text than the limit."""
        if characters > self.max_characters:
            raise DocumentTooLargeError(f"the document's text is over the limit of {self.max_characters:,} characters")

    def check_markup(self, markup: int) -> None:
        """Raise `DocumentTooLargeError` for more elements and attributes of XML than the limit."""
        if markup > self.max_markup:
            raise DocumentTooLargeError(
                f"the document has over {self.max_markup:,} elements and attributes of XML, which is the limit"
            )


class TextBudget:
    """Counts the characters taken from a document, so that the limit is noticed before memory is spent."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._characters = 0

    def spend(self, characters: int) -> None:
        """Count `characters` more; raise `DocumentTooLargeError` if that is over the limit."""
        self._characters += characters
        self._limits.check_characters(self._characters)
