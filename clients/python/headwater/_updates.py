"""Requests for updates, shared by the sync and the async resources."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import field_mask_pb2

from headwater import _checks
from headwater._checks import making, text, whole
from headwater._exceptions import ArgumentError
from headwater._names import corpus_name, document_name
from headwater._values import MetadataInput, to_metadata
from headwater.v1 import document_pb2, retrieval_service_pb2


def create_corpus_request(
    corpus_id: str | None,
    *,
    display_name: str,
    labels: Mapping[str, str] | None,
    embedder: str = "",
    language: str = "",
    max_characters: int | None = None,
    overlap_characters: int | None = None,
) -> retrieval_service_pb2.CreateCorpusRequest:
    """Makes the request that creates a corpus.

    Raises:
        ArgumentError: An argument is not as it must be.
    """
    with making("a new corpus"):
        return retrieval_service_pb2.CreateCorpusRequest(
            corpus_id=text("corpus_id", corpus_id),
            corpus=document_pb2.Corpus(
                display_name=text("display_name", display_name),
                labels=_checks.labels(labels),
                embedder=text("embedder", embedder),
                language=text("language", language),
                splitting=_splitting(max_characters, overlap_characters),
            ),
        )


def update_corpus_request(
    corpus: str,
    *,
    display_name: str | None,
    labels: Mapping[str, str] | None,
    language: str | None = None,
    max_characters: int | None = None,
    overlap_characters: int | None = None,
) -> retrieval_service_pb2.UpdateCorpusRequest:
    """Makes the request that changes what is given, and nothing else.

    Raises:
        ArgumentError: Nothing is given, or the name is malformed.
    """
    with making("a corpus's update"):
        splitting = _splitting(max_characters, overlap_characters)
        return retrieval_service_pb2.UpdateCorpusRequest(
            corpus=document_pb2.Corpus(
                name=corpus_name(corpus),
                display_name=text("display_name", display_name),
                labels=_checks.labels(labels),
                language=text("language", language),
                splitting=splitting,
            ),
            update_mask=mask(display_name=display_name, labels=labels, language=language, splitting=splitting),
        )


def reembed_corpus_request(corpus: str, *, embedder: str) -> retrieval_service_pb2.ReembedCorpusRequest:
    """Makes the request that has a corpus's vectors made anew.

    Raises:
        ArgumentError: An argument is not as it must be.
    """
    with making("a corpus's re-embedding"):
        return retrieval_service_pb2.ReembedCorpusRequest(name=corpus_name(corpus), embedder=text("embedder", embedder))


def _splitting(max_characters: int | None, overlap_characters: int | None) -> document_pb2.SplittingOptions | None:
    if max_characters is None and overlap_characters is None:
        return None
    return document_pb2.SplittingOptions(
        max_characters=whole("max_characters", max_characters, 0, 2**31 - 1) or 0,
        overlap_characters=whole("overlap_characters", overlap_characters, 0, 2**31 - 1),
    )


def update_document_request(
    document: str,
    *,
    corpus: str | None,
    title: str | None,
    uri: str | None,
    metadata: Mapping[str, MetadataInput] | None,
) -> retrieval_service_pb2.UpdateDocumentRequest:
    """Makes the request that changes what is given, and nothing else.

    Raises:
        ArgumentError: Nothing is given, or a name or a metadata value is not as it must be.
    """
    with making("a document's update"):
        return retrieval_service_pb2.UpdateDocumentRequest(
            document=document_pb2.Document(
                name=document_name(document, corpus),
                title=text("title", title),
                uri=text("uri", uri),
                metadata=to_metadata({} if metadata is None else metadata),
            ),
            update_mask=mask(title=title, uri=uri, metadata=metadata),
        )


def mask(**fields: object) -> field_mask_pb2.FieldMask:
    """The mask of the fields that are given, by their names on the wire.

    Raises:
        ArgumentError: None is given.
    """
    paths = [name for name, value in fields.items() if value is not None]
    if not paths:
        raise ArgumentError(f"nothing to change: give {' or '.join(fields)}")
    return field_mask_pb2.FieldMask(paths=paths)
