"""Documents made to harm whoever reads them: a constructor each, and `HOSTILE`, which has all that are quick to make.

Each is small, or made in a moment. What becomes of each under the default limits is said by its `Hostile`.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.retrieval.parsing.samples import (
    assemble_pdf,
    make_docx,
    make_epub,
    make_odt,
    make_pptx,
    make_xlsx_of,
    with_file,
    zipped,
)

MIB = 1024 * 1024
NAMES_THAT_LEAD_ELSEWHERE = ("../../headwater-was-here", "/headwater-was-here", r"C:\headwater-was-here", "a/\x00/b")
_W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")

Outcome = Literal["read", "unreadable", "too large", "unsupported", "aborts"]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A hostile document."""

    name: str
    """Its file name."""
    make: Callable[[], bytes]
    outcome: Outcome
    """What becomes of it: its text is `read`, it is refused with a reason, or the native library behind it `aborts` its
    process once the memory that a worker may use is spent."""
    says: str = ""
    """A pattern for the reason given, or for the text read."""


# Archives


def a_letter() -> bytes:
    """A harmless Word document, to build on."""
    return make_docx(lambda document: document.add_paragraph("Dear reader"))


def archive_with_overlapping_files(copies: int = 300) -> bytes:
    """A Word document whose directory lists one file of 1 MiB many times over."""
    return _with_directory(with_file(a_letter(), "word/media/zeros.bin", bytes(MIB)), "word/media/zeros.bin", copies)


def archive_of_a_million_files(count: int = 1_000_000) -> bytes:
    """A Word document whose directory has a million entries of 47 bytes."""
    return _with_directory(with_file(a_letter(), "e", b""), "e", count)


def archive_that_unpacks_to_too_much(size: int = 300 * MIB) -> bytes:
    """A Word document with a file of zeros."""
    out = io.BytesIO(a_letter())
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("word/media/zeros.bin", "w") as file:
        for _ in range(size // MIB):
            file.write(bytes(MIB))
    return out.getvalue()


def archive_that_declares_too_little() -> bytes:
    """A Word document with a file whose declared size is 10 bytes."""
    honest = with_file(a_letter(), "word/media/zeros.bin", bytes(MIB + 1))
    return honest.replace(struct.pack("<L", MIB + 1), struct.pack("<L", 10))


def archive_that_declares_too_much() -> bytes:
    """A Word document with a file whose declared size is 4 GiB."""
    honest = with_file(a_letter(), "word/media/zeros.bin", bytes(MIB + 1))
    return honest.replace(struct.pack("<L", MIB + 1), struct.pack("<L", 0xFFFFFFFE))


def archive_within_archives(depth: int = 6, width: int = 16) -> bytes:
    """A Word document with an archive of archives of archives, which would unpack to 16 TiB; 42.zip is its like."""
    inner = zipped({"0": bytes(MIB)})
    for _ in range(depth):
        inner = zipped({f"{number}.zip": inner for number in range(width)})
    return with_file(a_letter(), "word/embeddings/inner.zip", inner)


def archive_with_names_that_lead_elsewhere() -> bytes:
    """A Word document with files that would be written outside of a folder it were unpacked to."""
    content = a_letter()
    for name in NAMES_THAT_LEAD_ELSEWHERE:
        content = with_file(content, name, b"evil")
    return content


def archive_with_a_symbolic_link() -> bytes:
    """A Word document whose text is a link to a file of the machine."""
    link = zipfile.ZipInfo("word/document.xml")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(a_letter())) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            if entry.filename != link.filename:
                new.writestr(entry, old.read(entry))
        new.writestr(link, "/etc/passwd")
    return out.getvalue()


def archive_with_an_encrypted_file() -> bytes:
    """A Word document whose files are marked as encrypted."""
    content = bytearray(a_letter())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = content.find(signature)
        while position >= 0:
            content[position + offset] |= 1
            position = content.find(signature, position + 4)
    return bytes(content)


def archive_packed_with_lzma() -> bytes:
    """A Word document packed so that its reader would be asked for a dictionary of up to 4 GiB."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(a_letter())) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return out.getvalue()


def encrypted_office_document() -> bytes:
    """What Office saves with a password: a compound file with the encrypted package (the names are all that count)."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "EncryptedPackage".encode("utf-16-le") + bytes(480)


