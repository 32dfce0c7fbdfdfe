"""What an examination finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headwater_server.retrieval.catalog.records import ContentKey

Part = Literal["catalog", "store", "contents", "index"]


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it was written."""

    part: Part
    """Where."""
    what: str
    """Which thing, for people."""
    detail: str
    """What is wrong with it."""
    content: ContentKey | None = None
    """The content that is damaged, if one is."""
