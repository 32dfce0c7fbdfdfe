"""Rules 11 and 12: the three limits; and what a client resumes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import grpc
import pytest

from headwater import AsyncClient, ConnectionLost, HeadwaterError
from headwater.v1 import answer_pb2, answer_service_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import ResumeAnswerRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.retrieval_service_pb2 import RetrieveRequest, RetrieveResponse
from headwater_server.errors import Reason, ServiceError
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.watchdog import Limits
from headwater_server.runtime.status import CODE_OF_REASON, status_of
from tests.conformance.proxy import ResettingProxy
from tests.orchestrator.asking import asking, duration, limits
from tests.orchestrator.backends import Script, Services, saying, saying_then_hanging
from tests.orchestrator.events import HEARTBEAT, ended, reasoning, text
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules, crc32c
from tests.rules.playing import WAIT_SECONDS, Heard, Steps, hosted, read, until
from tests.runtime.serving import info

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

SHORT = 0.1
_UNIMPORTANT = "what it says does not matter"


async def heard_with(services: Services, **seconds: float) -> Heard:
    """What a caller hears under these limits."""
    async with hosted(services) as stubs:
        return await read(stubs.answers.StreamAnswer(asking(limits=limits(**seconds))))


def repeating(first: AnswerChunk, *again: AnswerChunk) -> Script:
    """Says the first, then the others again and again."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        yield first
        while True:
            await anyio.sleep(SHORT / 10)
            for event in again:
                yield event

    return script


async def test_rule_11_first_token_ends_in_deadline_exceeded_with_its_reason() -> None:
    silent = Services(saying_then_hanging())
    heard = await heard_with(silent, first_token=SHORT)
    assert heard.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert info(heard.failure).reason == "FIRST_TOKEN_TIMEOUT"
    assert info(heard.failure).metadata["answer"] == heard.name
    assert_begins_by_the_rules(heard.chunks)
    assert silent.assistants.closed.is_set()
    thinking = await heard_with(
        Services(saying_then_hanging(reasoning("hm"))), first_token=SHORT, between_tokens=2 * SHORT
    )
    assert info(thinking.failure).reason == "STREAM_STALLED", "reasoning was a first token"


async def test_rule_11_between_tokens_ends_in_deadline_exceeded_and_the_part_is_given() -> None:
    heard = await heard_with(Services(saying_then_hanging(text("a part"))), between_tokens=SHORT)
    assert heard.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert info(heard.failure).reason == "STREAM_STALLED"
    assert heard.text == "a part"


async def test_rule_11_total_after_the_first_text_ends_ok_with_time_limit_and_before_it_like_first_token() -> None:
    talking = await heard_with(Services(repeating(text("a "), text("b "))), total=3 * SHORT)
    answer = assert_rules(talking.chunks)
    assert talking.code is grpc.StatusCode.OK
    assert answer.finish_reason == answer_pb2.FINISH_REASON_TIME_LIMIT
    assert answer.state == answer_pb2.ANSWER_STATE_SUCCEEDED
    assert answer.usage.partial
    for before_text in (saying_then_hanging(), repeating(reasoning("hm"), reasoning("hm"))):
        heard = await heard_with(Services(before_text), total=SHORT)
        assert heard.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert info(heard.failure).reason == "FIRST_TOKEN_TIMEOUT"


async def test_rule_11_the_clocks_start_when_the_request_arrives() -> None:
    async def searching(request: RetrieveRequest) -> AsyncGenerator[RetrieveResponse, None]:
        await anyio.sleep_forever()
        yield RetrieveResponse()

    for limit in ("first_token", "total"):
        services = Services(search=searching)
        heard = await heard_with(services, **{limit: SHORT})
        assert info(heard.failure).reason == "FIRST_TOKEN_TIMEOUT"
        assert not services.assistants.requests
        assert services.retrieval.closed.is_set()


async def test_rule_11_a_heartbeat_satisfies_none() -> None:
    first = await heard_with(Services(repeating(HEARTBEAT, HEARTBEAT)), first_token=SHORT)
    assert info(first.failure).reason == "FIRST_TOKEN_TIMEOUT"
    between = await heard_with(Services(repeating(text("a"), HEARTBEAT)), between_tokens=SHORT)
    assert info(between.failure).reason == "STREAM_STALLED"


async def test_rule_11_without_limits_in_the_request_those_of_the_server_count() -> None:
    config = OrchestratorConfig(limits=Limits(first_token=SHORT, between_tokens=60, total=60))
    async with hosted(Services(saying_then_hanging()), config=config) as stubs:
        heard = await read(stubs.answers.StreamAnswer(asking()))
    assert info(heard.failure).metadata["limit_seconds"] == "0.1"


async def test_rule_11_the_callers_deadline_reaches_upstream_where_no_one_may_resume() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with hosted(services) as stubs:
        heard = await read(stubs.answers.StreamAnswer(asking(), timeout=3 * SHORT))
        assert heard.code is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(services.assistants.closed.is_set)
    services = Services(saying_then_hanging(text("a")))
    async with hosted(services) as stubs:
        heard = await read(stubs.answers.StreamAnswer(asking(resume_window=duration(60)), timeout=3 * SHORT))
        await anyio.sleep(SHORT)
        assert not services.assistants.closed.is_set(), "somebody may resume"