def _with_directory(archive: bytes, name: str, copies: int) -> bytes:
    """Return an archive whose directory has one entry more than once."""
    end = archive.rfind(b"PK\x05\x06")
    _, _, _, _, _, size, start, _ = _END.unpack_from(archive, end)
    position = start
    while True:
        fields = _CENTRAL.unpack_from(archive, position)
        length = _CENTRAL.size + sum(fields[10:13])
        entry = archive[position : position + length]
        if entry[_CENTRAL.size : _CENTRAL.size + fields[10]] == name.encode():
            break
        position += length
    directory = archive[start : start + size] + entry * copies
    count = min(0xFFFF, copies)
    return archive[:start] + directory + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)


# XML


def xml_bomb(levels: int = 12) -> str:
    """A document type declaration whose entity `&bomb;` expands to ten to the power of `levels` words."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, levels))
    return f'<!DOCTYPE d [<!ENTITY l0 "ha ">{laughs}<!ENTITY bomb "{f"&l{levels - 1};" * 10}">]>'


def external_entity() -> str:
    """A document type declaration whose entity `&bomb;` is a file of the machine."""
    return '<!DOCTYPE d [<!ENTITY bomb SYSTEM "file:///etc/passwd">]>'


def word_with_a_document_type(declaration: str) -> bytes:
    """A Word document with entities."""
    body = f'<w:document xmlns:w="{_W}"><w:body><w:p><w:r><w:t>a &bomb; b</w:t></w:r></w:p></w:body></w:document>'
    return with_file(a_letter(), "word/document.xml", f'<?xml version="1.0"?>{declaration}{body}'.encode())


def word_nested_deep(depth: int = 100_000) -> bytes:
    """A Word document whose elements are nested deep."""
    inner = "<w:sdt><w:sdtContent>" * depth + "</w:sdtContent></w:sdt>" * depth
    xml = f'<w:document xmlns:w="{_W}"><w:body>{inner}</w:body></w:document>'
    return with_file(a_letter(), "word/document.xml", xml.encode())


def word_of_empty_elements(count: int = 5_000_000) -> bytes:
    """A Word document of 20 MB of elements of four bytes, each of which needs thirty times that in memory."""
    xml = f'<w:document xmlns:w="{_W}"><w:body>{"<a/>" * count}</w:body></w:document>'
    return with_file(a_letter(), "word/document.xml", xml.encode())


def word_with_macros() -> bytes:
    """A Word document with macros (.docm)."""
    plain = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    return _with_type(
        a_letter(), plain, "application/vnd.ms-word.document.macroEnabled.main+xml", "word/vbaProject.bin"
    )


def _with_type(archive: bytes, old: str, new: str, macros: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        types = opened.read("[Content_Types].xml").decode()
    return with_file(with_file(archive, "[Content_Types].xml", types.replace(old, new).encode()), macros, b"\xd0\xcf")


# Presentations


def presentation_of_nested_groups(depth: int = 80) -> bytes:
    """A presentation with a text in a group in a group; one of python-pptx's groups a level."""

    def build(presentation: Any) -> None:
        slide = presentation.slides.add_slide(presentation.slide_layouts[6])
        shapes = slide.shapes
        for _ in range(depth):
            shapes = shapes.add_group_shape().shapes
        shapes.add_textbox(0, 0, 9, 9).text_frame.text = "Deep down"

    return make_pptx(build)


def presentation_of_one_slide_many_times(count: int = 20_000) -> bytes:
    """A presentation that lists its one slide many times over."""
    content = make_pptx(lambda presentation: presentation.slides.add_slide(presentation.slide_layouts[0]))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        xml = archive.read("ppt/presentation.xml").decode()
    start = xml.index("<p:sldId ")
    slide = xml[start : xml.index("/>", start) + 2]
    return with_file(content, "ppt/presentation.xml", xml.replace(slide, slide * count).encode())


# Workbooks


def workbook_of_two_far_corners() -> bytes:
    """A workbook of 2 KB whose first and last cells span 17 thousand million."""
    return make_xlsx_of(
        '<dimension ref="A1:XFD1048576"/><sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
        '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row></sheetData>'
    )


def workbook_of_one_long_string(cells: int = 100_000) -> bytes:
    """A workbook in which many cells refer to one text of 30,000 characters."""
    row = "<row>" + '<c t="s"><v>0</v></c>' * 1000 + "</row>"
    return make_xlsx_of(f"<sheetData>{row * (cells // 1000)}</sheetData>", strings=["long " * 6000])


