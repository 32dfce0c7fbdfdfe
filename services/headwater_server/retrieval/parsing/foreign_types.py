"""Files that are not documents, known by their first bytes."""

from __future__ import annotations

_KINDS = {
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"II*\x00": "a TIFF image",
    b"MM\x00*": "a TIFF image",
    b"%!PS": "a PostScript file",
    b"ID3": "an MP3 recording",
    b"OggS": "an Ogg recording",
    b"fLaC": "a FLAC recording",
    b"\x1aE\xdf\xa3": "a Matroska film",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
    b"\xca\xfe\xba\xbe": "a program",
    b"\x00asm": "a program",
    b"!<arch>\n": "a program library",
    b"SQLite format 3\x00": "a database",
    b"PAR1": "a Parquet table",
    b"ARROW1\x00": "an Arrow table",
    b"wOFF": "a font",
    b"wOF2": "a font",
}
_RIFF_KINDS = {b"WEBP": "a WebP image", b"WAVE": "a WAVE recording", b"AVI ": "a film"}


def foreign_kind(head: bytes) -> str:
    """Return what a file is that begins with these bytes and holds no text ("a PNG image"); empty if unknown."""
    if head.startswith(b"RIFF"):
        return _RIFF_KINDS.get(head[8:12], "")
    if head[4:8] == b"ftyp" and head.startswith(b"\x00\x00"):
        return "a film or an image (MPEG-4, HEIC)"
    if head.startswith(b"MZ") and b"\x00" in head:
        return "a program"
    if head[257:262] == b"ustar":
        return "a tar archive"
    return next((kind for signature, kind in _KINDS.items() if head.startswith(signature)), "")
