"""Asking a second assistant where the first is slow to speak, and hearing the one that speaks first."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Self

import anyio
import structlog
from anyio.abc import TaskGroup

from headwater_server.assistant.failover.asking import Attempt, Spoken, ask
from headwater_server.assistant.failover.health import ProviderHealth
from headwater_server.assistant.failover.policy import ELSEWHERE
from headwater_server.assistant.protocol import Event
from headwater_server.errors import Reason, ServiceError
from headwater_server.owned_tasks import owned_tasks

log = structlog.get_logger("headwater.assistants")


@asynccontextmanager
async def ask_two(
    attempt: Attempt,
    alternative: Attempt,
    *,
    after: float,
    health: ProviderHealth,
    within: float | None = None,
    alternative_within: float | None = None,
    elsewhere: AbstractSet[Reason] = ELSEWHERE,
) -> AsyncGenerator[Spoken]:
    """Asks an assistant, and another as well if it has said nothing for a while; leaving the context stops both.

    The other one is a retry more for its provider, and is not asked where its budget has none left.

    Args:
        attempt: The one that is wanted.
        alternative: The other; it may be the same again.
        after: Seconds to wait for the first.
        health: What is remembered of the providers.
        within: Seconds to wait for the first event of the one that is wanted; None: without end.
        alternative_within: The same for the other.
        elsewhere: The reasons for which another may do better. A failure of the one that is wanted for any other reason
            ends the wait for both, as it would have without the other.

    Raises:
        ServiceError: The failure of the one that is wanted.
    """
    async with owned_tasks(cancel=True) as tasks, AsyncExitStack() as stack:
        first = stack.enter_context(_Asked(attempt, health, tasks, within=within))
        with anyio.move_on_after(after):
            await first.settled.wait()
        winner = first
        if not first.settled.is_set() and health.may_retry(alternative.assistant):
            log.info("assistant.hedged", assistant=attempt.assistant, by=alternative.assistant, seconds=after)
            second = stack.enter_context(_Asked(alternative, health, tasks, within=alternative_within))
            winner = await _faster(first, second, elsewhere)
            # One that had failed has been counted for that; what was only stopped settles later than this.
            if winner is second and not first.settled.is_set() and attempt.assistant != alternative.assistant:
                health.outrun(attempt.assistant)
        await winner.settled.wait()
        if not winner.spoke and winner.failure is not None:  # one that has spoken is heard first, and fails then
            raise winner.failure
        async with aclosing(winner.rest()) as rest:
            yield Spoken(winner.attempt, await anext(rest), rest)


async def _faster(first: _Asked, second: _Asked, elsewhere: AbstractSet[Reason]) -> _Asked:
    """The one of two that speaks first, with the other stopped; the first, where it is refused, or both fail."""
    while True:
        await _one_of(first, second)
        for one, other in ((first, second), (second, first)):
            if one.spoke or (one is first and one.refused(elsewhere)):
                other.stop()
                return one
        if first.settled.is_set() and second.settled.is_set():
            return first


async def _one_of(first: _Asked, second: _Asked) -> None:
    """Returns when one of two that has not settled yet does, or one has spoken."""
    async with anyio.create_task_group() as tasks:

        async def wait(asked: _Asked) -> None:
            await asked.settled.wait()
            tasks.cancel_scope.cancel()

        for asked in (first, second):
            if not asked.settled.is_set():
                tasks.start_soon(wait, asked)


class _Asked:
    """An assistant that is asked in a task of its own, because all that it opens has to stay in one task."""

    def __init__(self, attempt: Attempt, health: ProviderHealth, tasks: TaskGroup, *, within: float | None) -> None:
        self.attempt = attempt
        self.spoke = False
        """Whether it has said something."""
        self.failure: Exception | None = None
        """Why it has not, or why it ended."""
        self.settled = anyio.Event()
        """Set once it has spoken, or failed."""
        self._health = health
        self._within = within
        self._scope = anyio.CancelScope()
        self._send, self._receive = anyio.create_memory_object_stream[Event](1)
        tasks.start_soon(self._ask)

    def __enter__(self) -> Self:
        """Nothing more."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stops asking; nobody hears it any more."""
        self._scope.cancel()
        self._receive.close()

    def stop(self) -> None:
        """Stops asking; its connection is closed."""
        self._scope.cancel()

    def refused(self, elsewhere: AbstractSet[Reason]) -> bool:
        """Whether it has failed for a reason for which no other would do better."""
        return isinstance(self.failure, ServiceError) and self.failure.reason not in elsewhere

    async def rest(self) -> AsyncGenerator[Event]:
        """All its events, to its end or its failure."""
        async for event in self._receive:
            yield event
        if self.failure is not None:
            raise self.failure

    async def _ask(self) -> None:
        with self._send, self._scope:
            try:
                async with ask(self.attempt, health=self._health, within=self._within) as spoken:
                    await self._send.send(spoken.first)
                    self.spoke = True
                    self.settled.set()
                    async for event in spoken.rest:
                        await self._send.send(event)
            except anyio.BrokenResourceError:
                pass  # whoever heard it has left
            except Exception as error:
                self.failure = error
            finally:
                self.settled.set()