def workbook_of_one_endless_row(cells: int = 5_000_000) -> bytes:
    """A workbook with a row of 20 MB."""
    return make_xlsx_of(f"<sheetData><row>{'<c/>' * cells}</row></sheetData>")


def workbook_of_overlapping_merges(count: int = 100_000) -> bytes:
    """A workbook with many cells that all span the same million rows."""
    merges = '<mergeCell ref="A1:XFD1048576"/>' * count
    rows = "".join(f'<row r="{number}"><c r="B{number}"><v>1</v></c></row>' for number in range(1, 2000))
    return make_xlsx_of(f"<sheetData>{rows}</sheetData><mergeCells>{merges}</mergeCells>")


def workbook_with_macros() -> bytes:
    """A workbook with macros (.xlsm)."""
    return with_file(
        make_xlsx_of("<sheetData><row><c><v>7</v></c></row></sheetData>"), "xl/vbaProject.bin", b"\xd0\xcf"
    )


# OpenDocument and EPUB


def opendocument_of_repeated_rows() -> bytes:
    """An OpenDocument text with a table row, a cell and a space that ask to be repeated a thousand million times."""
    times = 'number-{}-repeated="1000000000"'
    cell = f'<table:table-cell table:{times.format("columns")}><text:p>a<text:s text:c="1000000000"/>b</text:p>'
    row = f"<table:table-row table:{times.format('rows')}>{cell}</table:table-cell></table:table-row>"
    return make_odt(f"<table:table>{row}</table:table>")


def opendocument_encrypted(*, declared: bool = True) -> bytes:
    """An OpenDocument text that says that its content is encrypted; old ones leave the prefix to a DTD."""
    namespace = ' xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"' if declared else ""
    manifest = (
        f"<manifest:manifest{namespace}><manifest:file-entry "
        'manifest:full-path="content.xml"><manifest:encryption-data/></manifest:file-entry></manifest:manifest>'
    )
    return with_file(with_file(make_odt(""), "META-INF/manifest.xml", manifest.encode()), "content.xml", b"\x8f\x01")


def opendocument_with_a_document_type(declaration: str) -> bytes:
    """An OpenDocument text with entities."""
    content = make_odt("<text:p>a &bomb; b</text:p>")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        xml = archive.read("content.xml").decode()
    return with_file(content, "content.xml", (declaration + xml).encode())


def opendocument_nested_deep(depth: int = 100_000) -> bytes:
    """An OpenDocument text whose sections are nested deep."""
    return make_odt("<text:section>" * depth + "<text:p>x</text:p>" + "</text:section>" * depth)


def epub_protected() -> bytes:
    """A book with a chapter that is encrypted, as digital rights management does."""
    encryption = (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
        'xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:EncryptionMethod '
        'Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/><enc:CipherData><enc:CipherReference '
        'URI="OEBPS/a.xhtml"/></enc:CipherData></enc:EncryptedData></encryption>'
    )
    return with_file(make_epub({"a.xhtml": "<p>x</p>"}), "META-INF/encryption.xml", encryption.encode())


