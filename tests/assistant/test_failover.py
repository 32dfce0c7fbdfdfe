from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import anyio
import pytest

from headwater_server.assistant.failover import Attempt, FailoverPolicy, ProviderHealth, first_to_speak
from headwater_server.assistant.protocol import Event, Finished, FinishReason, Text
from headwater_server.errors import Reason, ServiceError

pytestmark = pytest.mark.anyio

DONE = Finished(FinishReason.STOP)
Step = Event | ServiceError | float
"""What a scripted assistant does next: it says something, fails, or is silent for so many seconds."""


def failure(reason: Reason = Reason.PROVIDER_UNAVAILABLE, *, retry_after: float | None = None) -> ServiceError:
    return ServiceError(reason, "it failed", retry_after=retry_after)


@dataclass
class Scripted:
    """An assistant that follows one script a call; the last one again and again."""

    name: str
    scripts: list[list[Step]]
    calls: int = 0
    open: int = 0
    attempt: Attempt = field(init=False)

    def __post_init__(self) -> None:
        self.attempt = Attempt(self.name, self.start)

    async def start(self) -> AsyncGenerator[Event]:
        script = self.scripts[min(self.calls, len(self.scripts) - 1)]
        self.calls += 1
        self.open += 1
        try:
            for step in script:
                if isinstance(step, ServiceError):
                    raise step
                if isinstance(step, float):
                    await anyio.sleep(step)
                else:
                    yield step
        finally:
            self.open -= 1


def quick(**more: object) -> FailoverPolicy:
    settings: dict[str, object] = {"first_delay": 0.001, "longest_delay": 0.01, **more}
    return FailoverPolicy(**settings)  # type: ignore[arg-type]  # fields by name


async def heard(
    *assistants: Scripted, policy: FailoverPolicy | None = None, health: ProviderHealth | None = None
) -> tuple[str, str]:
    """Who was heard, and what it said."""
    policy = policy or quick()
    health = health or ProviderHealth(policy)
    attempts = [assistant.attempt for assistant in assistants]
    try:
        async with first_to_speak(attempts, policy=policy, health=health) as spoken:
            events = [spoken.first, *[event async for event in spoken.rest]]
        assert events[-1] == DONE
        return spoken.attempt.assistant, "".join(event.text for event in events if isinstance(event, Text))
    finally:
        assert not any(assistant.open for assistant in assistants)


async def test_an_assistant_that_speaks_is_heard_and_nobody_else_is_asked() -> None:
    first, second = Scripted("a/m", [[Text("one"), Text("two"), DONE]]), Scripted("b/m", [[DONE]])
    assert await heard(first, second) == ("a/m", "onetwo")
    assert second.calls == 0


@pytest.mark.parametrize(
    "reason", [Reason.PROVIDER_UNAVAILABLE, Reason.PROVIDER_RATE_LIMITED, Reason.PROVIDER_TRUNCATED]
)
async def test_a_passing_failure_is_tried_again(reason: Reason) -> None:
    assistant = Scripted("a/m", [[failure(reason)], [failure(reason)], [Text("there"), DONE]])
    assert await heard(assistant) == ("a/m", "there")
    assert assistant.calls == 3


@pytest.mark.parametrize(
    "reason",
    [Reason.PROVIDER_REJECTED, Reason.PROVIDER_UNAUTHENTICATED, Reason.CONTEXT_TOO_LARGE, Reason.INVALID_FIELD],
)
async def test_what_was_refused_is_never_asked_again_nor_elsewhere(reason: Reason) -> None:
    first, second = Scripted("a/m", [[failure(reason)]]), Scripted("b/m", [[Text("no"), DONE]])
    with pytest.raises(ServiceError) as raised:
        await heard(first, second)
    assert raised.value.reason is reason
    assert (first.calls, second.calls) == (1, 0)


async def test_after_its_retries_the_next_assistant_is_asked() -> None:
    first, second = Scripted("a/m", [[failure()]]), Scripted("b/m", [[Text("here"), DONE]])
    assert await heard(first, second, policy=quick(retries=2)) == ("b/m", "here")
    assert first.calls == 3


