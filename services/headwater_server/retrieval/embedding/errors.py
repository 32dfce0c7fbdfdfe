"""The errors of embedding."""

from __future__ import annotations


class EmbedderUnavailable(Exception):
    """An embedder cannot be used on this machine; the message says what is missing and what to do."""
