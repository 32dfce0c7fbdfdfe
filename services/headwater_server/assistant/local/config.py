"""How models on disk are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import platformdirs

DEFAULT_CONTEXT = 8192


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The keys of a table with `api = "local"` beyond those every provider has."""

    folder: Path = field(default_factory=lambda: platformdirs.user_data_path("headwater", appauthor=False) / "models")
    """Where the GGUF files are; the model `a/b` is the file `a/b.gguf` beneath it."""
    parallel: int = 4
    """How many answers a model writes at once, 1 to 64; each has a context of its own. Others wait for their turn."""
    threads: int = 0
    """How many CPUs a model uses. 0: as llama.cpp decides."""
    gpu_layers: int = 0
    """How many of its layers a GPU takes, where the installed xllamacpp has one; −1: all."""
    max_loaded: int = 1
    """How many models may be in memory at once, 1 to 16; the one that was idle longest makes room for another."""
    load_seconds: float = 300.0
    """How long a model may take to load."""

    @classmethod
    def of(cls, options: Mapping[str, object], *, provider: str) -> LocalOptions:
        """Reads a table of the settings.

        Raises:
            ValueError: A key is not known, or its value is not as it must be.
        """
        known = sorted(option.name for option in fields(cls))
        for key in options:
            if key not in known:
                raise ValueError(f"assistants.{provider}.{key}: not a setting of local; those are {', '.join(known)}")
        given: dict[str, object] = dict(options)
        if "folder" in given:
            folder = given["folder"]
            if not isinstance(folder, str) or not folder:
                raise ValueError(f"assistants.{provider}.folder: must be the path of a folder")
            given["folder"] = Path(folder).expanduser()
        for key, (low, high) in _BOUNDS.items():
            value = given.get(key, low)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"assistants.{provider}.{key}: must be a whole number, {low} to {high:,}")
        seconds = given.get("load_seconds", 1)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds > 0:
            raise ValueError(f"assistants.{provider}.load_seconds: must be a number over 0")
        return cls(**given)  # type: ignore[arg-type]  # each value's type was checked above


_BOUNDS = {"parallel": (1, 64), "threads": (0, 1024), "gpu_layers": (-1, 10_000), "max_loaded": (1, 16)}