async def test_when_all_fail_the_failure_of_the_wanted_one_names_all_that_were_tried() -> None:
    first, second = Scripted("a/m", [[failure()]]), Scripted("b/m", [[failure(Reason.PROVIDER_RATE_LIMITED)]])
    with pytest.raises(ServiceError) as raised:
        await heard(first, second, policy=quick(retries=0))
    assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE
    assert raised.value.metadata["tried"] == "a/m, b/m"


UNFIT = [Reason.INVALID_FIELD, Reason.CONTEXT_TOO_LARGE, Reason.RESOURCE_NOT_FOUND]


@pytest.mark.parametrize("reason", UNFIT)
async def test_a_fallback_that_cannot_take_the_request_is_passed_over(reason: Reason) -> None:
    first, unfit = Scripted("a/m", [[failure()]]), Scripted("b/m", [[failure(reason)]])
    third = Scripted("c/m", [[Text("here"), DONE]])
    assert await heard(first, unfit, third, policy=quick(retries=0)) == ("c/m", "here")


@pytest.mark.parametrize("reason", UNFIT)
async def test_a_last_fallback_that_cannot_take_the_request_does_not_hide_why_it_was_asked(reason: Reason) -> None:
    first, unfit = Scripted("a/m", [[failure()]]), Scripted("b/m", [[failure(reason)]])
    with pytest.raises(ServiceError) as raised:
        await heard(first, unfit, policy=quick(retries=0))
    assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE
    assert raised.value.metadata["tried"] == "a/m, b/m"


async def test_a_fallback_that_refuses_is_heard_of() -> None:
    first, refusing = Scripted("a/m", [[failure()]]), Scripted("b/m", [[failure(Reason.PROVIDER_UNAUTHENTICATED)]])
    with pytest.raises(ServiceError) as raised:
        await heard(first, refusing, Scripted("c/m", [[DONE]]), policy=quick(retries=0))
    assert raised.value.reason is Reason.PROVIDER_UNAUTHENTICATED
    assert raised.value.metadata["tried"] == "a/m, b/m"


async def test_an_assistant_that_says_nothing_gives_way_to_the_next_and_is_not_asked_again() -> None:
    silent, second = Scripted("a/m", [[60.0, DONE]]), Scripted("b/m", [[Text("here"), DONE]])
    assert await heard(silent, second, policy=quick(first_event=0.02)) == ("b/m", "here")
    assert silent.calls == 1


@pytest.mark.parametrize("hedge_after", [0, 0.01])
async def test_the_last_one_left_is_waited_for(hedge_after: float) -> None:
    silent, slow = Scripted("a/m", [[60.0, DONE]]), Scripted("b/m", [[0.2, Text("late"), DONE]])
    assert await heard(silent, slow, policy=quick(first_event=0.02, hedge_after=hedge_after)) == ("b/m", "late")
    assert await heard(slow, policy=quick(first_event=0.02)) == ("b/m", "late")


async def test_after_its_first_event_an_assistant_may_be_silent_for_longer() -> None:
    first, second = Scripted("a/m", [[Text("one"), 0.2, Text("two"), DONE]]), Scripted("b/m", [[DONE]])
    assert await heard(first, second, policy=quick(first_event=0.05)) == ("a/m", "onetwo")


async def test_an_assistant_that_says_nothing_is_put_to_rest() -> None:
    policy = quick(first_event=0.02, failures_to_rest=2)
    health = ProviderHealth(policy)
    silent, second = Scripted("a/m", [[60.0, DONE]]), Scripted("b/m", [[Text("here"), DONE]])
    for _ in range(4):
        assert await heard(silent, second, policy=policy, health=health) == ("b/m", "here")
    assert silent.calls == 2


