"""Asking one assistant, to its first event."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio

from headwater_server.assistant.failover.health import ProviderHealth
from headwater_server.assistant.protocol import Event
from headwater_server.errors import Reason, ServiceError


class SaidNothing(ServiceError):
    """An assistant was silent for as long as it is waited for where another can answer."""

    def __init__(self, assistant: str, *, within: float) -> None:
        super().__init__(
            Reason.PROVIDER_UNAVAILABLE,
            f"{assistant} said nothing within {within:g} s",
            metadata={"provider": assistant.partition("/")[0]},
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One assistant that could answer."""

    assistant: str
    """`provider/model`."""
    start: Callable[[], AsyncGenerator[Event]]
    """Asks it; called again where nothing came of it."""

    @property
    def provider(self) -> str:
        """The first part of its name."""
        return self.assistant.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Spoken:
    """An assistant that has said something."""

    attempt: Attempt
    first: Event
    rest: AsyncGenerator[Event]
    """What follows; closed by whoever asked."""

    async def events(self) -> AsyncGenerator[Event]:
        """All that it says."""
        yield self.first
        async for event in self.rest:
            yield event


@asynccontextmanager
async def ask(attempt: Attempt, *, health: ProviderHealth, within: float | None = None) -> AsyncGenerator[Spoken]:
    """Asks an assistant, and waits for its first event; leaving the context stops it.

    Args:
        attempt: The assistant.
        health: What is remembered of the providers.
        within: Seconds to wait for that event. None: until the caller leaves.

    Raises:
        SaidNothing: It did not come in that time.
        ServiceError: The assistant failed before that, or it rests.
    """
    admitted = health.admit(attempt.assistant)
    async with AsyncExitStack() as stack:
        with _outcome(attempt, health, since=admitted):
            events = await stack.enter_async_context(aclosing(attempt.start()))
            first = await _first(attempt, events, within)
        yield Spoken(attempt, first, events)


async def _first(attempt: Attempt, events: AsyncGenerator[Event], within: float | None) -> Event:
    if within is None:
        return await anext(events)
    with anyio.move_on_after(within):
        return await anext(events)
    raise SaidNothing(attempt.assistant, within=within)


@contextmanager
def _outcome(attempt: Attempt, health: ProviderHealth, *, since: float) -> Iterator[None]:
    """Notes how it went to wait for an assistant's first event."""
    try:
        yield
    except ServiceError as error:
        health.failed(attempt.assistant, error)
        raise
    except StopAsyncIteration:
        health.left(attempt.assistant)
        raise RuntimeError(f"{attempt.assistant} ended its stream without Finished") from None
    except anyio.get_cancelled_exc_class():
        health.given_up(attempt.assistant, since=since)
        raise
    except BaseException:
        health.left(attempt.assistant)
        raise
    health.spoke(attempt.assistant)
