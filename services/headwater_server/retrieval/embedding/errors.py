"""The errors of embedding.

EmbedderUnavailable     cannot be used on this machine
EmbedderUnknown         there is none of this name
EmbedderConfigError     a setting is not as it must be
EmbedderFailing         a server of embeddings does not do its work now
"""

from __future__ import annotations


class EmbedderUnavailable(Exception):
    """An embedder cannot be used on this machine; the message says what is missing and what to do."""


class EmbedderUnknown(Exception):
    """The server has no embedder of this name; the message says which it has, and how to have more."""


class EmbedderConfigError(ValueError):
    """A setting of an embedder is not as it must be. The message names it, and holds no secret."""


class EmbedderFailing(Exception):
    """An embedder's server cannot be reached, or refuses for now: the same work may succeed later."""
