"""What is remembered of those that are asked: whether an assistant is worth it, and how many retries are left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from headwater_server.assistant.failover.policy import UNASKED, FailoverPolicy
from headwater_server.errors import Reason, ServiceError

log = structlog.get_logger("headwater.assistants")

_MOST_RETRIES = 10.0
"""How many retries a provider's budget can hold: what may come at once after a quiet time."""
_MOST_CIRCUITS = 1000
"""Of how many failing assistants something is remembered: callers choose the names, so that there is no end of them."""


@dataclass
class _Circuit:
    failures: int = 0
    resting_until: float = 0.0
    probing: bool = False


class ProviderHealth:
    """A circuit breaker for each assistant, and a budget of retries for each provider.

    Closed: requests go through. After `failures_to_rest` failures in a row it opens: requests are refused at once, for
    `rest` seconds. Then one request goes through to try it; its outcome closes the circuit, or opens it again. It is an
    assistant's own, because one model may fail where the others of its provider answer; the retries of all of them
    come to the same machines.

    Args:
        policy: The numbers.
        clock: Seconds, never going back.
    """

    def __init__(self, policy: FailoverPolicy, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._retries: dict[str, float] = {}
        self._circuits: dict[str, _Circuit] = {}  # of those that have failed; the one that failed last is last

    def admit(self, assistant: str) -> float:
        """Counts a request.

        Returns:
            The moment, for `given_up`.

        Raises:
            ServiceError: The assistant rests (PROVIDER_UNAVAILABLE, with the time until it is tried again).
        """
        provider = _provider(assistant)
        now = self._clock()
        self._retries[provider] = min(_MOST_RETRIES, self._budget(provider) + self._policy.budget)
        circuit = self._circuits.get(assistant)
        if circuit is None or not circuit.resting_until:
            return now
        left = circuit.resting_until - now
        if left > 0 or circuit.probing:
            raise ServiceError(
                Reason.PROVIDER_UNAVAILABLE,
                f"{assistant} has failed {circuit.failures} times in a row, and is left alone for a moment",
                metadata={"provider": provider},
                retry_after=max(left, 1.0),
            )
        circuit.probing = True
        return now

    def may_retry(self, assistant: str) -> bool:
        """Whether the budget of an assistant's provider has a retry left; takes it."""
        provider = _provider(assistant)
        if self._budget(provider) < 1:
            return False
        self._retries[provider] = self._budget(provider) - 1
        return True

    def spoke(self, assistant: str) -> None:
        """Notes that an assistant answers."""
        circuit = self._circuits.pop(assistant, None)
        if circuit is not None and circuit.resting_until:
            log.info("assistant.recovered", assistant=assistant)

    def failed(self, assistant: str, error: ServiceError) -> None:
        """Notes a failure before the first event."""
        if error.reason is Reason.PROVIDER_UNAVAILABLE:
            self._count(assistant)
        elif error.reason in UNASKED:
            self.left(assistant)
        else:
            self.spoke(assistant)  # whoever refuses, limits, or breaks off is there

    def given_up(self, assistant: str, *, since: float) -> None:
        """Notes that nobody waits any more for an assistant that has said nothing since a moment.

        Whether its caller left, or the time for a first word was over, nobody can tell here. Silence that was longer
        than another assistant would have been given is a failure; a shorter one is nothing.
        """
        if self._policy.first_event and self._clock() - since >= self._policy.first_event:
            self._count(assistant)
        else:
            self.left(assistant)

    def outrun(self, assistant: str) -> None:
        """Notes that another assistant, asked later because this one was silent, was heard in its place."""
        self._count(assistant)

    def left(self, assistant: str) -> None:
        """Notes that a request ended without an outcome."""
        if assistant in self._circuits:
            self._circuits[assistant].probing = False

    def _count(self, assistant: str) -> None:
        circuit = self._circuits.pop(assistant, None) or _Circuit()
        self._circuits[assistant] = circuit
        if len(self._circuits) > _MOST_CIRCUITS:
            self._circuits.pop(next(iter(self._circuits)))
        circuit.failures += 1
        if circuit.probing or (self._policy.failures_to_rest and circuit.failures >= self._policy.failures_to_rest):
            circuit.resting_until, circuit.probing = self._clock() + self._policy.rest, False
            log.warning("assistant.resting", assistant=assistant, failures=circuit.failures, seconds=self._policy.rest)

    def _budget(self, provider: str) -> float:
        return self._retries.get(provider, _MOST_RETRIES)


def _provider(assistant: str) -> str:
    return assistant.partition("/")[0]
