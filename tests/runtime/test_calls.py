"""Answers through a real server: what a caller of the wire sees."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import grpc
import pytest
import structlog
from google.rpc import error_details_pb2

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import CancelAnswerRequest, ResumeAnswerRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater_server.errors import Reason, ServiceError
from headwater_server.orchestrator.config import OrchestratorConfig
from tests.orchestrator.asking import REQUEST_ID, asking, limits
from tests.orchestrator.backends import Services, saying_then_failing, saying_then_hanging
from tests.orchestrator.events import ended, reasoning, text
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules
from tests.runtime.serving import WAIT_SECONDS, Stubs, detail, exhaust, info, serving

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]


async def failed_stream(stubs: Stubs, chunks: list[AnswerChunk], **fields: Any) -> grpc.aio.AioRpcError:
    """The failure a stream ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught, anyio.fail_after(WAIT_SECONDS):
        await exhaust(stubs.answers.StreamAnswer(asking(**fields)), chunks)
    return caught.value


async def test_a_stream_and_its_unary_twin() -> None:
    async with serving(Services()) as stubs:
        chunks = [chunk async for chunk in stubs.answers.StreamAnswer(asking())]
        generated = await stubs.answers.GenerateAnswer(asking())
    assert generated.text == assert_rules(chunks).text == "Hello, world."


async def test_a_failure_in_mid_stream_is_a_status_with_its_reason() -> None:
    failure = ServiceError(Reason.PROVIDER_RATE_LIMITED, "slow down", retry_after=2.5, metadata={"http_status": "429"})
    chunks: list[AnswerChunk] = []
    async with serving(Services(saying_then_failing(failure, text("The part")))) as stubs:
        error = await failed_stream(stubs, chunks)
    assert "".join(chunk.text.text for chunk in chunks) == "The part"
    assert assert_begins_by_the_rules(chunks) is None
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down")
    assert info(error).reason == "PROVIDER_RATE_LIMITED"
    assert info(error).metadata["http_status"] == "429"
    assert info(error).metadata["request_id"]
    assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 2500
    assert "grpc-retry-pushback-ms" not in dict(error.trailing_metadata() or ())


async def test_limits_end_as_deadlines_with_their_reasons() -> None:
    async with serving(Services(saying_then_hanging())) as stubs:
        error = await failed_stream(stubs, [], limits=limits(first_token=0.05))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert info(error).reason == "FIRST_TOKEN_TIMEOUT"


async def test_a_client_that_cancels_closes_the_upstream() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with serving(services) as stubs:
        call = stubs.answers.StreamAnswer(asking())
        async for chunk in call:
            if chunk.HasField("text"):
                break
        call.cancel()
        with anyio.fail_after(WAIT_SECONDS):
            await services.assistants.closed.wait()


async def test_a_connection_that_is_closed_closes_the_upstream() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with serving(services) as stubs:
        async for chunk in stubs.answers.StreamAnswer(asking()):
            if chunk.HasField("text"):
                break
        await stubs.channel.close()
        with anyio.fail_after(WAIT_SECONDS):
            await services.assistants.closed.wait()


@pytest.mark.parametrize("method", ["StreamAnswer", "GenerateAnswer"])
async def test_the_callers_deadline_reaches_the_upstream(method: str) -> None:
    services = Services(saying_then_hanging(text("a")))
    async with serving(services) as stubs:
        call = getattr(stubs.answers, method)(asking(), timeout=2)
        ended_call = exhaust(call) if method == "StreamAnswer" else call
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ended_call
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        with anyio.fail_after(WAIT_SECONDS):
            await services.assistants.closed.wait()


async def test_cancel_answer_ends_the_stream_of_its_reader() -> None:
    services = Services(saying_then_hanging(text("The part")))
    async with serving(services) as stubs:
        chunks: list[AnswerChunk] = []
        returned: answer_pb2.Answer | None = None
        async for chunk in stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID)):
            chunks.append(chunk)
            if chunk.HasField("text"):
                returned = await stubs.answers.CancelAnswer(CancelAnswerRequest(request_id=REQUEST_ID))
    assert assert_rules(chunks) == returned
    assert returned is not None
    assert returned.finish_reason == answer_pb2.FINISH_REASON_CANCELLED


