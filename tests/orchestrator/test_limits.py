from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import pytest

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.retrieval_service_pb2 import RetrieveRequest, RetrieveResponse
from headwater_server.errors import Reason, ServiceError
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.feed import PENDING_BYTES
from headwater_server.orchestrator.watchdog import Limits
from tests.orchestrator.asking import ME, WAIT_SECONDS, answer, answer_into, asking, limits
from tests.orchestrator.backends import Script, Services, saying_then_hanging
from tests.orchestrator.events import HEARTBEAT, ended, reasoning, text
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules

pytestmark = pytest.mark.anyio

SHORT = 0.05


def repeating(first: AnswerChunk, *rest: AnswerChunk) -> Script:
    """A script that says the first, then the rest again and again, without an end."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        yield first
        while True:
            await anyio.sleep(SHORT / 10)
            for event in rest:
                yield event

    return script


async def failure_of(services: Services, **seconds: float) -> ServiceError:
    """What an answer fails with under these limits."""
    async with services.orchestrator() as orchestrator:
        with pytest.raises(ServiceError) as caught:
            await answer(orchestrator, asking(limits=limits(**seconds)))
    if services.assistants.requests:
        assert services.assistants.closed.is_set()
    return caught.value


async def test_silence_from_the_start_ends_at_first_token() -> None:
    failure = await failure_of(Services(saying_then_hanging()), first_token=SHORT)
    assert failure.reason is Reason.FIRST_TOKEN_TIMEOUT
    assert failure.metadata["limit_seconds"] == "0.05"
    assert failure.metadata["provider"] == "builtin"
    assert failure.metadata["answer"].startswith("answers/")


async def test_heartbeats_are_not_tokens() -> None:
    failure = await failure_of(Services(repeating(HEARTBEAT, HEARTBEAT)), first_token=SHORT)
    assert failure.reason is Reason.FIRST_TOKEN_TIMEOUT


async def test_the_clock_of_first_token_runs_during_the_search() -> None:
    async def searching(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        await anyio.sleep_forever()
        yield RetrieveResponse()

    services = Services(search=searching)
    failure = await failure_of(services, first_token=SHORT)
    assert failure.reason is Reason.FIRST_TOKEN_TIMEOUT
    assert services.retrieval.closed.is_set()


async def test_reasoning_counts_as_a_first_token() -> None:
    failure = await failure_of(Services(saying_then_hanging(reasoning("hm"))), first_token=5, between_tokens=SHORT)
    assert failure.reason is Reason.STREAM_STALLED
    assert failure.metadata["limit_seconds"] == "0.05"


async def test_silence_after_text_ends_at_between_tokens_and_heartbeats_do_not_help() -> None:
    failure = await failure_of(Services(repeating(text("a"), HEARTBEAT)), between_tokens=SHORT)
    assert failure.reason is Reason.STREAM_STALLED


async def test_a_stall_after_a_late_first_token_is_noticed_before_first_token_would_be() -> None:
    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        await anyio.sleep(SHORT)
        yield text("a")
        await anyio.sleep_forever()

    failure = await failure_of(Services(script), first_token=3600, between_tokens=2 * SHORT)
    assert failure.reason is Reason.STREAM_STALLED


async def test_the_part_before_a_stall_has_reached_the_reader() -> None:
    chunks: list[AnswerChunk] = []
    async with Services(saying_then_hanging(text("a"), text("b"))).orchestrator() as orchestrator:
        with pytest.raises(ServiceError):
            await answer_into(chunks, orchestrator, asking(limits=limits(between_tokens=SHORT)))
    assert assert_begins_by_the_rules(chunks) is None
    assert "".join(chunk.text.text for chunk in chunks) == "ab"


async def test_reasoning_and_text_keep_a_stream_alive() -> None:
    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        for _ in range(10):
            await anyio.sleep(0.1)
            yield reasoning("hm")
        yield text("done")
        yield ended()

    async with Services(script).orchestrator() as orchestrator:
        terminal = assert_rules(await answer(orchestrator, asking(limits=limits(first_token=0.8, between_tokens=0.8))))
    assert terminal.text == "done"


async def test_total_after_text_ends_well_with_what_there_is() -> None:
    async with Services(repeating(text("a"), text("b"))).orchestrator() as orchestrator:
        terminal = assert_rules(await answer(orchestrator, asking(limits=limits(total=2 * SHORT))))
    assert terminal.finish_reason == answer_pb2.FINISH_REASON_TIME_LIMIT
    assert terminal.state == answer_pb2.ANSWER_STATE_SUCCEEDED
    assert terminal.text.startswith("ab")
    assert terminal.usage.partial
    assert terminal.usage.origin == answer_pb2.USAGE_ORIGIN_ESTIMATED
    assert terminal.usage.output_tokens > 0


@pytest.mark.parametrize(
    "script", [saying_then_hanging(), repeating(reasoning("hm"), reasoning("hm"))], ids=["silence", "reasoning only"]
)
async def test_total_before_any_text_ends_as_first_token_does(script: Script) -> None:
    failure = await failure_of(Services(script), total=SHORT)
    assert failure.reason is Reason.FIRST_TOKEN_TIMEOUT
    assert failure.metadata["limit_seconds"] == "0.05"


async def test_limits_come_from_the_settings_where_the_request_has_none() -> None:
    config = OrchestratorConfig(limits=Limits(first_token=SHORT, between_tokens=60, total=60))
    async with Services(saying_then_hanging()).orchestrator(config) as orchestrator:
        with pytest.raises(ServiceError, match="nothing within"):
            await answer(orchestrator, asking(limits=limits(total=50)))


async def test_a_silent_answer_sends_heartbeats() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator(OrchestratorConfig(heartbeat=0.01)) as orchestrator:
        chunks: list[AnswerChunk] = []
        async with aclosing(orchestrator.stream_answer(asking(), ME)) as stream:
            async for chunk in stream:
                chunks.append(chunk)
                if [each.WhichOneof("event") for each in chunks[-2:]] == ["heartbeat", "heartbeat"]:
                    break
    assert_begins_by_the_rules(chunks)
    assert chunks[-1].sequence == 3


async def test_a_slow_reader_holds_the_assistant_back_and_is_not_taken_for_a_stalled_one() -> None:
    said = 0

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        nonlocal said
        for _ in range(64):
            said += 1
            yield text("x" * (PENDING_BYTES // 8))
        yield ended()

    async with Services(script).orchestrator() as orchestrator:
        chunks: list[AnswerChunk] = []
        with anyio.fail_after(WAIT_SECONDS):
            async with aclosing(orchestrator.stream_answer(asking(limits=limits(between_tokens=SHORT)), ME)) as stream:
                async for chunk in stream:
                    chunks.append(chunk)
                    if chunk.HasField("text") and chunk.text.offset_bytes == 0:
                        await anyio.sleep(5 * SHORT)
                        assert said <= 20, "what may wait is bounded"
    assert len(assert_rules(chunks).text) == 8 * PENDING_BYTES
