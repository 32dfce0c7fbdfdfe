"""The embedders' settings, as the retrieval service takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BUILTIN = "builtin"
"""The provider that needs neither settings nor a network."""

BUILTIN_EMBEDDER = f"{BUILTIN}/all-MiniLM-L6-v2"

Device = Literal["cpu", "cuda", "auto"]


@dataclass(frozen=True, slots=True)
class NamedEmbedder:
    """One table `[embedders.NAME]` of the settings."""

    api: str
    """What it speaks: `openai`, `ollama`, `tei`, `cohere` or `gemini`."""
    base_url: str = field(default="", repr=False)
    """Where it is. Empty: where its makers serve it. Not shown, as people write passwords into URLs."""
    api_key: str = field(default="", repr=False)
    """The key itself. At most one of `api_key` and `api_key_env` is set."""
    api_key_env: str = ""
    """The environment variable that holds the key. Set and absent from the environment is an error."""
    dimension: int | None = None
    """How many components its vectors have: asked for, and checked. None: as many as the model makes."""
    batch_texts: int | None = None
    """How many texts a request has at most. None: as many as the API takes."""
    batch_tokens: int | None = None
    """How many tokens the texts of a request have at most, by estimate. None: as many as the API takes."""
    concurrency: int = 4
    """How many requests for passages run at once."""
    timeout: float = 60.0
    """Seconds of silence after which a request counts as lost."""
    query_prefix: str = ""
    """Put before questions, such as `query: ` for models of the E5 family."""
    document_prefix: str = ""
    """Put before passages, such as `passage: `."""
    max_characters: int = 8_000
    """What is longer, prefix included, is cut at its end: some servers refuse what does not fit their model."""

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            ValueError: A value is out of its bounds.
        """
        for name in ("dimension", "batch_texts", "batch_tokens", "concurrency", "timeout"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive")
        if max(len(self.query_prefix), len(self.document_prefix)) >= self.max_characters:
            raise ValueError("max_characters must leave room beside the prefixes")


@dataclass(frozen=True, slots=True)
class EmbeddingConfig:
    """Which embedders there are."""

    default: str = BUILTIN_EMBEDDER
    """The embedder of corpora that name none, `provider/model`."""
    device: Device = "cpu"
    """What the built-in embedder runs on. `auto`: a GPU where ONNX Runtime can use one."""
    embedders: Mapping[str, NamedEmbedder] = field(default_factory=dict)
    """The tables `[embedders.NAME]`, by name. One of them may replace one that the environment makes."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    """The environment, in which providers' own variables such as `OPENAI_API_KEY` are looked up."""
