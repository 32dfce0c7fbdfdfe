"""One server in several processes: they are one server to its callers, and the death of one ends no answer."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
import grpc
import pytest

from headwater import AsyncClient, Client, HeadwaterError
from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    GetAnswerRequest,
    ListAnswersRequest,
    ResumeAnswerRequest,
    StreamAnswerRequest,
)
from headwater.v1.answer_service_pb2_grpc import AnswerServiceStub
from headwater.v1.source_pb2 import NoGrounding
from tests.arrangements.model_server import STEADY_WORDS, ModelServer
from tests.arrangements.processes import TOKEN, ServerProcess, serving, write_settings
from tests.arrangements.test_answers_survive import failure_of, reason_of
from tests.serving import HANDBOOK, TIME_LIMIT_S, headwater

if TYPE_CHECKING:
    from grpc.aio import UnaryStreamCall

    from headwater.v1.answer_service_pb2_grpc import AnswerServiceAsyncStub

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="finds a server's processes by way of /proc"),
]

CREDENTIALS = (("authorization", f"Bearer {TOKEN}"),)
FRONTS = 2
STEADY_TEXT = "".join(STEADY_WORDS)


@dataclass(frozen=True)
class Family:
    """A server in several processes."""

    server: ServerProcess
    log: Path

    def events(self, name: str) -> list[dict[str, Any]]:
        """What its processes have logged under a name."""
        logged = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [event for event in logged if event["event"] == name]

    def pid(self, process: str) -> int:
        """The process that now has a name."""
        return int([event["pid"] for event in self.events("process.ready") if event["name"] == process][-1])

    def owner(self, answer: str) -> str:
        """The process whose call began an answer, by its end in the log."""
        return str([event["process"] for event in self.events("answer.ended") if event["answer"] == answer][-1])


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[Family]:
    folder = tmp_path_factory.mktemp("processes")
    write_settings(folder, model)
    settings = folder / "settings.toml"
    settings.write_text(settings.read_text() + '\n[assistants.going]\napi = "openai-chat"\ncontinues = "vllm"\n')
    with settings.open("a") as file:
        file.write(f'base_url = "{model.url}"\nmodels = ["steady"]\n')
    with running(folder) as family:
        with Client(family.server.address, token=TOKEN) as client:
            client.corpora.create("handbook")
            for path in sorted(HANDBOOK.iterdir())[:1]:
                client.documents.import_file(path, corpus="handbook", document_id=path.name)
        yield family


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Family]:
    with serving("all", folder, "--processes", str(FRONTS), *arguments) as server:
        yield Family(server, folder / "all.log")


@asynccontextmanager
async def connected(family: Family, connections: int) -> AsyncIterator[list[AnswerServiceAsyncStub]]:
    """Stubs on connections of their own, which the kernel spreads over the processes."""
    async with AsyncExitStack() as stack:
        stubs = []
        for number in range(connections):
            options = (("grpc.use_local_subchannel_pool", 1), ("headwater.connection", number))
            channel = grpc.aio.insecure_channel(family.server.address, options=options)
            await stack.enter_async_context(channel)
            stubs.append(cast("AnswerServiceAsyncStub", AnswerServiceStub(channel)))
        yield stubs


def asking(model: str = "scripted/steady", **more: Any) -> StreamAnswerRequest:
    return StreamAnswerRequest(
        request_id=str(uuid.uuid4()), prompt="why?", assistant=model, ungrounded=NoGrounding(), **more
    )


async def read(stub: AnswerServiceAsyncStub, request: StreamAnswerRequest) -> list[AnswerChunk]:
    call = stub.StreamAnswer(request, metadata=CREDENTIALS, timeout=TIME_LIMIT_S)
    return [chunk async for chunk in call if not chunk.HasField("heartbeat")]


async def following(call: UnaryStreamCall[Any, AnswerChunk]) -> AnswerChunk:
    """The next chunk of an answer that has not ended."""
    chunk = await call.read()
    assert isinstance(chunk, AnswerChunk)
    return chunk


def text_of(chunks: list[AnswerChunk]) -> str:
    return "".join(chunk.text.text for chunk in chunks)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(TIME_LIMIT_S):
        while not condition():  # noqa: ASYNC110 (what other processes do is seen by looking)
            await anyio.sleep(0.05)


async def test_every_process_takes_calls_and_answers_from_the_same_documents(family: Family) -> None:
    async with connected(family, 12) as stubs:
        request = StreamAnswerRequest(prompt="What does the handbook say about leave?", assistant="builtin/extractive")
        request.retrieval.corpora.append("corpora/handbook")
        answers = [await read(stub, request) for stub in stubs]
    assert all(chunks[-1].answer.sources for chunks in answers)
    await until(lambda: {family.owner(chunks[-1].answer.name) for chunks in answers} == {"front-1", "front-2"})


async def test_fifty_callers_over_all_processes_with_one_request_id_have_one_answer_and_one_upstream_call(
    family: Family, model: ModelServer
) -> None:
    async with connected(family, 10) as stubs:
        for _ in range(5):
            model.requests.clear()
            request = asking("scripted/echo")
            read_by: list[list[AnswerChunk]] = []

            async def caller(
                stub: AnswerServiceAsyncStub,
                request: StreamAnswerRequest = request,
                read_by: list[list[AnswerChunk]] = read_by,
            ) -> None:
                read_by.append(await read(stub, request))

            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(caller, stubs[number % len(stubs)])
            assert len(read_by) == 50
            assert all(chunks == read_by[0] for chunks in read_by)
            assert len(model.requests) == 1


async def test_any_process_reads_stops_lists_and_deletes_an_answer_that_another_makes(
    family: Family, model: ModelServer
) -> None:
    model.hung_up.clear()
    async with connected(family, 8) as stubs:
        call = stubs[0].StreamAnswer(asking("scripted/hanging"), metadata=CREDENTIALS, timeout=TIME_LIMIT_S)
        name = (await following(call)).started.answer
        while not (await following(call)).HasField("text"):
            pass
        for stub in stubs:
            resumed = stub.ResumeAnswer(ResumeAnswerRequest(name=name), metadata=CREDENTIALS, timeout=TIME_LIMIT_S)
            first = await following(resumed)
            assert first.snapshot.text.startswith("Leave ")
            resumed.cancel()
            got = await stub.GetAnswer(GetAnswerRequest(name=name), metadata=CREDENTIALS)
            assert (got.state, got.text[:6]) == (answer_pb2.ANSWER_STATE_RUNNING, "Leave ")
            listed = await stub.ListAnswers(ListAnswersRequest(), metadata=CREDENTIALS)
            assert [answer.text[:6] for answer in listed.answers if answer.name == name] == ["Leave "]
        for stub in reversed(stubs):
            stopped = await stub.CancelAnswer(CancelAnswerRequest(name=name), metadata=CREDENTIALS)
            assert stopped.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
        last = None
        while (chunk := await call.read()) is not grpc.aio.EOF:
            last = chunk
        assert isinstance(last, AnswerChunk)
        assert last.answer == stopped
    assert await anyio.to_thread.run_sync(model.hung_up.wait, TIME_LIMIT_S)


async def test_answers_of_a_process_that_is_killed_go_on_in_another_and_siblings_do_not_notice(
    family: Family, model: ModelServer
) -> None:
    model.requests.clear()
    deaths, gone_on, breaks = len(family.events("process.died")), len(family.events("answer.goes_on")), 0
    doomed = family.pid("front-1")
    read_by: list[list[AnswerChunk]] = []

    async def read_to_the_end(stub: AnswerServiceAsyncStub) -> None:
        nonlocal breaks
        seen: list[AnswerChunk] = []
        request = asking("going/steady")
        request.resume_window.FromSeconds(20)
        call: AsyncIterable[AnswerChunk] = stub.StreamAnswer(request, metadata=CREDENTIALS, timeout=TIME_LIMIT_S)
        while True:
            try:
                async for chunk in call:
                    if not chunk.HasField("heartbeat"):
                        seen.append(chunk)  # noqa: PERF401 (one by one, so that those before a break are kept)
                break
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                breaks += 1
                await anyio.sleep(0.05)
                resume = ResumeAnswerRequest(name=seen[0].started.answer, after_sequence=seen[-1].sequence)
                call = stub.ResumeAnswer(resume, metadata=CREDENTIALS, timeout=TIME_LIMIT_S)
        read_by.append(seen)

    async with connected(family, 12) as stubs, anyio.create_task_group() as tasks:
        for stub in stubs:
            tasks.start_soon(read_to_the_end, stub)
        await until(lambda: len(model.requests) >= len(stubs))
        await anyio.sleep(0.5)
        os.kill(doomed, signal.SIGKILL)
    assert [text_of(seen) for seen in read_by] == [STEADY_TEXT] * 12
    for seen in read_by:
        assert [chunk.sequence for chunk in seen] == list(range(1, len(seen) + 1))
        assert seen[-1].answer.text == STEADY_TEXT
    adopted = [event["process"] for event in family.events("answers.adopted")]
    goes_on = len(family.events("answer.goes_on")) - gone_on
    assert 1 <= goes_on < 12, "some were the dead one's, and some were not"
    assert breaks >= goes_on
    assert adopted
    assert len(model.requests) == 12 + goes_on, "only those that were broken off were asked again"
    await until(lambda: len(family.events("process.died")) > deaths and family.pid("front-1") != doomed)
    died = family.events("process.died")[-1]
    assert (died["name"], died["status"], died["process"]) == ("front-1", "SIGKILL", "parent")


async def test_an_answer_that_cannot_go_on_says_so_through_any_process_and_keeps_its_part(
    family: Family, model: ModelServer
) -> None:
    async with connected(family, 6) as stubs:
        request = asking(on_disconnect=DISCONNECT_POLICY_CONTINUE)
        call = stubs[0].StreamAnswer(request, metadata=CREDENTIALS, timeout=TIME_LIMIT_S)
        seen = [chunk for _ in range(12) if not (chunk := await following(call)).HasField("heartbeat")]
        name = seen[0].started.answer
        pids = [family.pid(process) for process in ("front-1", "front-2")]  # one of them makes it
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not {family.pid("front-1"), family.pid("front-2")} & set(pids))
        codes = []
        async with connected(family, 4) as others:
            for stub in others:
                replayed: list[AnswerChunk] = []
                resume = ResumeAnswerRequest(name=name, after_sequence=0)
                resumed = stub.ResumeAnswer(resume, metadata=CREDENTIALS, timeout=TIME_LIMIT_S)
                codes.append(reason_of(await failure_of(resumed, replayed)))
                replayed = [chunk for chunk in replayed if not chunk.HasField("heartbeat")]
                assert replayed[: len(seen)] == seen
        assert set(codes) == {"OWNER_LOST"}


async def test_a_frozen_process_is_ended_and_started_again(family: Family) -> None:
    pid = family.pid("front-2")
    os.kill(pid, signal.SIGSTOP)
    await until(lambda: family.pid("front-2") != pid)
    assert [event["pid"] for event in family.events("process.frozen")] == [pid]


async def test_the_retrieval_process_is_started_again_too(family: Family) -> None:
    pid = family.pid("retrieval")
    os.kill(pid, signal.SIGKILL)
    await until(lambda: family.pid("retrieval") != pid)
    async with AsyncClient(family.server.address, token=TOKEN) as client:
        answer = await client.answer("What does the handbook say about leave?", corpus="handbook")
        assert answer.sources


async def test_a_chat_is_the_same_through_every_process(family: Family) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncClient(family.server.address, token=TOKEN)) for _ in range(6)]
        chat = await clients[0].chats.create()
        for client in clients:
            await client.answer("why?", grounded=False, assistant="scripted/echo", chat=chat.name)
        turns = [turn async for turn in clients[0].chats.list_turns(chat.name)]
        assert len(turns) == 6


def test_doctor_finds_nothing_wrong(family: Family, tmp_path: Path) -> None:
    result = headwater("doctor", target=family.server.address, extra={"HEADWATER_TOKEN": TOKEN})
    assert "problem" not in result.stdout, result.stdout


def test_a_second_server_is_refused_by_the_port_and_by_the_data_folder(family: Family, tmp_path: Path) -> None:
    taken = headwater(
        "serve", "--processes", "2", "--address", family.server.address, "--data-dir", str(tmp_path / "other")
    )
    assert taken.returncode == 1
    assert f"cannot listen on {family.server.address}" in taken.stderr
    owned = headwater("serve", "--address", "127.0.0.1:0", "--data-dir", str(family.log.with_name("all-data")))
    assert owned.returncode == 1
    assert f"is in use by process {family.server.process.pid}" in owned.stderr


def test_sigterm_lets_running_answers_of_all_processes_end(tmp_path: Path, model: ModelServer) -> None:
    write_settings(tmp_path, model)
    with running(tmp_path) as family:
        clients = [Client(family.server.address, token=TOKEN) for _ in range(4)]
        answers = [client.answer("why?", grounded=False, assistant="scripted/steady") for client in clients]
        pieces = [next(iter(answer)) for answer in answers]
        family.server.process.terminate()
        assert all(pieces)
        assert [answer.content() for answer in answers] == [STEADY_TEXT] * len(answers)
        for client in clients:
            client.close()
        assert family.server.process.wait(TIME_LIMIT_S) == 0
        stopped = Counter(event["process"] for event in family.events("server.stopped"))
        assert stopped == {"front-1": 1, "front-2": 1, "retrieval": 1, "parent": 1}
        assert not family.events("process.died")


def test_services_that_stand_apart_have_processes_too_and_the_second_ctrl_c_stops_at_once(
    tmp_path: Path, model: ModelServer
) -> None:
    write_settings(tmp_path, model)
    with ExitStack() as stack:
        retrieval = stack.enter_context(serving("retrieval", tmp_path)).address
        assistant = stack.enter_context(serving("assistant", tmp_path, "--processes", "2")).address
        targets = ("--retrieval-target", retrieval, "--assistant-target", assistant)
        server = stack.enter_context(serving("orchestrator", tmp_path, *targets, "--processes", "2"))
        family = Family(server, tmp_path / "orchestrator.log")
        with Client(server.address, token=TOKEN) as client:
            assert client.answer("why?", grounded=False, assistant="scripted/steady").content() == STEADY_TEXT
            answer = client.answer("why?", grounded=False, assistant="scripted/hanging", resume=False)
            assert next(iter(answer))
            server.process.send_signal(signal.SIGINT)
            while not family.events("server.draining"):
                time.sleep(0.05)
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(TIME_LIMIT_S) == 130
            with pytest.raises(HeadwaterError):
                answer.content()
        assert family.events("server.stopped_at_once")
        names = {event["process"] for event in family.events("server.ready")}
        assert names == {"parent", "orchestrator-1", "orchestrator-2"}


def test_what_cannot_work_is_said_in_one_line(tmp_path: Path) -> None:
    for arguments, code, message in (
        (("retrieval", "--processes", "2"), 2, "the retrieval service is one process"),
        (("--processes", "two"), 2, "processes: "),
        (("--processes", "2", "--address", "127.0.0.1"), 2, "is not host:port"),
    ):
        result = headwater("serve", *arguments, "--data-dir", str(tmp_path))
        assert result.returncode == code
        assert message in result.stderr
        assert "Traceback" not in result.stderr
