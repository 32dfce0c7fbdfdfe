"""A query that was made of a conversation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FollowUpQuery:
    """A query made of a conversation."""

    text: str
    """What to search for; empty: the prompt itself."""
    seconds: float
    """How long it took to make it."""
    beside_prompt: bool
    """Whether the prompt itself is searched for too, since nobody knows whether it goes on with its topic."""
