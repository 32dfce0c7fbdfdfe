"""What a client does where a server has too much to do to begin an answer."""

from __future__ import annotations

import pytest

from headwater import Overloaded, ServerDraining
from headwater._exceptions import CallError
from headwater._resuming import Resumption


def refusal(retry_after: float | None) -> Overloaded:
    return Overloaded("too much to do", code="RESOURCE_EXHAUSTED", reason="OVERLOADED", retry_after=retry_after)


def test_it_asks_again_twice_and_not_before_it_may() -> None:
    resumption = Resumption(enabled=True)
    pauses = [resumption.pause_after(refusal(2.0), begun=False) for _ in range(2)]
    assert all(2.0 <= pause <= 3.0 for pause in pauses)
    assert pauses[0] != pauses[1], "those who were refused together do not come back together"
    with pytest.raises(Overloaded):
        resumption.pause_after(refusal(2.0), begun=False)


@pytest.mark.parametrize("retry_after", [None, 60.0])
def test_it_does_not_wait_for_a_server_that_will_take_long(retry_after: float | None) -> None:
    with pytest.raises(Overloaded):
        Resumption(enabled=True).pause_after(refusal(retry_after), begun=False)


@pytest.mark.parametrize(("enabled", "begun"), [(False, False), (True, True)])
def test_it_asks_nothing_again_that_has_begun_or_that_it_was_told_not_to(*, enabled: bool, begun: bool) -> None:
    with pytest.raises(Overloaded):
        Resumption(enabled=enabled).pause_after(refusal(1.0), begun=begun)


def test_a_refusal_after_a_drained_server_is_waited_out_too() -> None:
    resumption = Resumption(enabled=True)
    draining: CallError = ServerDraining("it stops", code="UNAVAILABLE", reason="SERVER_DRAINING", retry_after=0.5)
    resumption.pause_after(draining, begun=False)
    assert resumption.pause_after(refusal(1.0), begun=False) >= 1.0
