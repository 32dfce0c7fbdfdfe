"""How many answers may run, by how late the server is: decided of numbers alone, without a clock."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.errors import Overloaded
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.pressure import Pressure
from tests.orchestrator.asking import ME, REQUEST_ID, answer, asking
from tests.orchestrator.backends import Services, saying_then_hanging
from tests.orchestrator.events import text

LATE, IN_TIME = 0.05, 0.001
MOST, LEAST = 200, 20


def pressure() -> Pressure:
    return Pressure(most=MOST, least=LEAST, lateness=0.02, buffer_bytes=1000)


def tick(pressure: Pressure, late: float, *, running: int, times: int = 1, buffered: int = 0) -> None:
    for _ in range(times):
        pressure.tick([late] * 4, running=running, buffered=buffered)


def limit_named(refusal: Overloaded | None) -> str:
    assert refusal is not None
    assert refusal.retry_after == 1.0
    return refusal.metadata["limit"]


def test_a_server_in_time_takes_as_many_as_it_is_allowed_and_no_more() -> None:
    measured = pressure()
    tick(measured, IN_TIME, running=MOST - 1, times=100)
    assert measured.refusal(MOST - 1) is None
    assert limit_named(measured.refusal(MOST)) == "answers"


def test_a_server_that_is_late_takes_fewer_than_run_until_it_has_caught_up() -> None:
    measured = pressure()
    tick(measured, LATE, running=100, times=10)
    assert limit_named(measured.refusal(99)) == "lateness"
    assert 60 < measured.limit < 100, "a little fewer, not none"
    tick(measured, IN_TIME, running=measured.limit, times=100)
    assert measured.refusal(150) is None


def test_whatever_the_lateness_a_few_may_run() -> None:
    measured = pressure()
    for running in range(150, LEAST, -1):
        tick(measured, LATE, running=running)
    assert measured.limit == LEAST
    assert measured.refusal(LEAST - 1) is None


def test_a_single_long_step_is_no_overload() -> None:
    measured = pressure()
    tick(measured, IN_TIME, running=150, times=5)
    tick(measured, LATE * 20, running=150)
    tick(measured, IN_TIME, running=150)
    assert measured.limit == MOST


def test_buffers_that_are_full_refuse_new_answers_until_there_is_room() -> None:
    measured = pressure()
    tick(measured, IN_TIME, running=1, buffered=1001)
    assert limit_named(measured.refusal(1)) == "buffer_bytes"
    tick(measured, IN_TIME, running=1, buffered=1000)
    assert measured.refusal(1) is None


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.integers(0, 2 * MOST), st.integers(0, 2000)),
        max_size=60,
    )
)
def test_the_limit_stays_within_its_bounds_whatever_is_measured(ticks: list[tuple[float, int, int]]) -> None:
    measured = pressure()
    for late, running, buffered in ticks:
        tick(measured, late, running=running, buffered=buffered)
        assert LEAST <= measured.limit <= MOST
    tick(measured, IN_TIME, running=0, times=400)
    assert measured.limit == MOST, "it recovers from everything"


@pytest.mark.anyio
async def test_who_asks_again_for_an_answer_that_runs_is_not_refused() -> None:
    services = Services(saying_then_hanging(text("so far")))
    async with (
        services.orchestrator(OrchestratorConfig(max_answers=1)) as orchestrator,
        anyio.create_task_group() as tasks,
    ):
        request = asking(request_id=REQUEST_ID)
        first = orchestrator.stream_answer(request, ME)
        again = orchestrator.stream_answer(request, ME)
        assert (await anext(first)).started == (await anext(again)).started
        assert orchestrator.has_request(REQUEST_ID)
        with pytest.raises(Overloaded):
            await answer(orchestrator, asking())
        assert limit_named(orchestrator.refusal()) == "answers"
        await again.aclose()
        await first.aclose()
        tasks.cancel_scope.cancel()
    assert not orchestrator.has_request(REQUEST_ID)
