"""What the storms let the client do: give up only while the server was away, for as long as it says that it tries."""

from __future__ import annotations

import pytest

from tests.faults.answers import plans
from tests.faults.answers.giving_up import NO_CONNECTION, NO_WAY_BACK, NOT_KEPT, STOP_UNSENT, GivenUp, cause, counted
from tests.faults.answers.life import BrokenPromise
from tests.faults.answers.model import AnswerModel, Fault
from tests.faults.answers.plans import Mix

AT = 100.0


def lost(
    *, after: float = 20.5, exception: str = "ConnectionLost", what: str = "answer", again: bool = False
) -> GivenUp:
    return GivenUp(exception, what, AT - after, AT, again)


def faults(*spans: tuple[str, float, float], where: str = "orchestrator") -> list[Fault]:
    return [Fault(kind, where, AT + start, AT + end) for kind, start, end in spans]


@pytest.mark.parametrize(
    "done",
    [
        faults(("kill", -25, -1)),
        faults(("freeze", -21, -15), ("refuse", -12, -9), ("kill", -6, 3)),
        faults(("halfopen", -20, -14), ("kill", -13, -2)),
    ],
)
def test_a_client_may_give_up_where_the_server_was_away_for_as_long_as_it_tries(done: list[Fault]) -> None:
    assert cause(lost(), done) == NO_WAY_BACK


@pytest.mark.parametrize(
    ("given_up", "done"),
    [
        (lost(), []),
        (lost(after=3), faults(("kill", -25, -1))),
        (lost(), faults(("kill", -25, -1), where="assistant")),
        (lost(), faults(("kill", -20, -15), ("kill", -5, 0))),
        (lost(), faults(("kill", -20, -8))),
        (lost(), faults(("reset", -20, -20), ("reset", -12, -12), ("reset", -4, -4))),
        (lost(exception="ConnectionFailed", after=0), faults(("kill", -20, -8))),
        (lost(exception="ConnectionFailed", after=0), faults(("reset", -1, -1))),
        (lost(what="stop", after=1), faults(("kill", -20, -8))),
    ],
    ids=["nothing", "too soon", "elsewhere", "a gap", "long over", "it was there", "over", "a new one", "a stop"],
)
def test_nothing_else_explains_it(given_up: GivenUp, done: list[Fault]) -> None:
    assert cause(given_up, done) is None


def test_what_the_server_has_forgotten_need_not_be_looked_for() -> None:
    broken = faults(("kill", -4, -1))
    assert cause(lost(after=3), broken, forgotten=True) == NOT_KEPT
    assert cause(lost(after=3), faults(("kill", -25, -20)), forgotten=True) is None, "nothing broke it off"
    assert cause(lost(after=3, exception="ConnectionFailed"), broken, forgotten=False) == NO_CONNECTION


def test_where_nothing_was_sent_the_server_need_only_be_away_at_that_moment() -> None:
    given_up = lost(exception="ConnectionFailed", after=0)
    assert cause(given_up, faults(("refuse", -1, 2))) == NO_CONNECTION
    assert cause(given_up, faults(("kill", -8, -5))) == NO_CONNECTION, "the client waits before it connects again"
    assert cause(lost(what="stop", after=1), faults(("reset", -0.5, -0.5))) == STOP_UNSENT


def test_a_caller_who_asks_a_dead_server_again_and_again_is_one_caller() -> None:
    model = AnswerModel(plans.make(1, 1, Mix()))
    model.given_up = [lost(), lost(exception="ConnectionFailed", after=0, again=True)]
    assert counted([model], faults(("kill", -25, 3))) == ({NO_WAY_BACK: 1}, 20.0)


def test_what_nothing_explains_breaks_the_promise() -> None:
    model = AnswerModel(plans.make(1, 1, Mix()))
    model.given_up = [lost(after=3)]
    with pytest.raises(BrokenPromise, match="gave up after 3"):
        model.check([], [None])
