"""The table of the formats that can be read: media types, file endings, and which parser reads them.

Everything else follows from it: what is detected, what is supported, and what the messages say is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headwater_server.retrieval.parsing.languages import LANGUAGES


@dataclass(frozen=True, slots=True)
class Format:
    """A format that can be read."""

    media_type: str
    name: str
    """What people call it; formats of one name are one in the messages."""
    suffixes: tuple[str, ...]
    """Endings of file names, in lower case, the usual one first."""
    parser: str
    """`module:function` within this package, imported when first needed."""
    aliases: tuple[str, ...] = ()
    """Other media types that software declares for it."""
    is_text: bool = True
    """Whether its files look like any other text. One that does not is known by its first bytes."""


PLAIN = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"
PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"
EPUB = "application/epub+zip"
RTF = "application/rtf"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
XML = "application/xml"
NOTEBOOK = "application/x-ipynb+json"
EMAIL = "message/rfc822"

_CODE = "source code"
_TEXT_PARSER = "marked_up_text:parse_marked_up_text"

FORMATS: tuple[Format, ...] = (
    Format(PLAIN, "plain text", (".txt", ".text", ".log"), "plain_text:parse_plain_text"),
    Format(
        MARKDOWN, "Markdown", (".md", ".markdown", ".mdown", ".mkd"), "markdown:parse_markdown", ("text/x-markdown",)
    ),
    Format(HTML, "HTML", (".html", ".htm", ".xhtml"), "html_page:parse_html", ("application/xhtml+xml",)),
    Format(PDF, "PDF", (".pdf",), "pdf:parse_pdf", ("application/x-pdf",), is_text=False),
    Format(
        DOCX,
        "Word",
        (".docx", ".docm", ".dotx", ".dotm"),
        "word:parse_word",
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
            "application/vnd.ms-word.document.macroenabled.12",
            "application/vnd.ms-word.template.macroenabled.12",
        ),
        is_text=False,
    ),
    Format(
        PPTX,
        "PowerPoint",
        (".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm"),
        "powerpoint:parse_powerpoint",
        (
            "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
            "application/vnd.openxmlformats-officedocument.presentationml.template",
            "application/vnd.ms-powerpoint.presentation.macroenabled.12",
            "application/vnd.ms-powerpoint.slideshow.macroenabled.12",
            "application/vnd.ms-powerpoint.template.macroenabled.12",
        ),
        is_text=False,
    ),
    Format(
        XLSX,
        "Excel",
        (".xlsx", ".xlsm", ".xltx", ".xltm"),
        "workbook:parse_workbook",
        (
            "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
            "application/vnd.ms-excel.sheet.macroenabled.12",
            "application/vnd.ms-excel.template.macroenabled.12",
        ),
        is_text=False,
    ),
    Format(
        ODT,
        "OpenDocument text",
        (".odt", ".ott"),
        "opendocument:parse_opendocument",
        ("application/vnd.oasis.opendocument.text-template",),
        is_text=False,
    ),
    Format(EPUB, "EPUB", (".epub",), "epub:parse_epub", is_text=False),
    Format(RTF, "RTF", (".rtf",), "rich_text:parse_rich_text", ("text/rtf", "application/x-rtf"), is_text=False),
    Format(CSV, "CSV", (".csv",), "delimited:parse_delimited", ("application/csv", "text/x-csv")),
    Format(TSV, "TSV", (".tsv", ".tab"), "delimited:parse_delimited", ("text/tsv",)),
    Format(JSON, "JSON", (".json", ".geojson", ".jsonld"), "json_text:parse_json", ("text/json",)),
    Format(
        JSON_LINES,
        "JSON Lines",
        (".jsonl", ".ndjson"),
        "json_text:parse_json_lines",
        ("application/jsonl", "application/x-jsonlines", "application/json-lines", "application/ndjson"),
    ),
    Format(XML, "XML", (".xml", ".rss", ".atom", ".dbk"), "xml_text:parse_xml", ("text/xml",)),
    Format(NOTEBOOK, "Jupyter notebooks", (".ipynb",), "notebook:parse_notebook"),
    Format(EMAIL, "e-mail", (".eml",), "email_message:parse_email"),
    Format("text/x-rst", "reStructuredText", (".rst", ".rest"), _TEXT_PARSER, ("text/prs.fallenstein.rst",)),
    Format("text/asciidoc", "AsciiDoc", (".adoc", ".asciidoc"), _TEXT_PARSER, ("text/x-asciidoc",)),
    Format("text/x-tex", "LaTeX", (".tex", ".ltx"), _TEXT_PARSER, ("application/x-tex", "text/x-latex")),
    Format("text/org", "Org", (".org",), _TEXT_PARSER, ("text/x-org",)),
    *(
        Format(language.media_type, _CODE, language.suffixes, "source_code:parse_source_code", language.aliases)
        for language in LANGUAGES
    ),
)

BY_MEDIA_TYPE = {each.media_type: each for each in FORMATS}
BY_SUFFIX = {suffix: each for each in FORMATS for suffix in each.suffixes}
ALIASES = {alias: each.media_type for each in FORMATS for alias in each.aliases}


def supported_media_types() -> tuple[str, ...]:
    """Return the media types that can be read, sorted."""
    return tuple(sorted(BY_MEDIA_TYPE))


def readable_suffixes() -> frozenset[str]:
    """Return the endings of file names that can be read, in lower case, with their dots."""
    return frozenset(BY_SUFFIX)


def what_is_supported() -> str:
    """Return the end of a refusal: "supported are plain text (.txt), …"."""
    *others, last = _names()
    return f"supported are {', '.join(others)} and {last}"


def _names() -> Iterator[str]:
    examples: dict[str, str] = {}
    for each in FORMATS:
        examples.setdefault(each.name, each.suffixes[0])
    for name, suffix in examples.items():
        yield f"{name} ({suffix}, …)" if name == _CODE else f"{name} ({suffix})"
