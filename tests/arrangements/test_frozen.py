"""Frozen processes, on each hop: whoever waits for one notices, where an open connection alone would say nothing.

No test looks at a clock. Each waits for an outcome that without keepalive would be another, or would never come.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from headwater import AsyncClient, ConnectionLost, FinishReason, ProviderUnavailable
from tests.arrangements.model_server import ModelServer
from tests.arrangements.processes import TOKEN, ServerProcess, orchestrating, serving, write_settings
from tests.serving import TIME_LIMIT_S, environment

pytestmark = pytest.mark.anyio

READER = """
import sys
from headwater import Client

with Client(sys.argv[1], token=sys.argv[2]) as client:
    with client.answer("why?", grounded=False, assistant="scripted/hanging", resume=False) as answer:
        for piece in answer:
            print(piece, flush=True)
"""


GOING_ON = """
[assistants.going-on]
api = "openai-chat"
base_url = "{url}"
models = ["steady"]
continues = "vllm"
"""


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does nothing for a while, although its connections stay open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@dataclass
class Services:
    """Three processes."""

    retrieval: ServerProcess
    assistant: ServerProcess
    orchestrator: ServerProcess


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("frozen")
    write_settings(folder, model)
    with (folder / "settings.toml").open("a") as settings:
        settings.write(GOING_ON.format(url=model.url))
    with ExitStack() as stack:
        retrieval = stack.enter_context(serving("retrieval", folder))
        assistant = stack.enter_context(serving("assistant", folder))
        orchestrator = stack.enter_context(orchestrating(folder, retrieval.address, assistant.address))
        yield Services(retrieval, assistant, orchestrator)


async def test_a_client_notices_a_frozen_server(services: Services) -> None:
    async with AsyncClient(services.orchestrator.address, token=TOKEN) as client:
        answer = client.answer("why?", grounded=False, assistant="scripted/hanging", resume=False)
        async for _ in answer:
            break
        with frozen(services.orchestrator.process.pid), pytest.raises(ConnectionLost), anyio.fail_after(TIME_LIMIT_S):
            await answer


async def test_a_client_goes_on_with_its_answer_when_the_server_thaws(services: Services) -> None:
    async with AsyncClient(services.orchestrator.address, token=TOKEN) as client:
        # The assistant service has given up the frozen orchestrator, as the client has: both have to go on.
        answer = client.answer("why?", grounded=False, assistant="going-on/steady")
        pieces: list[str] = []
        async for piece in answer:
            pieces.append(piece)
            if len(pieces) == 20:
                with frozen(services.orchestrator.process.pid):
                    await anyio.sleep(5)  # long enough that the client has given the connection up
        assert "".join(pieces) == answer.message.text
        assert answer.finish_reason is FinishReason.STOP


async def test_an_orchestrator_notices_a_frozen_assistant(services: Services) -> None:
    async with AsyncClient(services.orchestrator.address, token=TOKEN) as client:
        answer = client.answer("why?", grounded=False, assistant="scripted/hanging")
        async for _ in answer:
            break
        with (
            frozen(services.assistant.process.pid),
            pytest.raises(ProviderUnavailable) as caught,
            anyio.fail_after(TIME_LIMIT_S),
        ):
            await answer
        assert caught.value.metadata["service"] == "assistant", "and not that the assistant was silent for too long"


async def test_an_orchestrator_notices_a_frozen_retrieval_service(services: Services) -> None:
    async with AsyncClient(services.orchestrator.address, token=TOKEN) as client:
        with frozen(services.retrieval.process.pid), pytest.raises(ProviderUnavailable) as caught:
            await client.corpora.get("default")
        assert caught.value.metadata["service"] == "retrieval"


async def test_the_health_of_a_frozen_service_is_known_without_a_call_and_so_is_its_thawing(services: Services) -> None:
    async with grpc.aio.insecure_channel(services.orchestrator.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        ours, theirs = (
            health.Watch(health_pb2.HealthCheckRequest(service=f"headwater.v1.{name}"))
            for name in ("AnswerService", "RetrievalService")
        )
        with anyio.fail_after(TIME_LIMIT_S):
            await _says(theirs, health_pb2.HealthCheckResponse.SERVING)
            with frozen(services.retrieval.process.pid):
                await _says(theirs, health_pb2.HealthCheckResponse.NOT_SERVING)
                assert (await ours.read()).status == health_pb2.HealthCheckResponse.SERVING
            await _says(theirs, health_pb2.HealthCheckResponse.SERVING)


async def test_a_server_notices_a_frozen_client_and_hangs_up_on_the_provider(
    services: Services, model: ModelServer
) -> None:
    model.hung_up.clear()
    command = [sys.executable, "-c", READER, services.orchestrator.address, TOKEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as reader:  # noqa: ASYNC220 (it returns at once)
        try:
            assert reader.stdout is not None
            assert await anyio.to_thread.run_sync(reader.stdout.readline)
            with frozen(reader.pid):
                assert await anyio.to_thread.run_sync(model.hung_up.wait, TIME_LIMIT_S)
        finally:
            reader.kill()


async def _says(watch: object, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
    """Waits until a watcher of health is told this."""
    while (await watch.read()).status != status:  # type: ignore[attr-defined]  # grpc's call has no public type
        pass
