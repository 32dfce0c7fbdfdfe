"""Joining hits that stand side by side in a document, where only a passage's length has cut them.

Such passages read better as one, and leave room for other sources. Passages of different sections stay apart, as do
slides and sheets: a joined source would point at too much of its document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headwater_server.retrieval.model import Location
from headwater_server.retrieval.store.protocol import Hit

MOST_BYTES = 4 * 1024
"""How long a joined source is at most; the proto's bound, 16 KiB, is for single passages."""

_SEPARATOR = "\n"
_LEAST_OVERLAP = 20  # characters; less may be chance
_MOST_OVERLAP = 2_048

_Place = tuple[object, str, int]


def joined(hits: Sequence[Hit]) -> list[Hit]:
    """The hits with neighbours made one, each in the place of its best.

    What is joined keeps the best one's id, score and cosine; its text, heading and location are those of all.

    Args:
        hits: Best first.
    """
    by_place = {_place(hit): rank for rank, hit in enumerate(hits)}
    taken: set[int] = set()
    sources = []
    for rank, hit in enumerate(hits):
        if rank in taken:
            continue
        run = [rank]
        taken.add(rank)
        while (added := _extended(hits, run, by_place, taken)) is not None:
            run = added
            taken.update(run)
        sources.append(hit if len(run) == 1 else _one(hit, [hits[each] for each in run]))
    return sources


def _place(hit: Hit, *, offset: int = 0) -> _Place:
    return hit.corpus, hit.document.document_id, hit.ordinal + offset


def _extended(hits: Sequence[Hit], run: list[int], by_place: dict[_Place, int], taken: set[int]) -> list[int] | None:
    """A run of ranks with the better of the two passages beside it, if one of them may be added."""
    before = by_place.get(_place(hits[run[0]], offset=-1))
    after = by_place.get(_place(hits[run[-1]], offset=1))
    longer = []
    if before is not None and before not in taken and _continues(hits[before], hits[run[0]]):
        longer.append((before, [before, *run]))
    if after is not None and after not in taken and _continues(hits[run[-1]], hits[after]):
        longer.append((after, [*run, after]))
    for _, candidate in sorted(longer):
        if sum(len(hits[rank].text.encode()) + len(_SEPARATOR) for rank in candidate) <= MOST_BYTES:
            return candidate
    return None


def _continues(first: Hit, second: Hit) -> bool:
    """Whether a passage goes on with what its predecessor was about, in the same part of the document."""
    one, two = first.location, second.location
    if first.heading != second.heading or (one is None) is not (two is None):
        return False
    if one is None or two is None:
        return True
    same_slide = one.kind != "slide" or one.start == two.start
    return one.kind == two.kind and one.sheet == two.sheet and same_slide


def _one(best: Hit, parts: Sequence[Hit]) -> Hit:
    text = parts[0].text
    for part in parts[1:]:
        text += _SEPARATOR + part.text if (new := _new(text, part.text)) is None else new
    locations = [part.location for part in parts if part.location is not None]
    location = None
    if locations:
        first = locations[0]
        last = max(each.end for each in locations)
        location = Location(first.kind, min(each.start for each in locations), last, first.sheet)
    return replace(best, text=text, location=location)


def _new(text: str, following: str) -> str | None:
    """What a text adds to the one before it, whose end it begins with; None if it does not."""
    tail = text[-_MOST_OVERLAP:]
    at = tail.find(following[:_LEAST_OVERLAP]) if len(following) >= _LEAST_OVERLAP else -1
    while at >= 0:
        if following.startswith(tail[at:]):
            return following[len(tail) - at :]
        at = tail.find(following[:_LEAST_OVERLAP], at + 1)
    return None
