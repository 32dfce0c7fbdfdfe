"""The errors of reranking."""

from __future__ import annotations


class RerankerConfigError(ValueError):
    """A setting of a reranker is not as it must be. The message names it, and holds no secret."""


class RerankerUnavailable(Exception):
    """A reranker cannot be used on this machine; the message says what is missing and what to do."""


class MalformedAnswer(Exception):
    """An answer is not as its API has it. The message completes "it sent …" and repeats nothing of the answer."""
