"""What callers of the wire have of an answer whose server was killed, in one process and in three."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio
import anyio.to_thread
import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from headwater import AsyncClient, Client, FinishReason
from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import GetAnswerRequest, ResumeAnswerRequest, StreamAnswerRequest
from headwater.v1.answer_service_pb2_grpc import AnswerServiceStub
from headwater.v1.source_pb2 import NoGrounding
from tests.arrangements.model_server import STEADY_WORDS, ModelServer
from tests.arrangements.process_tree import kill_tree
from tests.arrangements.processes import TOKEN, Arrangement, ServerProcess, orchestrating, serving, write_settings
from tests.conformance.proxy import ResettingProxy
from tests.orchestrator.rules import assert_begins_by_the_rules
from tests.serving import TIME_LIMIT_S

if TYPE_CHECKING:
    from headwater.v1.answer_service_pb2_grpc import AnswerServiceAsyncStub

pytestmark = pytest.mark.anyio

CREDENTIALS = (("authorization", f"Bearer {TOKEN}"),)
TEXTS_BEFORE_DEATH = 20


@contextmanager
def orchestrator(kind: str, folder: Path) -> Iterator[ServerProcess]:
    """The process that owns answers: the only one, or one of three."""
    with ExitStack() as stack:
        if kind == "one process":
            yield stack.enter_context(serving("all", folder))
            return
        retrieval = stack.enter_context(serving("retrieval", folder)).address
        assistant = stack.enter_context(serving("assistant", folder)).address
        yield stack.enter_context(orchestrating(folder, retrieval, assistant))


@asynccontextmanager
async def answers_of(server: ServerProcess) -> AsyncIterator[AnswerServiceAsyncStub]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield cast("AnswerServiceAsyncStub", AnswerServiceStub(channel))


def said(chunks: Sequence[AnswerChunk]) -> str:
    return "".join(chunk.text.text for chunk in chunks)


async def failure_of(
    call: AsyncIterable[AnswerChunk], chunks: list[AnswerChunk], *, on_chunk: Callable[[], None] = lambda: None
) -> grpc.aio.AioRpcError:
    """Reads a call that fails, and returns its failure; what came before it is kept."""
    try:
        async for chunk in call:
            chunks.append(chunk)
            on_chunk()
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call did not fail")


def reason_of(failure: grpc.aio.AioRpcError) -> str:
    status = status_pb2.Status.FromString(dict(failure.trailing_metadata() or ())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return str(info.reason)


@pytest.mark.parametrize("kind", ["one process", "three processes"])
async def test_what_a_caller_has_seen_is_replayed_byte_for_byte_after_kill_9(
    kind: str, tmp_path: Path, model: ModelServer
) -> None:
    write_settings(tmp_path, model)
    request = StreamAnswerRequest(
        request_id=str(uuid.uuid4()), prompt="why?", assistant="scripted/steady", ungrounded=NoGrounding()
    )
    model.requests.clear()
    seen: list[AnswerChunk] = []
    with orchestrator(kind, tmp_path) as server:
        async with answers_of(server) as answers:

            def kill_in_the_middle() -> None:
                if sum(chunk.HasField("text") for chunk in seen) == TEXTS_BEFORE_DEATH:
                    kill_tree(server.process.pid)

            call = answers.StreamAnswer(request, metadata=CREDENTIALS, timeout=TIME_LIMIT_S)
            await failure_of(call, seen, on_chunk=kill_in_the_middle)
        server.process.wait(timeout=TIME_LIMIT_S)
    seen = [chunk for chunk in seen if not chunk.HasField("heartbeat")]
    name = seen[0].started.answer
    with orchestrator(kind, tmp_path) as server:
        async with answers_of(server) as answers:
            replayed: list[AnswerChunk] = []
            resume = ResumeAnswerRequest(name=name, after_sequence=0)
            failure = await failure_of(
                answers.ResumeAnswer(resume, metadata=CREDENTIALS, timeout=TIME_LIMIT_S), replayed
            )
            assert (failure.code(), reason_of(failure)) == (grpc.StatusCode.UNAVAILABLE, "OWNER_LOST")
            assert [chunk.SerializeToString() for chunk in replayed[: len(seen)]] == [
                chunk.SerializeToString() for chunk in seen
            ]
            assert_begins_by_the_rules(replayed)
            assert "".join(STEADY_WORDS).startswith(said(replayed)), "nothing is invented"
            asked_again: list[AnswerChunk] = []
            await failure_of(answers.StreamAnswer(request, metadata=CREDENTIALS, timeout=TIME_LIMIT_S), asked_again)
            assert asked_again == replayed
            kept = await answers.GetAnswer(GetAnswerRequest(name=name), metadata=CREDENTIALS, timeout=TIME_LIMIT_S)
            assert (kept.state, kept.text) == (answer_pb2.ANSWER_STATE_FAILED, said(replayed))
    assert len(model.requests) == 1, "nobody pays twice"


async def test_a_broken_connection_is_resumed_unseen(arrangement: Arrangement) -> None:
    arrangement.model.requests.clear()
    proxy = ResettingProxy(int(arrangement.target.rsplit(":", 1)[1]))
    port = await proxy.start()
    try:
        async with AsyncClient(f"127.0.0.1:{port}", token=TOKEN) as client:
            answer = client.answer("why?", grounded=False, assistant="scripted/steady")
            pieces: list[str] = []
            async for piece in answer:
                pieces.append(piece)
                if len(pieces) in {20, 60}:
                    proxy.reset_all()
            assert "".join(pieces) == answer.message.text == "".join(STEADY_WORDS)
            assert answer.finish_reason is FinishReason.STOP
    finally:
        await proxy.stop()
    assert len(arrangement.model.requests) == 1


async def test_an_answer_is_read_again_by_its_name_while_it_runs_and_after(client: AsyncClient) -> None:
    answer = client.answer("why?", grounded=False, assistant="scripted/steady")
    async for _ in answer:
        break
    again = client.resume(answer.name)
    assert await again.content() == await answer.content() == "".join(STEADY_WORDS)
    assert again.message == answer.message
    once_more = await client.resume(answer.name)
    assert once_more.message == answer.message


async def test_closing_an_answer_stops_it_at_once_although_it_could_be_resumed(
    client: AsyncClient, arrangement: Arrangement
) -> None:
    async with client.answer("why?", grounded=False, assistant="scripted/hanging") as answer:
        async for _ in answer:
            break
    assert await anyio.to_thread.run_sync(arrangement.model.hung_up.wait, TIME_LIMIT_S)
    with anyio.fail_after(TIME_LIMIT_S):
        while (kept := await client.get_answer(answer.name)).state == answer_pb2.ANSWER_STATE_RUNNING:  # noqa: ASYNC110 (below)
            await anyio.sleep(0.05)  # a server tells those who read an answer of its end, and we have closed it
    assert kept.finish_reason == answer_pb2.FINISH_REASON_CANCELLED


async def test_leaving_the_client_stops_its_answers(arrangement: Arrangement) -> None:
    arrangement.model.hung_up.clear()

    def leave() -> None:
        with Client(arrangement.target, token=TOKEN) as client:
            answer = client.answer("why?", grounded=False, assistant="scripted/hanging")
            assert next(iter(answer))

    await anyio.to_thread.run_sync(leave)
    assert await anyio.to_thread.run_sync(arrangement.model.hung_up.wait, 10.0), "not only after the resume window"
