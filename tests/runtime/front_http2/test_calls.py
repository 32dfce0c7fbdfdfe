"""Calls by a real client: all kinds, large messages, statuses, deadlines, callers who go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.errors import Reason, ServiceError
from headwater_server.runtime.front_http2 import Http2Server, Limits
from tests.orchestrator.asking import asking
from tests.orchestrator.backends import Services, saying_then_failing
from tests.orchestrator.events import text
from tests.orchestrator.rules import assert_rules
from tests.runtime.front_http2.serving import WAIT_SECONDS, asked, echo, method, started
from tests.runtime.serving import connected, detail, exhaust, info

pytestmark = pytest.mark.anyio

Code = grpc.StatusCode
LARGE = bytes(range(256)) * 12_000
"""Three megabytes: many frames, and many times a window."""


async def test_a_stream_and_its_unary_twin() -> None:
    async with asked(Services()) as stubs:
        chunks = [chunk async for chunk in stubs.answers.StreamAnswer(asking())]
        generated = await stubs.answers.GenerateAnswer(asking())
    assert generated.text == assert_rules(chunks).text == "Hello, world."


async def test_a_failure_in_mid_stream_is_a_status_with_its_details() -> None:
    failure = ServiceError(Reason.PROVIDER_RATE_LIMITED, "langsam, 20 % – später", retry_after=2.5)
    chunks: list[AnswerChunk] = []
    async with asked(Services(saying_then_failing(failure, text("The part")))) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught, anyio.fail_after(WAIT_SECONDS):
            await exhaust(stubs.answers.StreamAnswer(asking()), chunks)
    assert "".join(chunk.text.text for chunk in chunks) == "The part"
    assert (caught.value.code(), caught.value.details()) == (Code.RESOURCE_EXHAUSTED, "langsam, 20 % – später")
    assert info(caught.value).reason == "PROVIDER_RATE_LIMITED"
    assert detail(caught.value, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 2500


async def test_a_caller_without_a_token_and_a_request_that_is_wrong() -> None:
    async with asked(Services(), tokens={"acme": "the-token-of-acme"}) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as nobody:
            await exhaust(stubs.answers.StreamAnswer(asking()), [])
        metadata = (("authorization", "Bearer the-token-of-acme"), ("x-request-id", "mine"))
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await exhaust(stubs.answers.StreamAnswer(asking(prompt=""), metadata=metadata), [])
    assert nobody.value.code() is Code.UNAUTHENTICATED
    assert wrong.value.code() is Code.INVALID_ARGUMENT
    assert info(wrong.value).metadata["request_id"] == "mine"


async def test_health_and_reflection_are_served_as_ever() -> None:
    async with asked(Services()) as stubs:
        health: Any = health_pb2_grpc.HealthStub(stubs.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(stubs.channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = [one async for one in reflection.ServerReflectionInfo(iter([question]))]
    assert "headwater.v1.AnswerService" in {one.name for one in listed.list_services_response.service}


async def _unary(request: bytes, context: Any) -> bytes:
    context.set_trailing_metadata((("x-seen", dict(context.invocation_metadata()).get("x-sent", "")), ("x-bin", b"\0")))
    return request


async def _split(request: bytes, _: Any) -> AsyncIterator[bytes]:
    for begin in range(0, len(request), 1_000_000):
        yield request[begin : begin + 1_000_000]


async def _join(requests: AsyncIterator[bytes], _: Any) -> bytes:
    return b"".join([request async for request in requests])


async def _each(requests: AsyncIterator[bytes], context: Any) -> None:
    async for request in requests:
        await context.write(request)


ECHO = {"UnaryUnary": _unary, "UnaryStream": _split, "StreamUnary": _join, "StreamStream": _each}


async def test_large_messages_pass_both_ways_in_each_kind_of_call() -> None:
    server = Http2Server()
    echo(server, ECHO)
    async with started(server) as address, connected(address) as stubs:
        parts = [LARGE[begin : begin + 700_000] for begin in range(0, len(LARGE), 700_000)]
        with anyio.fail_after(WAIT_SECONDS):
            assert await method(stubs, "UnaryUnary")(LARGE) == LARGE
            assert b"".join([part async for part in method(stubs, "UnaryStream")(LARGE)]) == LARGE
            assert await method(stubs, "StreamUnary")(iter(parts)) == LARGE
            assert [part async for part in method(stubs, "StreamStream")(iter(parts))] == parts


async def test_many_large_streams_on_one_connection_share_its_window() -> None:
    server = Http2Server()
    echo(server, ECHO)
    async with started(server) as address, connected(address) as stubs:
        call = method(stubs, "UnaryStream")

        async def ask(size: int) -> None:
            assert b"".join([part async for part in call(LARGE[:size])]) == LARGE[:size]

        with anyio.fail_after(WAIT_SECONDS):
            async with anyio.create_task_group() as group:
                for number in range(40):
                    group.start_soon(ask, 1 + number * 10_000)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_requests_may_be_compressed(compression: grpc.Compression) -> None:
    server = Http2Server()
    echo(server, ECHO)
    async with started(server) as address, connected(address) as stubs:
        call = method(stubs, "UnaryUnary")
        assert await call(LARGE, compression=compression) == LARGE


async def test_metadata_goes_both_ways() -> None:
    server = Http2Server()
    echo(server, ECHO)
    async with started(server) as address, connected(address) as stubs:
        call = method(stubs, "UnaryUnary")(b"", metadata=(("x-sent", "yes"),))
        await call
        trailing = await call.trailing_metadata()
    assert {"x-seen": "yes", "x-bin": b"\0"}.items() <= dict(trailing or ()).items()


async def test_a_message_beyond_the_limit_is_refused() -> None:
    server = Http2Server(limits=Limits(max_message=1_000))
    echo(server, ECHO)
    async with started(server) as address, connected(address) as stubs:
        call = method(stubs, "UnaryUnary")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(bytes(1_001))
        assert await call(bytes(1_000)) == bytes(1_000)
    assert caught.value.code() is Code.RESOURCE_EXHAUSTED


async def test_an_unknown_method_is_unimplemented() -> None:
    async with started(Http2Server()) as address, connected(address) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(stubs, "UnaryUnary")(b"")
    assert caught.value.code() is Code.UNIMPLEMENTED


async def test_a_defect_says_nothing_of_itself() -> None:
    async def defective(_: bytes, __: Any) -> bytes:
        raise ValueError("a secret")

    server = Http2Server()
    echo(server, {"UnaryUnary": defective})
    async with started(server) as address, connected(address) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(stubs, "UnaryUnary")(b"")
    assert (caught.value.code(), caught.value.details()) == (Code.INTERNAL, "internal error")


class Hanging:
    """A handler that says one thing and then hangs, and notes how it ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.remaining: float | None = None

    async def __call__(self, _: bytes, context: Any) -> None:
        self.remaining = context.time_remaining()
        try:
            await context.write(b"one")
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_a_deadline_ends_the_handler_and_the_call() -> None:
    hanging, server = Hanging(), Http2Server()
    echo(server, {"UnaryStream": hanging})
    async with started(server) as address, connected(address) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exhaust(method(stubs, "UnaryStream")(b"", timeout=0.2), [])
        with anyio.fail_after(WAIT_SECONDS):
            await hanging.ended.wait()
    assert caught.value.code() is Code.DEADLINE_EXCEEDED
    assert hanging.remaining is not None
    assert 0 < hanging.remaining < 0.3  # a client rounds it up


async def test_a_caller_who_goes_takes_the_handler_along() -> None:
    hanging, server = Hanging(), Http2Server()
    echo(server, {"UnaryStream": hanging})
    async with started(server) as address, connected(address) as stubs:
        call = method(stubs, "UnaryStream")(b"")
        assert await call.read() == b"one"
        call.cancel()
        with anyio.fail_after(WAIT_SECONDS):
            await hanging.ended.wait()


async def test_a_reader_who_does_not_read_holds_up_its_own_writer_and_nobody_else() -> None:
    written = 0

    async def pour(_: bytes, context: Any) -> None:
        nonlocal written
        while True:
            await context.write(bytes(10_000))
            written += 10_000

    server = Http2Server()
    echo(server, {"UnaryStream": pour, "UnaryUnary": _unary})
    async with started(server) as address, connected(address) as stubs:
        stalled = method(stubs, "UnaryStream")(b"")
        await stalled.read()
        before = -1
        with anyio.fail_after(WAIT_SECONDS):
            while before != written:
                before = written
                await asyncio.sleep(0.2)
            assert await method(stubs, "UnaryUnary")(b"other") == b"other"
        assert written < 32_000_000  # grpc's client takes more ahead, the faster a connection has been
        stalled.cancel()
