"""What a process knows of the others of its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Member = Literal["retrieval", "front", "orchestrator", "assistant"]
"""What a process of several does. `front`: answers, with an assistant service of its own, over the one retrieval."""


@dataclass(frozen=True, slots=True)
class Place:
    """One process among those of its server."""

    name: str
    """Such as `front-1`; one that is started again has the name of the one before it."""
    member: Member
    """What it does."""
    socket: str = ""
    """Where the others reach it, `unix:/…`; empty where none does."""
    retrieval: str = ""
    """Where the retrieval service is reached, `unix:/…`; empty where the settings say it."""
    waits: bool = False
    """Whether it takes no calls before the retrieval service does, which is started beside it."""

    @property
    def shares_port(self) -> bool:
        """Whether it takes calls at the server's address, with others."""
        return self.member != "retrieval"
