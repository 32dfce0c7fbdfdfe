"""The rerankers' settings, as the retrieval service takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headwater_server.retrieval.ranking.protocol import MOST_PASSAGES


@dataclass(frozen=True, slots=True)
class NamedReranker:
    """One table `[rerankers.NAME]` of the settings."""

    api: str
    """What it speaks: `cohere`, `jina` or `tei`; or `cross-encoder`, a model on this machine."""
    base_url: str = field(default="", repr=False)
    """Where it is. Empty: where its makers serve it. Not shown, as people write passwords into URLs."""
    api_key: str = field(default="", repr=False)
    """The key itself. At most one of `api_key` and `api_key_env` is set."""
    api_key_env: str = ""
    """The environment variable that holds the key."""
    path: Path | None = None
    """With `cross-encoder`: the folder that has a folder for each model."""
    timeout: float = 10.0
    """Seconds that a search waits for the order; after them it does without."""
    max_characters: int = 4_000
    """What is longer is cut at its end before it is sent."""


@dataclass(frozen=True, slots=True)
class RerankingConfig:
    """Which reranker is used, and which there are."""

    reranker: str = ""
    """`provider/model`. Empty: none."""
    candidates: int = 50
    """How many passages it is given, as far as there are so many."""
    rerankers: Mapping[str, NamedReranker] = field(default_factory=dict)
    """The tables `[rerankers.NAME]`, by name."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    """The environment, in which keys are looked up."""

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            ValueError: A value is out of its bounds.
        """
        if not 1 <= self.candidates <= MOST_PASSAGES:
            raise ValueError(f"candidates must be from 1 to {MOST_PASSAGES}")
