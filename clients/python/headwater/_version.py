"""The version of this distribution; the build reads it from `pyproject.toml`, and a test holds the two together."""

from __future__ import annotations

__version__ = "0.1.0"
