"""What a client does where a server has too much to do to begin an answer."""

from __future__ import annotations

import pytest

from headwater import AsyncClient, CallCancelled, Client, DeadlineExceeded, Overloaded, ServerDraining
from headwater._exceptions import CallError
from headwater._resuming import Deadline, Resumption


def refusal(retry_after: float | None) -> Overloaded:
    return Overloaded("too much to do", code="RESOURCE_EXHAUSTED", reason="OVERLOADED", retry_after=retry_after)


def resumption_of(timeout: float | None, *, enabled: bool = True) -> Resumption:
    return Resumption(enabled=enabled, deadline=Deadline(timeout))


def test_it_asks_again_twice_and_not_before_it_may() -> None:
    resumption = resumption_of(None)
    pauses = [resumption.pause_after(refusal(2.0), begun=False) for _ in range(2)]
    assert all(2.0 <= pause <= 3.0 for pause in pauses)
    assert pauses[0] != pauses[1], "those who were refused together do not come back together"
    with pytest.raises(Overloaded):
        resumption.pause_after(refusal(2.0), begun=False)


@pytest.mark.parametrize("retry_after", [None, 60.0])
def test_it_does_not_wait_for_a_server_that_will_take_long(retry_after: float | None) -> None:
    with pytest.raises(Overloaded):
        resumption_of(None).pause_after(refusal(retry_after), begun=False)


@pytest.mark.parametrize(("enabled", "begun"), [(False, False), (True, True)])
def test_it_asks_nothing_again_that_has_begun_or_that_it_was_told_not_to(*, enabled: bool, begun: bool) -> None:
    with pytest.raises(Overloaded):
        resumption_of(None, enabled=enabled).pause_after(refusal(1.0), begun=begun)


def test_a_refusal_after_a_drained_server_is_waited_out_too() -> None:
    resumption = resumption_of(None)
    draining: CallError = ServerDraining("it stops", code="UNAVAILABLE", reason="SERVER_DRAINING", retry_after=0.5)
    resumption.pause_after(draining, begun=False)
    assert resumption.pause_after(refusal(1.0), begun=False) >= 1.0


@pytest.mark.parametrize("begun", [False, True])
def test_a_call_that_a_closing_server_has_cancelled_is_made_again(*, begun: bool) -> None:
    cancelled = CallCancelled("Cancelling all calls", code="CANCELLED")
    assert resumption_of(None).pause_after(cancelled, begun=begun) == 0.0
    with pytest.raises(CallCancelled):
        resumption_of(None, enabled=False).pause_after(cancelled, begun=begun)


def test_the_wait_for_a_server_is_no_longer_than_the_timeout_leaves_it() -> None:
    now = 0.0
    deadline = Deadline(2.5, clock=lambda: now)
    assert deadline.left() == 2.5
    resumption = Resumption(enabled=True, deadline=deadline)
    now = 0.5
    assert resumption.pause_after(refusal(1.0), begun=False) <= 1.5
    resumption.require_time()
    now = 2.0
    assert resumption.pause_after(refusal(1.0), begun=False) == 0.5
    with pytest.raises(DeadlineExceeded, match="too much to do") as ended:
        resumption.require_time()
    assert isinstance(ended.value.__cause__, Overloaded)


def test_an_answer_that_a_server_refuses_ends_with_its_timeout(client: Client) -> None:
    answer = client.answer("failure_before_start", timeout=0.3)  # it says to come back after 1.5 seconds
    with pytest.raises(DeadlineExceeded, match="as many answers run") as ended:
        answer.content()
    assert ended.value.request_id == answer.request_id
    assert isinstance(ended.value.__cause__, Overloaded)
    with pytest.raises(DeadlineExceeded) as again:
        answer.content()
    assert again.value is ended.value


@pytest.mark.anyio
async def test_an_async_answer_that_a_server_refuses_ends_with_its_timeout(async_client: AsyncClient) -> None:
    answer = async_client.answer("failure_before_start", timeout=0.3)
    with pytest.raises(DeadlineExceeded, match="as many answers run") as ended:
        await answer
    assert ended.value.request_id == answer.request_id
    assert isinstance(ended.value.__cause__, Overloaded)