@pytest.mark.parametrize(("waited", "calls"), [(1.0, 4), (31.0, 2)])
async def test_a_silence_that_a_caller_has_had_enough_of_counts_where_it_was_long(waited: float, calls: int) -> None:
    now = 0.0
    policy = quick(first_event=30, failures_to_rest=2, rest=60)
    health = ProviderHealth(policy, clock=lambda: now)
    silent = Scripted("a/m", [[60.0, DONE]])
    for _ in range(4):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def leave() -> None:
                    nonlocal now
                    await anyio.sleep(0.02)
                    now += waited
                    scope.cancel()

                tasks.start_soon(leave)
                try:
                    await heard(silent, policy=policy, health=health)
                except ServiceError:
                    tasks.cancel_scope.cancel()
    assert silent.calls == calls


async def test_after_the_first_event_a_failure_stands() -> None:
    first, second = Scripted("a/m", [[Text("half"), failure()]]), Scripted("b/m", [[Text("other"), DONE]])
    with pytest.raises(ServiceError):
        await heard(first, second)
    assert (first.calls, second.calls) == (1, 0)


async def test_a_provider_that_asks_for_more_than_it_is_worth_is_not_waited_for() -> None:
    assistant = Scripted("a/m", [[failure(Reason.PROVIDER_RATE_LIMITED, retry_after=3600)], [DONE]])
    with pytest.raises(ServiceError) as raised:
        await heard(assistant)
    assert raised.value.retry_after == 3600
    assert assistant.calls == 1


def test_a_delay_is_what_was_asked_for_and_a_jitter_that_doubles() -> None:
    policy = FailoverPolicy(first_delay=1, longest_delay=8)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (9, 8)):
        delays = [policy.delay(failures, failure(retry_after=2)) for _ in range(200)]
        assert all(delay is not None and 2 <= delay <= 2 + longest for delay in delays)
        assert max(delay or 0 for delay in delays) > 2 + longest / 2
    assert policy.delay(1, failure(retry_after=9)) is None


async def test_retries_are_limited_to_a_share_of_the_requests() -> None:
    policy = quick(retries=3, budget=0.1, failures_to_rest=0)
    health = ProviderHealth(policy)
    assistant = Scripted("a/m", [[failure()]])
    for _ in range(100):
        with pytest.raises(ServiceError):
            await heard(assistant, policy=policy, health=health)
    assert assistant.calls <= 100 + 10 + 0.1 * assistant.calls + 1


async def test_a_provider_that_is_down_rests_and_is_tried_by_one_request_then() -> None:
    now = 0.0
    policy = quick(retries=0, failures_to_rest=3, rest=15)
    health = ProviderHealth(policy, clock=lambda: now)
    assistant = Scripted("a/m", [[failure()]])
    for _ in range(5):
        with pytest.raises(ServiceError) as raised:
            await heard(assistant, policy=policy, health=health)
    assert assistant.calls == 3
    assert raised.value.retry_after == 15
    now = 16
    with pytest.raises(ServiceError):
        await heard(assistant, policy=policy, health=health)
    with pytest.raises(ServiceError, match="left alone"):
        await heard(assistant, policy=policy, health=health)
    assert assistant.calls == 4
    now = 32
    assistant.scripts = [[Text("back"), DONE]]
    for _ in range(3):
        assert await heard(assistant, policy=policy, health=health) == ("a/m", "back")


async def test_while_a_provider_rests_its_fallback_is_asked_at_once() -> None:
    policy = quick(retries=0, failures_to_rest=1, rest=60)
    health = ProviderHealth(policy)
    first, second = Scripted("a/m", [[failure()]]), Scripted("b/m", [[Text("here"), DONE]])
    for _ in range(3):
        assert await heard(first, second, policy=policy, health=health) == ("b/m", "here")
    assert first.calls == 1


async def test_refusals_do_not_put_a_provider_to_rest() -> None:
    policy = quick(retries=0, failures_to_rest=1)
    health = ProviderHealth(policy)
    assistant = Scripted("a/m", [[failure(Reason.PROVIDER_REJECTED)]])
    for _ in range(3):
        with pytest.raises(ServiceError):
            await heard(assistant, policy=policy, health=health)
    assert assistant.calls == 3


