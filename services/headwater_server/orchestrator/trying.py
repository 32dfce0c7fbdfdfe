"""Trying again where a connection to another of our services broke."""

from __future__ import annotations

import random

import anyio

from headwater_server.errors import Reason, ServiceError, ServiceUnreachable

TRIES = 20
"""How often in a row something is tried that does not come forward: some 25 seconds, in which a service that was killed
is started again."""
TRIES_TAKEN_UP = 4
"""How often in a row, where each time the service had taken it up and then broke off: it may have died of it, and so
would the answers of others that it makes. To be asked three times again is enough where it died of something else."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


def is_passing(error: ServiceError, *, begun: bool = False) -> bool:
    """Whether an error says that a service, not what it was asked, failed: it may be asked again, or another of it.

    What a provider said is not among them.

    Args:
        error: The error.
        begun: Whether it may have begun with this already. A service that has no room then is waited for; where it has
            not, its refusal goes to the caller at once.
    """
    if error.reason is Reason.OVERLOADED:
        return begun
    return isinstance(error, ServiceUnreachable) or error.reason is Reason.SERVER_DRAINING


class Tries:
    """Counts tries, and waits longer before each.

    Up to half of each pause is left to chance, so that the many that broke together do not all come back together.
    """

    def __init__(self) -> None:
        self._failed = 0
        self._failed_taken_up = 0

    def start_again(self) -> None:
        """Notes that it came forward."""
        self._failed = self._failed_taken_up = 0

    async def another(self, failure: ServiceError) -> None:
        """Waits before the next try.

        Raises:
            ServiceError: The failure, where it was the last try.
        """
        self._failed += 1
        if isinstance(failure, ServiceUnreachable) and failure.taken_up:
            self._failed_taken_up += 1
            if self._failed_taken_up >= TRIES_TAKEN_UP:
                raise _given_up(failure.service) from failure
        if self._failed >= TRIES:
            raise failure
        pause = min(_FIRST_PAUSE * 2 ** (self._failed - 1), _LONGEST_PAUSE)
        if failure.reason is Reason.OVERLOADED:
            pause = max(pause, failure.retry_after or 0)
        await anyio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (chance, not a secret)


def _given_up(service: str) -> ServiceError:
    """What a caller gets for whom a service broke off too often; it does not say when to come back with the same."""
    return ServiceError(
        Reason.PROVIDER_UNAVAILABLE,
        f"the {service} service broke off {TRIES_TAKEN_UP} times over this before anything came of it: "
        "it is not asked again",
        metadata={"service": service},
    )
