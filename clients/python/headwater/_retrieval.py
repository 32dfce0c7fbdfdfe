"""What a search has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

from headwater.v1 import source_pb2


class RetrievalResult(Sequence[source_pb2.Source]):
    """The sources that a search has found, best first: a sequence of `Source` messages.

    Attributes:
        statistics: How the search went.
    """

    def __init__(self, sources: Iterable[source_pb2.Source], statistics: source_pb2.RetrievalStatistics) -> None:
        self._sources = tuple(sources)
        self.statistics = statistics

    @overload
    def __getitem__(self, index: int) -> source_pb2.Source: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[source_pb2.Source]: ...

    def __getitem__(self, index: int | slice) -> source_pb2.Source | Sequence[source_pb2.Source]:
        return self._sources[index]

    def __len__(self) -> int:
        return len(self._sources)

    def __repr__(self) -> str:
        return f"<RetrievalResult of {len(self)} sources>"
