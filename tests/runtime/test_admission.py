"""A server that has as much to do as it can: whom it refuses, how, and whom it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from headwater import AsyncClient, HeadwaterError, Overloaded
from headwater._resuming import Resumption
from headwater.v1.answer_service_pb2 import (
    CancelAnswerRequest,
    GetAnswerRequest,
    ListAnswersRequest,
    ResumeAnswerRequest,
)
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.runtime.server import Server
from headwater_server.runtime.servicers import ANSWER, ASSISTANT, RETRIEVAL
from tests.orchestrator.asking import REQUEST_ID, asking
from tests.orchestrator.backends import Services, saying_then_hanging
from tests.orchestrator.events import text
from tests.runtime.serving import WAIT_SECONDS, Stubs, connected, detail, info, settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

OTHER_REQUEST_ID = "00000000-8b86-4d01-b42d-00cf4fc964ff"


@asynccontextmanager
async def full_server() -> AsyncIterator[tuple[Stubs, Any, str]]:
    """A server with the one answer that it takes, the call that reads that, and its name."""
    services = Services(saying_then_hanging(text("so far")))
    async with services.orchestrator(OrchestratorConfig(max_answers=1)) as orchestrator:
        parts = {ANSWER: orchestrator, RETRIEVAL: services.retrieval, ASSISTANT: services.assistants}
        server = Server(settings(), parts, door=orchestrator)
        try:
            async with connected(await server.start()) as stubs:
                call = stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID))
                yield stubs, call, (await call.read()).started.answer
        finally:
            await server.stop()


@pytest.mark.parametrize("method", ["StreamAnswer", "GenerateAnswer"])
@pytest.mark.parametrize("request_id", ["", OTHER_REQUEST_ID])
async def test_a_new_answer_is_refused_with_the_time_to_try_again(method: str, request_id: str) -> None:
    async with full_server() as (stubs, _, _):
        call = getattr(stubs.answers, method)(asking(request_id=request_id), timeout=WAIT_SECONDS)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (call if method == "GenerateAnswer" else call.read())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert info(caught.value).reason == "OVERLOADED"
    assert info(caught.value).metadata["limit"] == "answers"
    assert detail(caught.value, RetryInfo).retry_delay.ToMilliseconds() == 1000
    assert dict(caught.value.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "1000"


async def test_a_tenant_that_has_all_there_is_shuts_out_no_other_and_a_stranger_is_not_let_in() -> None:
    services = Services(saying_then_hanging(text("so far")))
    tokens = {"acme": "the-token-of-acme-0123456789", "globex": "the-token-of-globex-0123456789"}
    async with services.orchestrator(OrchestratorConfig(max_answers=2)) as orchestrator:
        parts = {ANSWER: orchestrator, RETRIEVAL: services.retrieval, ASSISTANT: services.assistants}
        server = Server(settings(tokens=tokens), parts, door=orchestrator)
        try:
            async with connected(await server.start()) as stubs:

                def asked_by(token: str) -> Any:
                    return stubs.answers.StreamAnswer(
                        asking(), metadata=(("authorization", f"Bearer {token}"),), timeout=WAIT_SECONDS
                    )

                flood = [asked_by(tokens["acme"]) for _ in range(2)]
                for call in flood:
                    await call.read()
                for token in (tokens["acme"], "no-token-of-anybody"):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await asked_by(token).read()
                    assert info(caught.value).reason == "OVERLOADED"
                other = asked_by(tokens["globex"])
                assert (await other.read()).HasField("started")
                for call in (other, *flood):
                    call.cancel()
        finally:
            await server.stop()


async def test_whatever_is_about_an_answer_that_there_is_passes_and_so_does_health() -> None:
    async with full_server() as (stubs, reader, name):
        health = health_pb2_grpc.HealthStub(stubs.channel)
        with anyio.fail_after(WAIT_SECONDS):
            assert (
                await health.Check(health_pb2.HealthCheckRequest())
            ).status == health_pb2.HealthCheckResponse.SERVING
            resumed = stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=name, after_sequence=0))
            assert (await resumed.read()).started.answer == name
            attached = stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID))
            assert (await attached.read()).started.answer == name
            whole = stubs.answers.GenerateAnswer(asking(request_id=REQUEST_ID))
            assert (await stubs.answers.GetAnswer(GetAnswerRequest(name=name))).name == name
            assert len((await stubs.answers.ListAnswers(ListAnswersRequest())).answers) == 1
            stopped = await stubs.answers.CancelAnswer(CancelAnswerRequest(name=name))
            assert await whole == stopped
            assert (await reader.read()).HasField("retrieved")


async def test_when_the_answer_has_ended_another_is_taken() -> None:
    async with full_server() as (stubs, _, name):
        await stubs.answers.CancelAnswer(CancelAnswerRequest(name=name))
        another = stubs.answers.StreamAnswer(asking())
        assert (await another.read()).started.answer != name
        another.cancel()


@pytest.mark.parametrize("request_bytes", [b"", b"\xff" * 20, b"\x0a", b"\x0a\x24short", b"\x0a\xff\xff\xff\xff\x7f"])
async def test_a_request_that_is_none_is_refused_like_any_other(request_bytes: bytes) -> None:
    async with full_server() as (stubs, _, _):
        call: Any = stubs.channel.unary_unary("/headwater.v1.AnswerService/GenerateAnswer")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(request_bytes, timeout=WAIT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_refusals_are_logged_together() -> None:
    async with full_server() as (stubs, _, _):
        with capture_logs() as logged:
            for _ in range(20):
                with pytest.raises(grpc.aio.AioRpcError):
                    await stubs.answers.GenerateAnswer(asking(), timeout=WAIT_SECONDS)
    refusals = [entry for entry in logged if entry["event"] == "server.overloaded"]
    assert 1 <= len(refusals) < 20
    assert not [entry for entry in logged if entry.get("method") == "/headwater.v1.AnswerService/GenerateAnswer"]


async def test_the_client_asks_again_when_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    async with full_server() as (stubs, _, name):
        refused = anyio.Event()
        ask_again = Resumption.pause_after

        def pause_after(resumption: Resumption, error: HeadwaterError, *, begun: bool) -> float:
            assert isinstance(error, Overloaded)
            refused.set()
            return ask_again(resumption, error, begun=begun)

        monkeypatch.setattr(Resumption, "pause_after", pause_after)
        async with AsyncClient(stubs.address) as client, anyio.create_task_group() as tasks:

            async def read() -> None:
                async with client.answer("why?") as answer:
                    async for piece in answer:
                        assert piece == "so far"
                        break
                    assert answer.name != name

            tasks.start_soon(read)
            await refused.wait()
            await stubs.answers.CancelAnswer(CancelAnswerRequest(name=name))
