"""When to ask again, and when to ask another."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headwater_server.errors import Reason, ServiceError

PASSING = frozenset(
    {Reason.PROVIDER_UNAVAILABLE, Reason.PROVIDER_RATE_LIMITED, Reason.PROVIDER_TRUNCATED, Reason.OVERLOADED}
)
"""Reasons that may be gone a moment later. A request that was refused (400), or a key that was (401, 403), is not asked
again, neither there nor elsewhere: what is wrong with it would only be hidden."""

ELSEWHERE = PASSING | {Reason.PROVIDER_PROTOCOL}
"""Reasons for which another provider may do better."""

UNASKED = frozenset({Reason.INVALID_FIELD, Reason.CONTEXT_TOO_LARGE, Reason.RESOURCE_NOT_FOUND, Reason.OVERLOADED})
"""Reasons that are found here, before a provider is asked: they say nothing about how it is."""

UNFIT = frozenset({Reason.INVALID_FIELD, Reason.CONTEXT_TOO_LARGE, Reason.RESOURCE_NOT_FOUND})
"""Reasons for which an assistant cannot take a request that another could: one that stands in is passed over then."""


@dataclass(frozen=True, slots=True)
class FailoverPolicy:
    """What is done where an assistant fails before its first reasoning, text or citation; after it, nothing ever is."""

    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The assistants `provider/model` that are asked in the place of one, in this order."""
    retries: int = 2
    """How often the same assistant is asked again, while its provider's budget has retries left."""
    first_delay: float = 0.5
    """Seconds before the second try at most; twice as long before each further one."""
    longest_delay: float = 8.0
    """Seconds before any try at most. A provider that asks for more is not waited for."""
    budget: float = 0.2
    """How many retries a provider is sent for each request, in the long run: more would keep down one that is down."""
    failures_to_rest: int = 10
    """After how many failures in a row an assistant is left alone for a while. 0: never."""
    rest: float = 15.0
    """For how many seconds it is; then one request tries it."""
    first_event: float = 30.0
    """Seconds that an assistant may say nothing where another is left to ask; that one is asked then. Where none is, it
    is waited for: what is slow would only be slower, asked anew. 0: never."""
    hedge_after: float = 0.0
    """Seconds without a first event after which the next assistant, or the same again, is asked as well; the first that
    speaks is heard, and the other is stopped. 0: never, because it is paid for."""

    def delay(self, failures: int, error: ServiceError) -> float | None:
        """Seconds to wait before the same assistant is asked again; None where it asks for longer than that is worth.

        Full jitter: anywhere between nothing and the doubled delay, so that callers who failed together do not come
        back together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
        """
        asked = error.retry_after or 0.0
        if asked > self.longest_delay:
            return None
        longest = min(self.first_delay * 2.0 ** (failures - 1), self.longest_delay)
        return asked + random.uniform(0.0, longest)  # noqa: S311 (to spread callers, no secret)
