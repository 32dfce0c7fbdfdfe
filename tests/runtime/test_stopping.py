"""A server as a process: what signals do to it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from headwater.v1 import source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from tests.orchestrator.asking import asking
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules
from tests.runtime.serving import Stubs, connected, exhaust, info
from tests.serving import environment

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

WAIT_SECONDS = 30
ROOT = Path(__file__).resolve().parents[2]

# A whole server, but for its assistant: that says a word every 20 ms, as many as the prompt has characters.
SERVE = """
import sys, pathlib, anyio
from headwater_server.assistant.service import AssistantCore
from headwater_server.runtime import logs
from headwater_server.runtime.app import serve
from headwater_server.runtime.settings import load
from headwater.v1 import answer_pb2

async def stream_generate(self, request, caller):
    for number in range(len(request.prompt)):
        yield answer_pb2.AnswerChunk(text=answer_pb2.TextDelta(text=f"word{number} "))
        await anyio.sleep(0.02)
    yield answer_pb2.AnswerChunk(answer=answer_pb2.Answer(finish_reason=answer_pb2.FINISH_REASON_STOP))

AssistantCore.stream_generate = stream_generate
logs.configure(style="json")
settings = load(flags={"address": "127.0.0.1:0", "data_dir": pathlib.Path(sys.argv[1]), "drain": float(sys.argv[2])})
anyio.run(lambda: serve(settings, ready=lambda address: print(address, flush=True)))
print("served", flush=True)
"""


@dataclass
class Served:
    """A server's process, and stubs for it."""

    process: subprocess.Popen[str]
    stubs: Stubs

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> tuple[int, list[dict[str, object]]]:
        """Its exit code and its log, once it has ended."""
        out, err = await anyio.to_thread.run_sync(lambda: self.process.communicate(timeout=WAIT_SECONDS))
        assert out == ("served\n" if self.process.returncode == 0 else "")
        return self.process.returncode, [json.loads(line) for line in err.splitlines()]


@asynccontextmanager
async def served(data_dir: Path, *, drain: float) -> AsyncGenerator[Served]:
    """Runs a server whose assistant says a word every 20 ms, as many as the prompt has characters."""
    command = [sys.executable, "-c", SERVE, str(data_dir), str(drain)]
    with subprocess.Popen(  # noqa: ASYNC220 (it returns at once, and its output is read in a thread)
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            address = (await anyio.to_thread.run_sync(process.stdout.readline)).strip()
            assert address, process.stderr.read() if process.stderr else ""
            async with connected(address) as stubs:
                yield Served(process, stubs)
        finally:
            process.kill()


def ungrounded(words: int) -> object:
    return asking("x" * words, ungrounded=source_pb2.NoGrounding())


async def refused(address: str) -> None:
    """Waits until new callers are refused, which is so a moment after health has said NOT_SERVING."""
    code = grpc.StatusCode.OK
    with anyio.fail_after(WAIT_SECONDS):
        while code is not grpc.StatusCode.UNAVAILABLE:
            async with connected(address) as others:
                call = others.answers.GenerateAnswer(ungrounded(1), timeout=WAIT_SECONDS)
                code = await call.code()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_running_answer_end(number: signal.Signals, tmp_path: Path) -> None:
    async with served(tmp_path, drain=WAIT_SECONDS) as server:
        watch = health_pb2_grpc.HealthStub(server.stubs.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = server.stubs.answers.StreamAnswer(ungrounded(100))
        chunks = [await call.read() for _ in range(3)]
        server.send(number)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await refused(server.stubs.address)
        while not chunks[-1].HasField("answer"):
            chunks.append(await call.read())
        assert await call.code() is grpc.StatusCode.OK
        code, log = await server.ended()
    assert len(assert_rules(chunks).text.split()) == 100
    assert code == 0
    assert [entry["event"] for entry in log if str(entry["event"]).startswith("server.")] == [
        "server.ready",
        "server.draining",
        "server.stopped",
    ]


async def test_an_answer_that_takes_longer_than_the_drain_ends_with_its_reason(tmp_path: Path) -> None:
    async with served(tmp_path, drain=0.2) as server:
        chunks: list[AnswerChunk] = []
        call = server.stubs.answers.StreamAnswer(ungrounded(100_000))
        chunks.append(await call.read())
        server.send(signal.SIGTERM)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await exhaust(_messages(call), chunks)
        code, _ = await server.ended()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert info(caught.value).reason == "SERVER_DRAINING"
    assert info(caught.value).metadata["answer"] == chunks[0].started.answer
    assert assert_begins_by_the_rules(chunks) is None
    assert code == 0


async def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, drain=3600) as server:
        call = server.stubs.answers.StreamAnswer(ungrounded(100_000))
        await call.read()
        watch = health_pb2_grpc.HealthStub(server.stubs.channel).Watch(health_pb2.HealthCheckRequest())
        await watch.read()
        server.send(signal.SIGTERM)
        await watch.read()  # the drain has begun
        server.send(signal.SIGTERM)
        code, log = await server.ended()
    assert "server.stopped_at_once" in {entry["event"] for entry in log}
    assert code == 0


async def test_an_idle_server_stops_without_waiting(tmp_path: Path) -> None:
    async with served(tmp_path, drain=3600) as server:
        server.send(signal.SIGTERM)
        code, _ = await server.ended()
    assert code == 0


async def _messages(call: Any) -> AsyncGenerator[AnswerChunk]:
    """The rest of a call that `read` was used on."""
    while (message := await call.read()) is not grpc.aio.EOF:
        yield message
