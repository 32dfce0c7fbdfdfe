"""From several assistants that could answer to the one that does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import structlog

from headwater_server.assistant.failover.asking import Attempt, SaidNothing, Spoken, ask
from headwater_server.assistant.failover.health import ProviderHealth
from headwater_server.assistant.failover.hedging import ask_two
from headwater_server.assistant.failover.policy import ELSEWHERE, PASSING, UNFIT, FailoverPolicy
from headwater_server.errors import Reason, ServiceError

log = structlog.get_logger("headwater.assistants")


@asynccontextmanager
async def first_to_speak(
    attempts: Sequence[Attempt], *, policy: FailoverPolicy, health: ProviderHealth
) -> AsyncGenerator[Spoken]:
    """Asks assistants until one says something.

    From its first event on it is heard to its end, whatever that is: nothing of two assistants is ever mixed.

    Args:
        attempts: The assistant that is wanted, then those that may stand in for it; at least one.
        policy: How often, and after how long.
        health: What is remembered of the providers.

    Raises:
        ServiceError: The failure of the assistant that is wanted, where nobody spoke, or that of one that stands in
            and refuses (400, 401, 403); its metadata `tried` names all, where there were several.
    """
    chain = _Chain(attempts, policy, health)
    async with AsyncExitStack() as stack:
        yield await _first(chain, policy, health, stack)


async def _first(chain: _Chain, policy: FailoverPolicy, health: ProviderHealth, stack: AsyncExitStack) -> Spoken:
    while True:
        try:
            if policy.hedge_after:
                asking = ask_two(
                    chain.current,
                    chain.alternative,
                    after=policy.hedge_after,
                    health=health,
                    within=chain.patience(),
                    alternative_within=chain.patience(further=1),
                    elsewhere=chain.elsewhere,
                )
            else:
                asking = ask(chain.current, health=health, within=chain.patience())
            return await stack.enter_async_context(asking)
        except ServiceError as error:
            failure = error
        await chain.go_on(failure)


class _Chain:
    """Whom to ask next, and what has come of it so far."""

    def __init__(self, attempts: Sequence[Attempt], policy: FailoverPolicy, health: ProviderHealth) -> None:
        self._health = health
        self._policy = policy
        self._wanted = attempts[0]
        self._wanted_failure: ServiceError | None = None
        self._left = list(attempts)
        self._failures = 0  # of the assistant that is asked now
        self._tried: list[str] = []

    @property
    def current(self) -> Attempt:
        """The assistant that is asked now."""
        return self._left[0]

    @property
    def alternative(self) -> Attempt:
        """The one to ask beside it."""
        return self._left[1] if len(self._left) > 1 else self._left[0]

    @property
    def elsewhere(self) -> AbstractSet[Reason]:
        """The reasons for which another may do better than the one that is asked now."""
        return ELSEWHERE if self.current is self._wanted else ELSEWHERE | UNFIT

    def patience(self, *, further: int = 0) -> float | None:
        """Seconds to wait for a first event of the one that is asked now, or of a further one; None: no limit."""
        is_last = len(self._left) <= 1 + further
        return None if is_last or not self._policy.first_event else self._policy.first_event

    async def go_on(self, error: ServiceError) -> None:
        """Waits, or goes on to the next assistant, after a failure.

        Raises:
            ServiceError: The failure, where nothing is left to try.
        """
        attempt = self.current
        self._tried.append(attempt.assistant)
        self._failures += 1
        if attempt is self._wanted:
            self._wanted_failure = error
        delay = self._delay(attempt, error)
        if delay is not None:
            log.info("assistant.retried", assistant=attempt.assistant, reason=error.reason, seconds=round(delay, 2))
            await anyio.sleep(delay)
            return
        another_may = error.reason in self.elsewhere
        if len(self._left) == 1 or not another_may:
            raise self._outcome(error, is_refusal=not another_may)
        self._left.pop(0)
        self._failures = 0
        log.warning("assistant.failed_over", failed=attempt.assistant, reason=error.reason, to=self.current.assistant)

    def _outcome(self, error: ServiceError, *, is_refusal: bool) -> ServiceError:
        """What the caller is told: why the assistant that was asked for did not answer, unless another refused."""
        told = error if is_refusal or self._wanted_failure is None else self._wanted_failure
        if len(set(self._tried)) > 1:
            told.metadata["tried"] = ", ".join(dict.fromkeys(self._tried))
        return told

    def _delay(self, attempt: Attempt, error: ServiceError) -> float | None:
        if error.reason not in PASSING or self._failures > self._policy.retries:
            return None
        if isinstance(error, SaidNothing):
            return None  # there is another, and the caller has waited long enough for this one
        if len(self._left) > 1 and (error.retry_after or 0) > self._policy.first_delay:
            return None  # another can answer sooner
        delay = self._policy.delay(self._failures, error)
        return delay if delay is not None and self._health.may_retry(attempt.assistant) else None
