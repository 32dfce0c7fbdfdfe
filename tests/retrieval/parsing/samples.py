"""Documents made for the tests: PDFs and XML packages written by hand, Word files and others by libraries."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import docx
import pptx
import xlsxwriter
from docx.document import Document as WordDocument

_PASSWORD_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def make_pdf(
    pages: Sequence[Sequence[str]],
    *,
    title: str = "",
    outline: Sequence[tuple[str, int]] = (),
    password: str = "",
) -> bytes:
    """Write a PDF of these lines of ASCII a page, its outline of (title, page) entries, encrypted if asked to be."""
    objects = [b"<</Type/Catalog/Pages 2 0 R/Outlines 4 0 R>>", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    first_page = 4 + len(outline) + 1
    kids = b" ".join(b"%d 0 R" % (first_page + 2 * i) for i in range(len(pages)))
    objects[1] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(pages))
    last = 4 + len(outline)
    objects.append(b"<</First 5 0 R/Last %d 0 R/Count %d>>" % (last, len(outline)) if outline else b"<<>>")
    for number, (entry, page) in enumerate(outline, start=5):
        following = b"/Next %d 0 R" % (number + 1) if number < last else b""
        target = first_page + 2 * (page - 1)
        objects.append(b"<</Title(%s)/Parent 4 0 R/Dest[%d 0 R/Fit]%s>>" % (entry.encode(), target, following))
    for i, lines in enumerate(pages):
        content = b"BT /F1 10 Tf 12 TL 40 780 Td %s ET" % b" ".join(b"(%s) Tj T*" % _escaped(line) for line in lines)
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources<</Font<</F1 3 0 R>>>>>>"
            % (first_page + 2 * i + 1)
        )
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(content), content))
    trailer = b""
    if title:
        objects.append(b"<</Title(%s)>>" % _escaped(title))
        trailer = b"/Info %d 0 R" % len(objects)
    return assemble_pdf(objects, trailer + (_encryption(password) if password else b""))


def _escaped(text: str) -> bytes:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)").encode("ascii")


def assemble_pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """Return a PDF of these objects, numbered from 1, of which the first is the catalog."""
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


def _encryption(password: str) -> bytes:
    """Return the trailer's entries of the standard security handler, revision 2 (PDF 32000-1, 7.6.3)."""
    padded = (password.encode() + _PASSWORD_PADDING)[:32]
    permissions = b"\xfc\xff\xff\xff"
    identity = b"0123456789abcdef"
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)  # noqa: S324  the format's algorithm
    key = hashlib.md5(padded + owner + permissions + identity).digest()[:5]  # noqa: S324  the format's algorithm
    user = _rc4(key, _PASSWORD_PADDING)
    fields = (owner.hex().encode(), user.hex().encode(), identity.hex().encode(), identity.hex().encode())
    return b"/Encrypt<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -4>>/ID[<%s><%s>]" % fields


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def make_docx(build: Callable[[WordDocument], object]) -> bytes:
    """Return the Word document that `build` makes of python-docx's default one."""
    document = docx.Document()
    build(document)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def with_file(archive: bytes, name: str, data: bytes) -> bytes:
    """Return a copy of a ZIP archive in which one file is added or replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry, old.read(entry))
        new.writestr(name, data)
    return out.getvalue()


def make_pptx(build: Callable[[Any], object]) -> bytes:
    """Return the presentation that `build` makes of python-pptx's default one."""
    presentation = pptx.Presentation()
    build(presentation)
    out = io.BytesIO()
    presentation.save(out)
    return out.getvalue()


def make_xlsx(build: Callable[[xlsxwriter.Workbook], object]) -> bytes:
    """Return the workbook that `build` makes."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as workbook:
        build(workbook)
    return out.getvalue()


def make_xlsx_of(sheet: str, *, strings: Sequence[str] = (), styles: str = "", workbook: str = "") -> bytes:
    """Return a workbook of one sheet, `Sheet1`, written in XML: what stands in its `worksheet`."""
    namespace = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    related = "".join(
        f'<Relationship Id="r{number}" Type="{office}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(
            [("worksheet", "sheet1.xml"), ("sharedStrings", "strings.xml"), ("styles", "styles.xml")], start=1
        )
    )
    items = "".join(f"<si><t>{text}</t></si>" for text in strings)
    return zipped({
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1" Type="{office}/officeDocument" '
        'Target="/xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{namespace}" xmlns:r="{office}">{workbook}<sheets>'
        '<sheet name="Sheet1" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}">{related}</Relationships>',
        "xl/sheet1.xml": f'<worksheet xmlns="{namespace}">{sheet}</worksheet>',
        "xl/strings.xml": f'<sst xmlns="{namespace}">{items}</sst>',
        "xl/styles.xml": f'<styleSheet xmlns="{namespace}">{styles}</styleSheet>',
    })  # fmt: skip


_ODF_NAMESPACES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{part}:1.0"'
    for name, part in [
        ("office", "office"), ("text", "text"), ("table", "table"), ("style", "style"), ("draw", "drawing")
    ]
)  # fmt: skip


def make_odt(body: str, *, styles: str = "", title: str = "") -> bytes:
    """Return an OpenDocument text of what stands in its `office:text`."""
    return zipped({
        "mimetype": "application/vnd.oasis.opendocument.text",
        "content.xml": f"<office:document-content {_ODF_NAMESPACES}><office:automatic-styles>{styles}"
        f"</office:automatic-styles><office:body><office:text>{body}</office:text></office:body>"
        "</office:document-content>",
        "meta.xml": f'<office:document-meta {_ODF_NAMESPACES} xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<office:meta><dc:title>{title}</dc:title></office:meta></office:document-meta>",
        "META-INF/manifest.xml": '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:'
        '1.0"/>',
    })  # fmt: skip


def make_epub(chapters: Mapping[str, str], *, title: str = "", navigation: str = "", extra: str = "") -> bytes:
    """Return a book of these bodies of XHTML, by file name, in the order of its spine.

    Args:
        chapters: The bodies.
        title: The book's title.
        navigation: What stands in the list of its table of contents (`ol`); empty: it has none.
        extra: XML to put at the end of the manifest.
    """
    items = "".join(f'<item id="{n}" href="{n}" media-type="application/xhtml+xml"/>' for n in chapters)
    spine = "".join(f'<itemref idref="{n}"/>' for n in chapters)
    if navigation:
        items += '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        spine = f'<itemref idref="nav"/>{spine}'
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
        "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata><dc:title>{title}</dc:title></metadata><manifest>{items}{extra}</manifest><spine>{spine}</spine>"
        "</package>",
    }
    if navigation:
        files["OEBPS/nav.xhtml"] = (
            '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><body>'
            f'<nav epub:type="toc"><ol>{navigation}</ol></nav></body></html>'
        )
    head = (
        '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><head><title/>'
    )
    bodies = {f"OEBPS/{name}": f"{head}</head><body>{body}</body></html>" for name, body in chapters.items()}
    return zipped(files | bodies)


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """Return a ZIP archive of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()