@pytest.mark.parametrize("reason", [*UNFIT, Reason.OVERLOADED])
async def test_what_was_refused_here_says_nothing_of_how_an_assistant_is(reason: Reason) -> None:
    policy = quick(retries=0, failures_to_rest=2, rest=60)
    health = ProviderHealth(policy)
    assistant = Scripted("a/m", [[failure()], [failure(reason)]])
    for _ in range(2):
        with pytest.raises(ServiceError):
            await heard(assistant, policy=policy, health=health)
    assistant.scripts = [[failure()]]
    for expected in ("it failed", "left alone"):
        with pytest.raises(ServiceError, match=expected):
            await heard(assistant, policy=policy, health=health)


async def test_the_probe_of_a_resting_assistant_that_is_refused_here_leaves_it_resting() -> None:
    now = 0.0
    policy = quick(retries=0, failures_to_rest=2, rest=15)
    health = ProviderHealth(policy, clock=lambda: now)
    assistant = Scripted("a/m", [[failure()], [failure()], [failure(Reason.INVALID_FIELD)], [failure()]])
    for moment in (0.0, 0.0, 16.0, 17.0):
        now = moment
        with pytest.raises(ServiceError, match="it failed"):
            await heard(assistant, policy=policy, health=health)
    with pytest.raises(ServiceError, match="left alone"):
        await heard(assistant, policy=policy, health=health)


async def test_an_assistant_that_fails_does_not_put_the_others_of_its_provider_to_rest() -> None:
    policy = quick(retries=0, failures_to_rest=1, rest=60)
    health = ProviderHealth(policy)
    broken, sound = Scripted("a/broken", [[failure()]]), Scripted("a/sound", [[Text("here"), DONE]])
    for _ in range(2):
        with pytest.raises(ServiceError):
            await heard(broken, policy=policy, health=health)
    assert broken.calls == 1
    assert await heard(sound, policy=policy, health=health) == ("a/sound", "here")


async def test_of_any_number_of_failing_names_a_bounded_number_is_remembered() -> None:
    policy = quick(retries=0, failures_to_rest=1, rest=60)
    health = ProviderHealth(policy)
    for number in range(1500):
        health.failed(f"a/{number}", failure())
    health.admit("a/0")
    with pytest.raises(ServiceError):
        health.admit("a/1499")


async def test_a_request_that_is_cancelled_closes_what_it_had_asked() -> None:
    assistant = Scripted("a/m", [[60.0, DONE]])
    with anyio.move_on_after(0.05):
        await heard(assistant)
    assert (assistant.calls, assistant.open) == (1, 0)


async def test_a_slow_assistant_is_hedged_and_the_one_that_speaks_first_is_heard_alone() -> None:
    slow, fast = Scripted("a/m", [[60.0, Text("late"), DONE]]), Scripted("b/m", [[Text("now"), Text("!"), DONE]])
    assert await heard(slow, fast, policy=quick(hedge_after=0.01)) == ("b/m", "now!")
    assert (slow.calls, fast.calls) == (1, 1)


async def test_an_assistant_that_speaks_in_time_is_not_hedged() -> None:
    first, second = Scripted("a/m", [[Text("one"), 0.1, Text("two"), DONE]]), Scripted("b/m", [[DONE]])
    assert await heard(first, second, policy=quick(hedge_after=0.05)) == ("a/m", "onetwo")
    assert second.calls == 0


async def test_without_a_fallback_the_same_assistant_is_asked_twice() -> None:
    assistant = Scripted("a/m", [[60.0], [Text("second"), DONE]])
    assert await heard(assistant, policy=quick(hedge_after=0.01)) == ("a/m", "second")


async def test_where_the_hedge_fails_the_first_is_still_waited_for() -> None:
    slow, broken = Scripted("a/m", [[0.1, Text("late"), DONE]]), Scripted("b/m", [[failure()]])
    assert await heard(slow, broken, policy=quick(hedge_after=0.01)) == ("a/m", "late")


