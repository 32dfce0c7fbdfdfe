"""What an embedder is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]
"""Shape (dimension,), length 1."""

Vectors = npt.NDArray[np.float32]
"""Shape (texts, dimension), each row of length 1."""


class Embedder(Protocol):
    """Turns texts into vectors; the inner product of two is the cosine of their angle, higher where texts are alike.

    Calls are synchronous and bound to the CPU or to a network: event loops put them into a worker process (documents)
    or a thread (a query). An embedder is made where it is used and need not be picklable.

    Threads: all methods may be called from several threads at once. Nothing is held between calls, so a call given
    up by its caller leaves nothing behind.

    Results: a text's vector depends on the text alone, not on the other texts of the call nor on earlier calls, and
    on one machine with the same versions and settings it is the same to the bit. Other machines and versions may
    differ by rounding. Every vector is finite and of length 1 (to 1e-5), whatever the text, the empty one included.
    What is longer than the model reads is cut at its end, without an error; the splitter keeps passages shorter.

    Errors: `TypeError` where something other than texts is given and `ValueError` where a text is not valid Unicode
    (a lone surrogate); both before anything is embedded, and both mean that the caller is wrong. What is missing or
    damaged is found when the embedder is made: `EmbedderUnavailable`.
    """

    @property
    def name(self) -> str:
        """The model's name, for people: it may stay the same while vectors change."""
        ...

    @property
    def fingerprint(self) -> str:
        """Says which vectors may be compared: equal where they can be, different where weights or tokens differ.

        At most 100 characters of ASCII, to be stored with a corpus. A corpus holds vectors of one fingerprint.
        """
        ...

    @property
    def dimension(self) -> int:
        """How many components a vector has."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """The vectors of passages, in their order; shape (0, dimension) where there are none."""
        ...

    def embed_query(self, text: str) -> Vector:
        """The vector of a question; some models embed it in another way than a passage."""
        ...


class AsyncEmbedder(Protocol):
    """An embedder as the service uses it: on this machine, or behind a server's API.

    Tasks: all methods may be called from several tasks at once; none blocks the event loop, and all may be cancelled.

    Results: as `Embedder` has them, but that a server may round otherwise from call to call.

    Errors: `PreconditionFailed` where it cannot be used on this machine. Where a server fails,
    `headwater_server.errors.ServiceError` with the reason of `outgoing.provider_errors`, after what may be gone in a
    moment was tried again; `outgoing.retrying.TRANSIENT` are those after which the same call may yet succeed. No error
    holds a key or an address.
    """

    @property
    def name(self) -> str:
        """`provider/model`."""
        ...

    @property
    def in_workers(self) -> bool:
        """Whether worker processes embed documents with it themselves, and `embed_documents` is not used for them."""
        ...

    async def fingerprint(self) -> str:
        """As `Embedder.fingerprint`."""
        ...

    async def dimension(self) -> int:
        """How many components a vector has."""
        ...

    async def embed_documents(
        self, texts: Sequence[str], *, embedded: Callable[[int], None] = lambda _: None
    ) -> Vectors:
        """The vectors of passages, in their order.

        Args:
            texts: The passages, as many as a document has.
            embedded: Called as parts of them are done, in any order, with how many.
        """
        ...

    async def embed_query(self, text: str) -> Vector:
        """The vector of a question."""
        ...
