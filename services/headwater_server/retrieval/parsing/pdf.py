"""PDF documents, read by PDFium: fast native code, which belongs in a worker process, lest a broken file crash more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pypdfium2
import pypdfium2.raw as pdfium

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing.errors import DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.parser import SourceFile
from headwater_server.retrieval.parsing.pdf_margins import without_running_lines
from headwater_server.retrieval.parsing.pdf_paragraphs import Heading, read_paragraphs
from headwater_server.retrieval.parsing.pdf_streams import check_streams
from headwater_server.retrieval.parsing.text import choose_title

_MAX_OUTLINE_ENTRIES = 10_000
_MAX_OUTLINE_DEPTH = 8

# What writers of PDFs put into the title when nobody gave one.
_FILE_NAME_TITLE = re.compile(r"\.(?:docx?|rtf|odt|tex|dvi|indd|qxd|pptx?|xlsx?|pdf|html?|txt)$", re.I)
_PROGRAM_PREFIX = re.compile(r"^Microsoft (?:Word|PowerPoint|Excel) - ", re.I)
_NO_TITLE = re.compile(r"^(?:untitled|title|document\d*|no title|slide 1|powerpoint presentation)$", re.I)


def parse_pdf(file: SourceFile, *, limits: ParseLimits) -> ParsedDocument:
    """Read a PDF; a `Parser`. Locations are pages, counted from 1 as a viewer counts them.

    Lines are joined to paragraphs and words to one where a hyphen parted them; lines that every page repeats at its top
    or bottom stand once. Headings are those of the document's outline (bookmarks). A page that cannot be read makes the
    document unreadable: half a document is not passed off as a whole one.
    """
    check_streams(file.content, limits=limits)
    with _opened(file.content) as document:
        limits.check_pages(len(document))
        pages = list(_page_texts(document, limits))
        title = _sensible_title(document.get_metadata_value("Title"))
        headings = _outline(document)
    blocks = tuple(read_paragraphs(without_running_lines(pages), headings))
    if not pages:
        raise DocumentUnreadableError("the PDF has no pages")
    if not blocks:
        where = "only page" if len(pages) == 1 else f"{len(pages)} pages"
        raise DocumentUnreadableError(
            f"the PDF has no text on its {where}: it is probably scanned; run text recognition (OCR) first"
        )
    return ParsedDocument(choose_title(title, name=file.name), file.media_type, "page", blocks)


@contextmanager
def _opened(content: bytes) -> Iterator[pypdfium2.PdfDocument]:
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code in {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}:
            message = "the PDF is encrypted; save it without a password and import it again"
        else:
            message = "the PDF is damaged or incomplete and cannot be opened"
        raise DocumentUnreadableError(message) from error
    with closing(document):
        yield document


def _page_texts(document: pypdfium2.PdfDocument, limits: ParseLimits) -> Iterator[str]:
    characters = 0
    for index in range(len(document)):
        try:
            text = _page_text(document, index)
        except pypdfium2.PdfiumError as error:
            raise DocumentUnreadableError(
                f"page {index + 1} of the PDF's {len(document)} pages is damaged and cannot be read"
            ) from error
        characters += len(text)
        limits.check_characters(characters)
        yield text


def _page_text(document: pypdfium2.PdfDocument, index: int) -> str:
    with closing(document[index]) as page, closing(page.get_textpage()) as text_page:
        return str(text_page.get_text_range())


def _sensible_title(title: str) -> str:
    title = _PROGRAM_PREFIX.sub("", title.strip())
    return "" if _FILE_NAME_TITLE.search(title) or _NO_TITLE.match(title) else title


def _outline(document: pypdfium2.PdfDocument) -> list[Heading]:
    headings: list[Heading] = []
    for entry in document.get_toc(max_depth=_MAX_OUTLINE_DEPTH):
        if len(headings) >= _MAX_OUTLINE_ENTRIES:
            break
        destination = entry.get_dest()
        page = destination.get_index() if destination else None
        if page is not None:
            headings.append(Heading(entry.get_title(), page + 1, entry.level + 1))
    return headings