async def test_rule_12_a_client_resumes_on_a_broken_connection() -> None:
    steps = Steps("one ", "two ", "three ", "four ")
    services = steps.services
    async with hosted(services) as stubs:
        proxy = ResettingProxy(int(stubs.address.rsplit(":", 1)[1]))
        port = await proxy.start()
        try:
            async with AsyncClient(f"127.0.0.1:{port}") as client:
                steps.step()
                answer = client.answer("why?")
                pieces = []
                with anyio.fail_after(WAIT_SECONDS):
                    async for piece in answer:
                        pieces.append(piece)
                        proxy.reset_all()
                        steps.step(2 if len(pieces) == 4 else 1)
                assert "".join(pieces) == answer.message.text == "one two three four "
                steps.step()
                lost = client.answer("why?", resume=False)
                await anext(aiter(lost))
                proxy.reset_all()
                with anyio.fail_after(WAIT_SECONDS), pytest.raises(ConnectionLost):
                    await lost.content()
        finally:
            await proxy.stop()
    assert len(services.assistants.requests) == 2


async def test_rule_12_a_call_that_breaks_before_its_first_message_is_asked_again_with_its_request_id() -> None:
    services = Services(saying(text("all of it"), ended()))
    async with hosted(services) as stubs:
        proxy = ResettingProxy(int(stubs.address.rsplit(":", 1)[1]))
        port = await proxy.start()
        try:
            async with AsyncClient(f"127.0.0.1:{port}") as client:
                await client.answer("a connection, first")
                for resume in (True, False):
                    proxy.speaks.clear()
                    with anyio.fail_after(WAIT_SECONDS):
                        async with client.answer("why?", resume=resume) as answer, anyio.create_task_group() as tasks:
                            tasks.start_soon(
                                _break_when, proxy, partial(len, services.assistants.requests), 2 + (not resume)
                            )
                            if resume:
                                assert await answer.content() == "all of it"
                            else:
                                with pytest.raises(ConnectionLost):
                                    await answer.content()
        finally:
            await proxy.stop()
    assert len(services.assistants.requests) == 3, "nobody paid twice"


async def _break_when(proxy: ResettingProxy, asked: Callable[[], int], wanted: int) -> None:
    """Breaks all connections when the assistant has been asked so often, and lets the next ones be heard."""
    await until(lambda: asked() == wanted)
    proxy.reset_all()
    proxy.speaks.set()


class FailingServer:
    """Says a part of an answer and fails for a reason; resumed, it gives the rest."""

    def __init__(self, reason: Reason) -> None:
        self._reason = reason
        self.resumed: list[ResumeAnswerRequest] = []
        self.asked = 0

    async def stream_answer(self, _: Any, context: Any) -> AsyncIterator[AnswerChunk]:
        self.asked += 1
        yield AnswerChunk(sequence=1, started=answer_pb2.AnswerStarted(answer="answers/a"))
        retrieved = answer_pb2.SourcesRetrieved()
        retrieved.statistics.SetInParent()
        yield AnswerChunk(sequence=2, retrieved=retrieved)
        yield AnswerChunk(sequence=3, text=answer_pb2.TextDelta(text="half"))
        status = status_of(ServiceError(self._reason, _UNIMPORTANT, retry_after=0.01))
        assert status is not None
        await context.abort(CODE_OF_REASON[self._reason], status.message, status.trailing_metadata())

    async def resume_answer(self, request: ResumeAnswerRequest, _: Any) -> AsyncIterator[AnswerChunk]:
        self.resumed.append(request)
        yield AnswerChunk(sequence=4, text=answer_pb2.TextDelta(text=" and half", offset_bytes=4))
        answer = answer_pb2.Answer(
            name="answers/a",
            state=answer_pb2.ANSWER_STATE_SUCCEEDED,
            finish_reason=answer_pb2.FINISH_REASON_STOP,
            text="half and half",
            last_sequence=5,
            text_crc32c=crc32c(b"half and half"),
        )
        yield AnswerChunk(sequence=5, answer=answer)

    async def cancel_answer(self, *_: Any) -> answer_pb2.Answer:
        return answer_pb2.Answer(name="answers/a")

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        """Gives the address."""
        handlers: dict[str, Any] = {
            "StreamAnswer": grpc.unary_stream_rpc_method_handler(
                self.stream_answer,
                answer_service_pb2.StreamAnswerRequest.FromString,
                AnswerChunk.SerializeToString,
            ),
            "ResumeAnswer": grpc.unary_stream_rpc_method_handler(
                self.resume_answer, ResumeAnswerRequest.FromString, AnswerChunk.SerializeToString
            ),
            "CancelAnswer": grpc.unary_unary_rpc_method_handler(
                self.cancel_answer,
                answer_service_pb2.CancelAnswerRequest.FromString,
                answer_pb2.Answer.SerializeToString,
            ),
        }
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("headwater.v1.AnswerService", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(0)
            await asyncio.sleep(0)


async def test_rule_12_a_client_resumes_on_server_draining() -> None:
    server = FailingServer(Reason.SERVER_DRAINING)
    async with server.serving() as target, AsyncClient(target) as client:
        answer = await client.answer("why?")
        assert str(answer) == "half and half"
    assert [request.after_sequence for request in server.resumed] == [3], "what follows, and nothing twice"
    assert server.asked == 1


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.SERVER_DRAINING])
async def test_rule_12_any_other_status_of_ours_is_final(reason: Reason) -> None:
    server = FailingServer(reason)
    async with server.serving() as target, AsyncClient(target) as client:
        answer = client.answer("why?")
        with pytest.raises(HeadwaterError) as caught:
            await answer.content()
        assert getattr(caught.value, "reason", "") == reason.value
        assert answer.partial == "half"
    assert not server.resumed
    assert server.asked == 1


async def test_rule_12_the_end_of_a_resumed_answer_is_taken_over_as_it_is(scripted: str) -> None:
    async with AsyncClient(scripted) as client:
        assert str(await client.answer("resumed_when_draining"))
        assert str(await client.answer("resumed_twice"))
        with pytest.raises(HeadwaterError) as caught:
            await client.answer("resumed_to_owner_lost").content()
    assert getattr(caught.value, "reason", "") == "OWNER_LOST"
