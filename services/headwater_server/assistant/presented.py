"""Which presented source a provider means, when it cites in its own words."""

from __future__ import annotations

from collections.abc import Sequence

from headwater_server.assistant.protocol import Evidence, Source
from headwater_server.assistant.quotes import normalized

_CUT = ("...", "…")


class PresentedSources:
    """The sources of one request, in the order in which the provider was given them."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._texts: list[str] | None = None  # normalised; made when first needed

    def at(self, place: int, *, quote: str = "") -> list[Evidence]:
        """Evidence for the source at a place, from 0; empty if there is none."""
        return [Evidence(self._sources[place].id, quote)] if 0 <= place < len(self._sources) else []

    def of_id(self, source_id: str, *, quote: str = "") -> list[Evidence]:
        """Evidence for the source of an id; empty if there is none."""
        return [Evidence(source_id, quote)] if any(source.id == source_id for source in self._sources) else []

    def of_page(self, *, uri: str = "", quote: str = "") -> list[Evidence]:
        """Evidence for what the provider found by itself, where a presented source is the same.

        Args:
            uri: Where the provider found it. Empty: it does not say.
            quote: What it read there; shortened by the provider if it ends with three dots.

        Returns:
            The sources that hold the quote, of those with the URI if there are any; else the one source that has the
            URI. Empty if neither is there.
        """
        for mark in _CUT:
            quote = quote.strip().removesuffix(mark)
        words = normalized(quote)
        same = [place for place, source in enumerate(self._sources) if uri and source.uri == uri]
        if self._texts is None:
            self._texts = [normalized(source.text) for source in self._sources]
        holding = [place for place in same or range(len(self._sources)) if words and words in self._texts[place]]
        if holding:
            return [Evidence(self._sources[place].id, quote) for place in holding]
        return [Evidence(self._sources[same[0]].id)] if len(same) == 1 else []
