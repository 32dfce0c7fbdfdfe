"""Trying a call again where the provider may yet answer it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio
import structlog

from headwater_server.errors import Reason, ServiceError

log = structlog.get_logger("headwater.outgoing")

T = TypeVar("T")

TRANSIENT = frozenset({Reason.PROVIDER_UNAVAILABLE, Reason.PROVIDER_RATE_LIMITED, Reason.PROVIDER_TRUNCATED})
"""Reasons that may be gone a moment later; all others mean that the same call would fail the same way."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and after how long."""

    attempts: int = 4
    """How many calls are made at most, the first included."""
    first_delay: float = 0.5
    """Seconds before the second call; doubled before each further one."""
    longest_delay: float = 20.0
    """Seconds at most. A provider that asks for more is not waited for."""

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures: between half and all of the doubled time, so that callers spread."""
        longest = min(self.first_delay * 2.0 ** (failures - 1), self.longest_delay)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 (to spread callers, no secret)


async def retried(call: Callable[[], Awaitable[T]], *, policy: RetryPolicy) -> T:
    """Makes a call, again where it failed for a reason that may be gone, and returns what it returns.

    `Retry-After` is obeyed, unless it is longer than the policy's longest delay: then the failure stands.

    Raises:
        ServiceError: The last failure, or the first that is none of `TRANSIENT`.
    """
    failures = 0
    while True:
        try:
            return await call()
        except ServiceError as error:
            failures += 1
            asked = error.retry_after or 0.0
            if error.reason not in TRANSIENT or failures >= policy.attempts or asked > policy.longest_delay:
                raise
            delay = max(asked, policy.delay(failures))
            log.info("a provider is asked again", reason=error.reason.value, failures=failures, seconds=round(delay, 2))
            await anyio.sleep(delay)
