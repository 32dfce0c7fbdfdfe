"""Answers of a server that lives on, whose connection to another service broke."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import pytest

from headwater.v1 import source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.retrieval_service_pb2 import RetrieveRequest, RetrieveResponse
from headwater_server.errors import InvalidRequest, Overloaded, Reason, ServiceError, ServiceUnreachable
from headwater_server.orchestrator import trying
from tests.orchestrator.asking import answer, answer_into, asking, limits
from tests.orchestrator.backends import Script, Services, saying_then_failing
from tests.orchestrator.continuing import WHOLE, going_on, substance, uninterrupted
from tests.orchestrator.events import citation, ended, reasoning, text
from tests.orchestrator.rules import assert_rules

pytestmark = pytest.mark.anyio

BROKEN = ServiceUnreachable("assistant")
DRAINING = ServiceError(Reason.SERVER_DRAINING, "stops", retry_after=1)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(trying, "_LONGEST_PAUSE", 0.001)


def breaking(*failures: tuple[int, Exception], events: Sequence[AnswerChunk] = WHOLE) -> Script:
    """A deterministic assistant whose n-th answer fails so after so many events."""
    left = list(failures)

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        count, failure = left.pop(0) if left else (-1, BROKEN)
        async with aclosing(going_on(events)(request)) as said:
            async for event in said:
                if count == 0:
                    raise failure
                count -= 1
                yield event

    return script


@pytest.mark.parametrize("failure", [BROKEN, DRAINING], ids=["broken", "draining"])
@pytest.mark.parametrize("count", range(len(WHOLE)))
async def test_where_the_assistants_connection_breaks_it_goes_on_and_the_answer_is_the_same(
    count: int, failure: ServiceError
) -> None:
    services = Services(breaking((count, failure)))
    async with services.orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
    assert substance(chunks) == substance(await uninterrupted())
    assert len(services.assistants.requests) == 2
    assert services.assistants.requests[1].prefix.text == "".join(event.text.text for event in WHOLE[:count])
    assert chunks[-1].answer.timings.continuations == (count > 0)
    assert chunks[-1].answer.usage.partial
    assert len(services.retrieval.requests) == 1


async def test_a_connection_may_break_as_often_as_the_answer_comes_forward() -> None:
    many = [text(f"w{number} ") for number in range(3 * trying.TRIES)]
    services = Services(breaking(*[(1, BROKEN)] * (2 * trying.TRIES), events=[*many, ended()]))
    async with services.orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
    assert assert_rules(chunks).text == "".join(event.text.text for event in many)


async def test_an_assistant_service_that_stays_away_is_asked_a_bounded_number_of_times() -> None:
    services = Services(saying_then_failing(BROKEN))
    async with services.orchestrator() as orchestrator:
        with pytest.raises(ServiceUnreachable):
            await answer(orchestrator, asking())
    assert len(services.assistants.requests) == trying.TRIES


async def test_an_assistant_service_that_dies_of_what_it_is_asked_is_asked_it_a_few_times_only() -> None:
    died = ServiceUnreachable("assistant", taken_up=True)
    services = Services(breaking(*[(0, died)] * (trying.TRIES_TAKEN_UP - 1)))
    async with services.orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
    assert substance(chunks) == substance(await uninterrupted()), "it may have died of something else"
    services = Services(saying_then_failing(died))
    async with services.orchestrator() as orchestrator:
        with pytest.raises(ServiceError, match="not asked again") as raised:
            await answer(orchestrator, asking())
    assert (raised.value.reason, raised.value.retry_after) == (Reason.PROVIDER_UNAVAILABLE, None)
    assert len(services.assistants.requests) == trying.TRIES_TAKEN_UP


async def test_an_assistant_service_may_die_as_often_as_the_answer_comes_forward() -> None:
    died = ServiceUnreachable("assistant", taken_up=True)
    many = [text(f"w{number} ") for number in range(3 * trying.TRIES_TAKEN_UP)]
    services = Services(breaking(*[(1, died)] * (2 * trying.TRIES_TAKEN_UP), events=[*many, ended()]))
    async with services.orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
    assert assert_rules(chunks).text == "".join(event.text.text for event in many)


async def test_the_limits_of_an_answer_hold_while_it_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "_FIRST_PAUSE", 60)
    monkeypatch.setattr(trying, "_LONGEST_PAUSE", 60)
    async with Services(saying_then_failing(BROKEN)).orchestrator() as orchestrator:
        with pytest.raises(ServiceError) as raised:
            await answer(orchestrator, asking(limits=limits(first_token=0.05)))
    assert raised.value.reason is Reason.FIRST_TOKEN_TIMEOUT


@pytest.mark.parametrize("said", [[text("One ")], [text("One "), citation(0, 3, "1")]])
async def test_an_assistant_that_does_not_continue_leaves_the_failure_as_it_was(said: list[AnswerChunk]) -> None:
    def script() -> Script:
        asked = 0

        async def answering(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise InvalidRequest("prefix", "does not continue")
            for event in said:
                yield event
            raise BROKEN

        return answering

    services = Services(script())
    seen: list[AnswerChunk] = []
    async with services.orchestrator() as orchestrator:
        with pytest.raises(ServiceUnreachable):
            await answer_into(seen, orchestrator, asking())
    assert "".join(chunk.text.text for chunk in seen) == "One "
    assert len(services.assistants.requests) == 2


async def test_an_assistant_that_was_thinking_is_not_asked_again() -> None:
    services = Services(saying_then_failing(BROKEN, reasoning("Hm.")))
    async with services.orchestrator() as orchestrator:
        with pytest.raises(ServiceUnreachable):
            await answer(orchestrator, asking())
    assert len(services.assistants.requests) == 1


async def test_a_service_without_room_is_waited_for_by_those_alone_whom_it_had_begun_to_answer() -> None:
    full = Overloaded("full", retry_after=0.001)
    services = Services(breaking((2, BROKEN), (0, full), (0, full)))
    async with services.orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
    assert substance(chunks) == substance(await uninterrupted())
    services = Services(breaking((0, full)))
    async with services.orchestrator() as orchestrator:
        with pytest.raises(Overloaded):
            await answer(orchestrator, asking())


async def test_what_a_provider_says_is_not_tried_again() -> None:
    services = Services(saying_then_failing(ServiceError(Reason.PROVIDER_UNAVAILABLE, "503")))
    async with services.orchestrator() as orchestrator:
        with pytest.raises(ServiceError, match="503"):
            await answer(orchestrator, asking())
    assert len(services.assistants.requests) == 1


def failing_searches(count: int) -> Callable[[RetrieveRequest], AsyncGenerator[RetrieveResponse, None]]:
    """A search whose connection breaks so often, after its first batch."""
    left = count

    async def search(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        nonlocal left
        yield RetrieveResponse(sources=[source_pb2.Source(content="first")])
        if left:
            left -= 1
            raise ServiceUnreachable("retrieval")
        yield RetrieveResponse(sources=[source_pb2.Source(content="second")])
        yield RetrieveResponse(statistics=source_pb2.RetrievalStatistics(candidates=2))

    return search


async def test_a_search_whose_connection_breaks_is_tried_again() -> None:
    services = Services(going_on(), search=failing_searches(trying.TRIES - 1))
    async with services.orchestrator() as orchestrator:
        chunks = await answer(orchestrator, asking())
    assert substance(chunks)[2] == ["first", "second"]
    services = Services(going_on(), search=failing_searches(trying.TRIES))
    async with services.orchestrator() as orchestrator:
        with pytest.raises(ServiceUnreachable):
            await answer(orchestrator, asking())
    assert len(services.retrieval.requests) == trying.TRIES
