"""Long texts to import."""

from __future__ import annotations

_ANIMALS = ("yak", "zebra", "heron", "badger", "lynx", "otter", "walrus")
_PLACES = ("mountains", "marshes", "valleys", "forests", "meadows")


def long_text(size_bytes: int, *, about: str) -> bytes:
    """A text of about so many bytes, no two sentences alike, with one that says where `about` was hidden."""
    sentences = [f"The secret of {about} was hidden under the old lighthouse of Kampen."]
    size = 0
    while size < size_bytes:
        number = len(sentences)
        animal, place = _ANIMALS[number % len(_ANIMALS)], _PLACES[number % len(_PLACES)]
        sentences.append(f"Record {number}: the {animal} of {about} was counted {number * 37} times in the {place}.")
        size += len(sentences[-1]) + 1
    paragraphs = [" ".join(sentences[start : start + 8]) for start in range(0, len(sentences), 8)]
    return "\n\n".join(paragraphs).encode()