def epub_that_repeats_a_chapter(times: int = 100_000) -> bytes:
    """A book whose spine refers to one chapter many times over."""
    content = make_epub({"a.xhtml": "<p>Once upon a time</p>"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        xml = archive.read("OEBPS/book.opf").decode()
    reference = '<itemref idref="a.xhtml"/>'
    return with_file(content, "OEBPS/book.opf", xml.replace(reference, reference * times).encode())


def epub_nested_deep(depth: int = 100_000) -> bytes:
    """A book with a chapter whose elements are nested deep."""
    return make_epub({"a.xhtml": "<div>" * depth + "Deep down" + "</div>" * depth})


def epub_with_a_document_type(declaration: str) -> bytes:
    """A book with entities in its package and its chapter."""
    content = make_epub({"a.xhtml": "<p>x</p>"}, title="a &bomb; b")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        package = archive.read("OEBPS/book.opf").decode()
    content = with_file(content, "OEBPS/book.opf", (declaration + package).encode())
    return with_file(content, "OEBPS/a.xhtml", f"{declaration}<html><body><p>a &bomb; b</p></body></html>".encode())


# PDFs


def pdf_of_one_page(contents: bytes, resources: bytes = b"", more: Sequence[bytes] = ()) -> bytes:
    """A PDF with a page; its contents are object 5, a font is `/F1`, and `more` objects are numbered from 6."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 5 0 R/Resources<</Font<</F1 3 0 R>>%s>>>>"
    return assemble_pdf([
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[4 0 R]/Count 1>>",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        page % resources,
        contents,
        *more,
    ])  # fmt: skip


def pdf_stream(data: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<</Length %d%s>>stream\n%s\nendstream" % (len(data), entries, data)


def deflated(block: bytes, size: int) -> bytes:
    """So many bytes of repetitions of a block, packed."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()


def pdf_that_unpacks_to_too_much(size: int = 64 * MIB) -> bytes:
    """A PDF whose page is 64 MiB of spaces."""
    return pdf_of_one_page(pdf_stream(deflated(b" " * MIB, size), b"/Filter/FlateDecode"))


def pdf_packed_twice(size: int = 64 * MIB) -> bytes:
    """The same in a few hundred bytes."""
    packed = zlib.compress(deflated(b" " * MIB, size), 9)
    return pdf_of_one_page(pdf_stream(packed, b"/Filter[/FlateDecode/FlateDecode]"))


def pdf_of_many_bombs(count: int = 100) -> bytes:
    """A PDF whose page is many streams, each of which unpacks to 4 MiB."""
    bomb = pdf_stream(deflated(b" " * MIB, 4 * MIB), b"/Filter/FlateDecode")
    return pdf_of_one_page(bomb, more=[bomb] * count)


def pdf_with_a_giant_object_stream(size: int = 64 * MIB) -> bytes:
    """A PDF with a stream that says it holds a hundred million objects."""
    entries = b"/Type/ObjStm/N 100000000/First 10/Filter/FlateDecode"
    return pdf_of_one_page(pdf_stream(b""), more=[pdf_stream(deflated(b"1 " * MIB, size), entries)])


def pdf_whose_pages_are_their_own_parent() -> bytes:
    """A PDF whose tree of pages is a loop."""
    return assemble_pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 100>>"])


def pdf_of_a_million_pages(count: int = 1_000_000) -> bytes:
    """A PDF that has a page a million times."""
    kids = b"3 0 R " * count
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]>>"
    return assemble_pdf([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count), page])


def pdf_whose_pages_double(levels: int = 40) -> bytes:
    """A PDF whose tree of pages has each branch twice, to two to the power of `levels` pages."""
    branches = [b"<</Type/Pages/Kids[%d 0 R %d 0 R]/Count 9999>>" % (n, n) for n in range(3, levels + 3)]
    return assemble_pdf([b"<</Type/Catalog/Pages 2 0 R>>", *branches, b"<</Type/Page/MediaBox[0 0 612 792]>>"])


def pdf_nested_deep(depth: int = 1_000_000) -> bytes:
    """A PDF with an array in an array in an array."""
    return pdf_of_one_page(pdf_stream(b""), b"/X " + b"[" * depth + b"]" * depth)


def pdf_with_deep_graphics(depth: int = 500_000) -> bytes:
    """A PDF whose page saves its state over and over before it says something."""
    return pdf_of_one_page(pdf_stream(b"q " * depth + b"BT /F1 9 Tf 9 9 Td (Deep down) Tj ET " + b"Q " * depth))


def pdf_with_a_huge_image(side: int = 100_000) -> bytes:
    """A PDF with an image of 30 GB of pixels, and nothing else."""
    entries = (
        b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/ColorSpace/DeviceRGB/Filter/FlateDecode"
        % (side, side)
    )
    image = pdf_stream(deflated(bytes(MIB), 64 * MIB), entries)
    return pdf_of_one_page(pdf_stream(b"/X Do"), b"/XObject<</X 6 0 R>>", [image])


def pdf_whose_outline_is_a_loop() -> bytes:
    """A PDF whose bookmarks are each other's children."""
    entries = [b"<</Title(x)/First %d 0 R/Next %d 0 R/Dest[4 0 R/Fit]>>" % (n, n) for n in (7, 6)]
    content = pdf_of_one_page(pdf_stream(b"BT /F1 9 Tf 9 9 Td (Round and round) Tj ET"), more=entries)
    return content.replace(b"/Pages 2 0 R>>", b"/Pages 2 0 R/Outlines<</First 6 0 R/Last 6 0 R/Count 2>>>>", 1)


def pdf_whose_forms_double(levels: int = 40) -> bytes:
    """A PDF with a drawing that has another twice, which has another twice: more than any memory holds."""
    entries = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>"
    forms = [pdf_stream(b"/X Do /X Do", entries % (7 + level)) for level in range(levels)]
    last = pdf_stream(b"0 0 m 1 1 l S", b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]")
    return pdf_of_one_page(pdf_stream(b"/X Do"), b"/XObject<</X 6 0 R>>", [*forms, last])


