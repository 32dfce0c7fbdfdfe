"""Requests that are none, and calls that grpc itself would stumble over."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.v1 import answer_service_pb2, chat_pb2, filter_pb2, source_pb2
from headwater_server.runtime.malformed import MANY_PARTS, MAX_PARTS, parts
from tests.malformed import frames
from tests.orchestrator.asking import asking
from tests.orchestrator.backends import Services
from tests.rules.playing import refused
from tests.runtime.serving import Stubs, detail, info, serving

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def nested(depth: int) -> filter_pb2.Filter:
    """A filter in a filter, so many times."""
    whole = filter_pb2.Filter(comparison=filter_pb2.Comparison(key="k", op=filter_pb2.COMPARISON_OPERATOR_EXISTS))
    for _ in range(depth):
        whole = filter_pb2.Filter(negate=whole)
    return whole


@settings(deadline=None, max_examples=30)
@given(
    history=st.integers(0, 3_000),
    comparisons=st.integers(0, 3_000),
    depth=st.integers(0, 50),
    metadata=st.integers(0, 3_000),
)
def test_the_parts_of_a_request_are_counted_wherever_they_are(
    history: int, comparisons: int, depth: int, metadata: int
) -> None:
    value = filter_pb2.MetadataValue(bool_value=True)
    request = asking(
        "x" * (MANY_PARTS * 2),  # large enough to be counted
        history=[chat_pb2.ChatMessage(text="x")] * history,
        provided=source_pb2.SourceList(
            sources=[source_pb2.Source(metadata={str(number): value for number in range(metadata)})]
        ),
    )
    other = asking("x" * (MANY_PARTS * 2))
    other.retrieval.filter.all_of.filters.extend([filter_pb2.Filter(negate=nested(depth))] * comparisons)
    # The list, its source, and the entries of the map.
    assert parts(request) == history + 2 + metadata
    # The options, the filter, its list; each of the filters, the ones within it, and the comparison.
    assert min(parts(other), MAX_PARTS) == min(3 + comparisons * (depth + 3), MAX_PARTS)


async def test_a_request_of_very_many_parts_is_refused_before_its_rules_are_looked_at() -> None:
    async with serving(Services()) as stubs:
        call: Any = stubs.channel.unary_unary("/headwater.v1.AnswerService/GenerateAnswer")
        error = await refused(call(b"\x12\x01q" + b"\x22\x00" * 1_000_000))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert info(error).reason == "INVALID_FIELD"
        assert f"more than {MAX_PARTS}" in (error.details() or "")


async def test_of_a_request_of_many_parts_only_the_first_broken_rule_is_told() -> None:
    async with serving(Services()) as stubs:
        few = asking(history=[chat_pb2.ChatMessage()] * 5)
        many = asking(history=[chat_pb2.ChatMessage()] * (MANY_PARTS + 1))
        for request, told in ((few, 10), (many, 1)):
            error = await refused(stubs.answers.GenerateAnswer(request))
            assert len(detail(error, error_details_pb2.BadRequest).field_violations) == told


async def raw(stubs: Stubs, path: str, data: bytes) -> grpc.aio.AioRpcError:
    """How a call of these bytes fails."""
    call: Any = stubs.channel.unary_stream(path)
    return await refused(call(data))


@pytest.mark.parametrize("method", ["Check", "Watch", "List"])
async def test_bytes_that_are_no_message_are_the_callers_mistake_in_health_too(method: str) -> None:
    await assert_no_message(f"/grpc.health.v1.Health/{method}", b"\xff\xff\xff", b"\x0a\x7f")


async def test_bytes_that_are_no_message_are_the_callers_mistake_in_reflection_too() -> None:
    await assert_no_message(REFLECTION, b"\xff\xff\xff", b"\x0a\x7f", b"\x0a\x02\xff\xfe")


async def assert_no_message(path: str, *garbage: bytes) -> None:
    """Fails unless these bytes are refused, and the server goes on."""
    async with serving(Services()) as stubs:
        for data in garbage:
            assert (await raw(stubs, path, data)).code() is grpc.StatusCode.INVALID_ARGUMENT
        health: Any = health_pb2_grpc.HealthStub(stubs.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_what_health_does_not_have_is_unimplemented(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(Services()) as stubs:
        error = await raw(stubs, "/grpc.health.v1.Health/List", b"")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("path", [b"/\xff\xfe", b"/headwater.v1.AnswerService/\x80", b"\xed\xa0\x80", b"/x/y"])
async def test_a_path_that_is_not_text_is_one_call_that_is_refused_and_not_the_end_of_the_server(path: bytes) -> None:
    async with serving(Services()) as stubs:
        async with frames.connected(stubs.address) as connection:
            head = frames.header_block(frames.call_headers("", changed={b":path": path}))
            await connection.send(frames.frame(frames.HEADERS, head, flags=frames.END_HEADERS, stream=1))
            await connection.send_data(frames.message(b""), stream=1)
            await connection.until_ended(1)
            assert connection.heard.status(1) is grpc.StatusCode.UNIMPLEMENTED
        for _ in range(3):
            answer = await stubs.answers.GenerateAnswer(answer_service_pb2.StreamAnswerRequest(prompt="why?"))
            assert answer.text == "Hello, world."
