"""Requests for updates, shared by the sync and the async resources."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf import field_mask_pb2

from headwater import _checks
from headwater._checks import making, text
from headwater._exceptions import ArgumentError
from headwater._names import corpus_name, document_name
from headwater._values import MetadataInput, to_metadata
from headwater.v1 import document_pb2, retrieval_service_pb2


def create_corpus_request(
    corpus_id: str | None, *, display_name: str, labels: Mapping[str, str] | None
) -> retrieval_service_pb2.CreateCorpusRequest:
    """Makes the request that creates a corpus.

    Raises:
        ArgumentError: An argument is not as it must be.
    """
    with making("a new corpus"):
        return retrieval_service_pb2.CreateCorpusRequest(
            corpus_id=text("corpus_id", corpus_id),
            corpus=document_pb2.Corpus(display_name=text("display_name", display_name), labels=_checks.labels(labels)),
        )


def update_corpus_request(
    corpus: str, *, display_name: str | None, labels: Mapping[str, str] | None
) -> retrieval_service_pb2.UpdateCorpusRequest:
    """Makes the request that changes what is given, and nothing else.

    Raises:
        ArgumentError: Nothing is given, or the name is malformed.
    """
    with making("a corpus's update"):
        return retrieval_service_pb2.UpdateCorpusRequest(
            corpus=document_pb2.Corpus(
                name=corpus_name(corpus), display_name=text("display_name", display_name), labels=_checks.labels(labels)
            ),
            update_mask=_mask(display_name=display_name, labels=labels),
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
            update_mask=_mask(title=title, uri=uri, metadata=metadata),
        )


def _mask(**fields: object) -> field_mask_pb2.FieldMask:
    paths = [name for name, value in fields.items() if value is not None]
    if not paths:
        raise ArgumentError(f"nothing to change: give {' or '.join(fields)}")
    return field_mask_pb2.FieldMask(paths=paths)