async def test_a_request_id_used_for_another_request_is_refused() -> None:
    async with serving(Services(saying_then_hanging(text("a")))) as stubs:
        call = stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID))
        await call.read()
        error = await failed_stream(stubs, [], prompt="something else", request_id=REQUEST_ID)
        call.cancel()
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info(error).reason == "REQUEST_ID_REUSED"
    assert dict(info(error).metadata)["request_id"] == REQUEST_ID


async def test_a_failed_answer_gives_its_status_again_to_those_who_resume() -> None:
    failure = ServiceError(Reason.PROVIDER_RATE_LIMITED, "slow down", retry_after=2, metadata={"provider": "x"})
    async with serving(Services(saying_then_failing(failure, text("The part")))) as stubs:
        chunks: list[AnswerChunk] = []
        first = await failed_stream(stubs, chunks)
        snapshot: list[AnswerChunk] = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exhaust(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=chunks[0].started.answer)), snapshot)
        assert [chunk.snapshot.text for chunk in snapshot] == ["The part"]
    for error in (first, caught.value):
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details() == "slow down"
        assert info(error).reason == "PROVIDER_RATE_LIMITED"
        assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 2000


async def test_what_lies_beyond_the_end_of_an_answer_is_out_of_range() -> None:
    async with serving(Services()) as stubs:
        answer = await stubs.answers.GenerateAnswer(asking())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=answer.name, after_sequence=99)).read()
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_an_overloaded_server_says_when_to_come_back() -> None:
    config = OrchestratorConfig(max_answers=1)
    async with serving(Services(saying_then_hanging(text("a"))), config=config) as stubs:
        call = stubs.answers.StreamAnswer(asking())
        await call.read()
        error = await failed_stream(stubs, [])
        call.cancel()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert info(error).reason == "OVERLOADED"
    assert dict(info(error).metadata)["maximum"] == "1"
    assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1000
    assert dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "1000"


async def test_a_reader_that_does_not_read_slows_the_upstream_down() -> None:
    said = 0

    async def endless(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        nonlocal said
        while said < 400:
            said += 1
            yield reasoning("x" * 64 * 1024)
        yield ended()

    async with serving(Services(endless)) as stubs:
        call = stubs.answers.StreamAnswer(asking())
        await call.read()
        before = -1
        with anyio.fail_after(WAIT_SECONDS):
            while said != before:
                before = said
                await anyio.sleep(0.3)
        assert said < 400, "what the server writes ahead of its reader is bounded"
        size, chunk = 0, await call.read()
        while not chunk.HasField("answer"):
            size += len(chunk.reasoning.text)
            chunk = await call.read()
    assert size == 400 * 64 * 1024


async def test_a_reader_that_goes_away_during_a_write_is_no_defect_of_the_server() -> None:
    async def endless(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        while True:
            yield reasoning("x" * 64 * 1024)

    services = Services(endless)
    with structlog.testing.capture_logs() as logged:
        async with serving(services) as stubs:
            for _ in range(3):
                call = stubs.answers.StreamAnswer(asking())
                await call.read()
                await anyio.sleep(0.2)  # by now, the server waits for us to read
                call.cancel()
            with anyio.fail_after(WAIT_SECONDS):
                while services.assistants.running:  # noqa: ASYNC110 (nothing tells us)
                    await anyio.sleep(0.01)
    assert {entry["status"] for entry in logged if entry["event"] == "call"} == {"CANCELLED"}
    assert "call.defect" not in {entry["event"] for entry in logged}


async def test_the_callers_request_id_header_is_the_one_in_errors() -> None:
    async with serving(Services(saying_then_failing(ServiceError(Reason.PROVIDER_REJECTED, "no")))) as stubs:
        call = stubs.answers.StreamAnswer(asking(), metadata=(("x-request-id", "mine-7"),))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exhaust(call)
    assert info(caught.value).metadata["request_id"] == "mine-7"