async def test_a_hedged_answer_that_breaks_after_its_first_event_fails() -> None:
    slow, breaking = Scripted("a/m", [[60.0]]), Scripted("b/m", [[Text("half"), failure()]])
    with pytest.raises(ServiceError):
        await heard(slow, breaking, policy=quick(hedge_after=0.01))


async def test_a_hedged_answer_that_breaks_at_once_is_heard_so_far_and_nobody_is_asked_after_it() -> None:
    breaking, second = Scripted("a/m", [[Text("half"), failure()]]), Scripted("b/m", [[Text("other"), DONE]])
    policy = quick(hedge_after=0.5)
    attempts = [breaking.attempt, second.attempt]
    async with first_to_speak(attempts, policy=policy, health=ProviderHealth(policy)) as spoken:
        assert spoken.first == Text("half")
        with pytest.raises(ServiceError):
            await anext(spoken.rest)
    assert (breaking.calls, second.calls) == (1, 0)


async def test_hedges_are_taken_from_the_budget_of_whom_they_ask() -> None:
    policy = quick(hedge_after=0.01, budget=0)
    health = ProviderHealth(policy)
    slow, other = Scripted("a/m", [[0.1, Text("late"), DONE]]), Scripted("b/m", [[60.0]])
    for _ in range(15):
        assert await heard(slow, other, policy=policy, health=health) == ("a/m", "late")
    assert other.calls == 10


async def test_an_assistant_that_is_outrun_again_and_again_is_put_to_rest() -> None:
    policy = quick(hedge_after=0.01, failures_to_rest=3, rest=60)
    health = ProviderHealth(policy)
    silent, second = Scripted("a/m", [[60.0]]), Scripted("b/m", [[Text("here"), DONE]])
    for _ in range(5):
        assert await heard(silent, second, policy=policy, health=health) == ("b/m", "here")
    assert silent.calls == 3


@pytest.mark.parametrize(
    ("reason", "failures_to_rest", "calls"), [(Reason.PROVIDER_UNAVAILABLE, 4, 4), (Reason.PROVIDER_RATE_LIMITED, 1, 6)]
)
async def test_a_failure_of_one_that_was_hedged_counts_as_it_does_without_a_hedge(
    reason: Reason, failures_to_rest: int, calls: int
) -> None:
    policy = quick(hedge_after=0.01, failures_to_rest=failures_to_rest, rest=60)
    health = ProviderHealth(policy)
    broken, second = Scripted("a/m", [[0.05, failure(reason)]]), Scripted("b/m", [[0.15, Text("here"), DONE]])
    for _ in range(6):
        assert await heard(broken, second, policy=policy, health=health) == ("b/m", "here")
    assert broken.calls == calls


@pytest.mark.parametrize(
    "reason",
    [Reason.PROVIDER_REJECTED, Reason.PROVIDER_UNAUTHENTICATED, Reason.CONTEXT_TOO_LARGE, Reason.INVALID_FIELD],
)
async def test_a_hedge_does_not_hide_that_the_request_was_refused(reason: Reason) -> None:
    refusing, second = Scripted("a/m", [[0.05, failure(reason)]]), Scripted("b/m", [[60.0, Text("no"), DONE]])
    with anyio.fail_after(20), pytest.raises(ServiceError) as raised:
        await heard(refusing, second, policy=quick(hedge_after=0.01))
    assert raised.value.reason is reason
    assert (refusing.calls, second.calls) == (1, 1)


@pytest.mark.parametrize("reason", UNFIT)
async def test_a_hedge_of_a_fallback_that_cannot_take_the_request_is_still_heard(reason: Reason) -> None:
    first, unfit = Scripted("a/m", [[failure()]]), Scripted("b/m", [[0.05, failure(reason)]])
    third = Scripted("c/m", [[0.15, Text("here"), DONE]])
    assert await heard(first, unfit, third, policy=quick(retries=0, hedge_after=0.01)) == ("c/m", "here")
    assert third.calls == 1
