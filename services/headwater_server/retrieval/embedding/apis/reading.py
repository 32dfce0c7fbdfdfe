"""Reading answers that may be anything."""

from __future__ import annotations

from collections.abc import Sequence

from headwater_server.retrieval.embedding.apis.protocol import MalformedAnswer


def field(document: object, name: str) -> object:
    """The value of an object's field.

    Raises:
        MalformedAnswer: It has none.
    """
    if not isinstance(document, dict) or name not in document:
        raise MalformedAnswer(f"an answer without `{name}`")
    return document[name]


def listed(value: object, *, count: int) -> Sequence[object]:
    """The value, a list with one item for each text.

    Raises:
        MalformedAnswer: It is none, or of another length.
    """
    if not isinstance(value, list):
        raise MalformedAnswer("an answer whose embeddings are no list")
    if len(value) != count:
        raise MalformedAnswer(f"{len(value)} embeddings for {count} texts")
    return value


def in_order(items: Sequence[object]) -> Sequence[object]:
    """The items' `embedding`, put in order by their `index`; servers that send none send them in order.

    Raises:
        MalformedAnswer: An index is missing, given twice, or out of range.
    """
    if not any(isinstance(item, dict) and "index" in item for item in items):
        return [field(item, "embedding") for item in items]
    found: dict[int, object] = {}
    for item in items:
        index = field(item, "index")
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(items) or index in found:
            raise MalformedAnswer("embeddings whose indexes are not those of the texts")
        found[index] = field(item, "embedding")
    return [found[index] for index in range(len(items))]