HOSTILE: Sequence[Hostile] = (
    Hostile("overlapping.docx", archive_with_overlapping_files, "too large", "unpacks to"),
    Hostile("million.docx", archive_of_a_million_files, "too large", "files; the limit"),
    Hostile("expanding.docx", archive_that_unpacks_to_too_much, "too large", "unpacks to"),
    Hostile("small-lie.docx", archive_that_declares_too_little, "unreadable", "cannot be unpacked"),
    Hostile("big-lie.docx", archive_that_declares_too_much, "too large", "unpacks to"),
    Hostile("matryoshka.docx", archive_within_archives, "read", "Dear reader"),
    Hostile("elsewhere.docx", archive_with_names_that_lead_elsewhere, "read", "Dear reader"),
    Hostile("link.docx", archive_with_a_symbolic_link, "unreadable", "damaged"),
    Hostile("locked.docx", archive_with_an_encrypted_file, "unreadable", "encrypted"),
    Hostile("lzma.docx", archive_packed_with_lzma, "unreadable", "compressed in a way"),
    Hostile("password.docx", encrypted_office_document, "unreadable", "encrypted"),
    Hostile("laughs.docx", lambda: word_with_a_document_type(xml_bomb()), "unreadable", "entities"),
    Hostile("outside.docx", lambda: word_with_a_document_type(external_entity()), "unreadable", "entities"),
    Hostile("deep.docx", word_nested_deep, "unreadable", "damaged"),
    Hostile("elements.docx", word_of_empty_elements, "too large", "elements"),
    Hostile("macros.docm", word_with_macros, "read", "Dear reader"),
    Hostile("groups.pptx", presentation_of_nested_groups, "read", "Deep down"),
    Hostile("slides.pptx", presentation_of_one_slide_many_times, "too large", "slides"),
    Hostile("corners.xlsx", workbook_of_two_far_corners, "read", "1"),
    Hostile("string.xlsx", workbook_of_one_long_string, "too large", "characters"),
    Hostile("row.xlsx", workbook_of_one_endless_row, "too large", "in one piece"),
    Hostile("merges.xlsx", workbook_of_overlapping_merges, "read", "1"),
    Hostile("macros.xlsm", workbook_with_macros, "read", "7"),
    Hostile("rows.odt", opendocument_of_repeated_rows, "read", "a b"),
    Hostile("locked.odt", opendocument_encrypted, "unreadable", "encrypted"),
    Hostile("laughs.odt", lambda: opendocument_with_a_document_type(xml_bomb()), "unreadable", "entities"),
    Hostile("deep.odt", opendocument_nested_deep, "unreadable", "well-formed"),
    Hostile("protected.epub", epub_protected, "unreadable", "DRM"),
    Hostile("again.epub", epub_that_repeats_a_chapter, "read", "Once upon a time"),
    Hostile("deep.epub", epub_nested_deep, "read", "Deep down"),
    Hostile("laughs.epub", lambda: epub_with_a_document_type(xml_bomb()), "unreadable", "well-formed"),
    Hostile("outside.epub", lambda: epub_with_a_document_type(external_entity()), "read", "a .* b"),
    Hostile("spaces.pdf", pdf_that_unpacks_to_too_much, "too large", "unpacks to"),
    Hostile("twice.pdf", pdf_packed_twice, "too large", "packed twice"),
    Hostile("bombs.pdf", pdf_of_many_bombs, "too large", "unpacks to"),
    Hostile("objects.pdf", pdf_with_a_giant_object_stream, "too large", "unpacks to"),
    Hostile("loop.pdf", pdf_whose_pages_are_their_own_parent, "unreadable", "damaged"),
    Hostile("million.pdf", pdf_of_a_million_pages, "too large", "pages"),
    Hostile("doubling.pdf", pdf_whose_pages_double, "unreadable", "no text"),
    Hostile("deep.pdf", pdf_nested_deep, "unreadable", "no text"),
    Hostile("graphics.pdf", pdf_with_deep_graphics, "read", "Deep down"),
    Hostile("image.pdf", pdf_with_a_huge_image, "unreadable", "OCR"),
    Hostile("outline.pdf", pdf_whose_outline_is_a_loop, "read", "Round and round"),
    Hostile("forms.pdf", pdf_whose_forms_double, "aborts"),
)
"""All of them, each with what becomes of it under the default limits."""
