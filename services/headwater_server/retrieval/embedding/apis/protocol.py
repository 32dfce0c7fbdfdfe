"""What an API of embeddings is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Purpose(Enum):
    """What a text is embedded for; some models embed questions in another way than passages."""

    DOCUMENT = "document"
    QUERY = "query"


class MalformedAnswer(Exception):
    """An answer is not as its API has it. The message completes "it sent …" and repeats nothing of the answer."""


@dataclass(frozen=True, slots=True)
class ApiTraits:
    """What one API is like."""

    max_texts: int
    """How many texts one request may have."""
    max_tokens: int
    """How many tokens the texts of one request may have in all, by our estimate."""
    default_url: str
    """Where its own makers serve it; empty where everyone serves it themselves."""
    probe_path: str = "/models"
    """Where to ask, below the base URL, whether the server is there and takes the key."""
    key_header: str = ""
    """The header that carries the key. Empty: `authorization`, as a bearer token."""


class EmbeddingApi(Protocol):
    """Turns texts into the body of a request, and the answer's body into numbers. Pure and stateless."""

    traits: ApiTraits

    def path(self, model: str) -> str:
        """Where to post, below the base URL.

        Raises:
            ValueError: The model's name cannot stand where it does in the path.
        """
        ...

    def request(
        self, texts: Sequence[str], *, model: str, purpose: Purpose, dimension: int | None
    ) -> Mapping[str, object]:
        """The body of a request.

        Args:
            texts: One to `max_texts`.
            model: The provider's own name of it.
            purpose: What they are embedded for; an API that does not tell them apart ignores it.
            dimension: How many components to ask for; None leaves it to the model.
        """
        ...

    def rows(self, answer: object, *, count: int) -> Sequence[object]:
        """The vectors of an answer, in the order of the texts, each as it came.

        Raises:
            MalformedAnswer: It has not one for each text.
        """
        ...
