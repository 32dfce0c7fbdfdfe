from __future__ import annotations

import anyio
import pytest

from headwater_server.errors import Reason, ServiceError
from headwater_server.outgoing.retrying import RetryPolicy, retried

pytestmark = pytest.mark.anyio

POLICY = RetryPolicy(attempts=4, first_delay=1.0, longest_delay=5.0)


class Calls:
    """A call that fails with these errors, one after the other, and then succeeds."""

    def __init__(self, *errors: ServiceError) -> None:
        self.errors = list(errors)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Holds how long was waited, and makes waiting take no time."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return waits


def failure(reason: Reason = Reason.PROVIDER_UNAVAILABLE, retry_after: float | None = None) -> ServiceError:
    return ServiceError(reason, "no", retry_after=retry_after)


async def test_what_may_be_gone_is_tried_again_after_growing_waits(slept: list[float]) -> None:
    calls = Calls(failure(), failure(Reason.PROVIDER_RATE_LIMITED), failure(Reason.PROVIDER_TRUNCATED))
    assert await retried(calls, policy=POLICY) == "done"
    assert calls.made == 4
    assert [0.5 <= slept[0] <= 1, 1 <= slept[1] <= 2, 2 <= slept[2] <= 4] == [True] * 3


async def test_waits_differ_so_that_callers_spread(slept: list[float]) -> None:
    for _ in range(20):
        await retried(Calls(failure()), policy=POLICY)
    assert len(set(slept)) > 10


async def test_the_last_failure_is_raised(slept: list[float]) -> None:
    calls = Calls(*(failure() for _ in range(9)))
    with pytest.raises(ServiceError):
        await retried(calls, policy=POLICY)
    assert (calls.made, len(slept)) == (4, 3)


async def test_retry_after_is_obeyed(slept: list[float]) -> None:
    await retried(Calls(failure(retry_after=4.5)), policy=POLICY)
    assert slept == [4.5]


@pytest.mark.parametrize("error", [failure(Reason.PROVIDER_REJECTED), failure(retry_after=5.1)])
async def test_what_cannot_help_is_not_waited_for(slept: list[float], error: ServiceError) -> None:
    calls = Calls(error)
    with pytest.raises(ServiceError):
        await retried(calls, policy=POLICY)
    assert (calls.made, slept) == (1, [])
