"""How a document of the catalog is shown: to a store, and through it to readers."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from headwater.v1 import document_pb2
from headwater_server.retrieval.catalog import Document
from headwater_server.retrieval.store.metadata_values import metadata_from_proto
from headwater_server.retrieval.store.protocol import DocumentRecord

_MAX_TITLE_BYTES = 1024
_MAX_MEDIA_TYPE_BYTES = 256


def file_name(uri: str) -> str:
    """The last part of a URL or a path of any system; empty if there is none."""
    path = uri
    if "://" in uri:
        try:
            path = unquote(urlsplit(uri).path)
        except ValueError:  # such as a broken IPv6 address
            path = ""
    return PurePosixPath(path.replace("\\", "/")).name


def title_of(document: Document) -> str:
    """The title: the caller's, or the content's, or the last part of the uri; at most 1,024 bytes."""
    return cut(document.title or document.found_title or file_name(document.uri), _MAX_TITLE_BYTES)


def media_type_of(document: Document) -> str:
    """The media type: what the content was found to be, or what the caller says; at most 256 bytes."""
    return cut(document.found_media_type or document.media_type, _MAX_MEDIA_TYPE_BYTES)


def record_of(document: Document) -> DocumentRecord:
    """What a store keeps of the document."""
    return DocumentRecord(
        document_id=document.key.document_id,
        title=title_of(document),
        uri=document.uri,
        media_type=media_type_of(document),
        metadata=metadata_from_proto(document_pb2.Document.FromString(document.metadata).metadata),
    )


def cut(text: str, limit: int) -> str:
    """The longest beginning of a text that has at most `limit` bytes of UTF-8 and ends at a code point."""
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")
