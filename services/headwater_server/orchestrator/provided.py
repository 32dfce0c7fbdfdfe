"""Sources that the caller provides, brought within the bounds of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.v1 import source_pb2
from headwater_server.errors import InvalidRequest
from headwater_server.orchestrator.transcript import MAX_SOURCES_BYTES

MAX_METADATA_BYTES = 1024


def provided_sources(provided: source_pb2.SourceList) -> Sequence[source_pb2.Source]:
    """The sources, each with at most 1 KiB of metadata: by key, larger values left out."""
    return [_bounded(source) for source in provided.sources]


def check_provided(provided: source_pb2.SourceList) -> None:
    """Makes sure that an answer can hold the sources, all of them.

    Raises:
        InvalidRequest: They are too large together.
    """
    # What the server adds to each, its id and its disposition, takes a few bytes.
    size = sum(source.ByteSize() + 8 for source in provided_sources(provided))
    if size > MAX_SOURCES_BYTES:
        raise InvalidRequest(
            "provided.sources", f"have {size} bytes together, over {MAX_SOURCES_BYTES}: send fewer, or shorter ones"
        )


def _bounded(source: source_pb2.Source) -> source_pb2.Source:
    bounded = source_pb2.Source()
    bounded.CopyFrom(source)
    bounded.metadata.clear()
    room = MAX_METADATA_BYTES
    for key in sorted(source.metadata):
        size = len(key.encode()) + source.metadata[key].ByteSize()
        if size <= room:
            bounded.metadata[key].CopyFrom(source.metadata[key])
            room -= size
    return bounded
