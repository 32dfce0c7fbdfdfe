"""Restarting the three services in turn, under answers that run: no answer fails, and each says what it should.

HEADWATER_ROLLING_STREAMS and HEADWATER_ROLLING_ROUNDS make the run larger: how many answers run at once, and how often
each service is restarted.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from headwater import AsyncClient, ConnectionFailed, FinishReason
from tests.arrangements.model_server import STEADY_WORDS, ModelServer
from tests.arrangements.processes import ServerProcess, serving
from tests.serving import TIME_LIMIT_S

pytestmark = pytest.mark.anyio

STREAMS = int(os.environ.get("HEADWATER_ROLLING_STREAMS", "20"))
ROUNDS = int(os.environ.get("HEADWATER_ROLLING_ROUNDS", "2"))

SETTINGS = """
drain = 1  # a third of what an answer takes: most have to be handed over

[limits]
answers = 1000

[retrieval]
workers = 1

[assistants.going-on]
api = "openai-chat"
base_url = "{url}"
models = ["steady"]
continues = "vllm"
"""
TEXT = b"A grown yak eats forty kilograms of hay a day."


class Deployment:
    """The three services, each a process that can be restarted where it was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stacks: dict[str, ExitStack] = {}
        self._running: dict[str, ServerProcess] = {}

    def start(self, role: str) -> str:
        """Starts a service, where it was before if it was; returns its address."""
        targets: list[str] = []
        if role == "orchestrator":
            targets += [
                "--retrieval-target",
                self.address("retrieval"),
                "--assistant-target",
                self.address("assistant"),
            ]
        address = self._running[role].address if role in self._running else "127.0.0.1:0"
        self._stacks[role] = ExitStack()
        self._running[role] = self._stacks[role].enter_context(serving(role, self._folder, *targets, address=address))
        return self.address(role)

    def address(self, role: str) -> str:
        return self._running[role].address

    def restart(self, role: str) -> None:
        """Stops a service in order, and starts it again."""
        self._stacks[role].close()
        assert self._running[role].process.returncode == 0
        self.start(role)

    def stop(self) -> None:
        """Stops all."""
        for stack in self._stacks.values():
            stack.close()


class Callers:
    """Callers who ask one answer after another, and look at each."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.stop = anyio.Event()
        self.answered = 0
        self.continued = 0

    async def ask(self, number: int) -> None:
        """Asks until `stop` is set."""
        while not self.stop.is_set():
            grounded = bool(number % 2)
            answer = self._client.answer("How much hay?", grounded=grounded, assistant="going-on/steady")
            try:
                text = await answer.content()
            except ConnectionFailed as failure:
                if failure.answer:  # one that has begun is not given up
                    raise
                await anyio.sleep(0.2)  # between two servers there is none to begin one
                continue
            assert text == "".join(STEADY_WORDS)
            assert answer.finish_reason is FinishReason.STOP
            assert bool(answer.sources) == grounded
            self.answered += 1
            self.continued += bool(answer.message.timings.continuations)


async def test_answers_survive_restarts_of_every_service(tmp_path: Path, model: ModelServer) -> None:
    (tmp_path / "settings.toml").write_text(SETTINGS.format(url=model.url))
    deployment = Deployment(tmp_path)
    try:
        for role in ("retrieval", "assistant", "orchestrator"):
            await anyio.to_thread.run_sync(deployment.start, role)
        async with AsyncClient(deployment.address("orchestrator")) as client:
            await client.documents.import_file(TEXT, document_id="yaks", media_type="text/plain")
            callers = Callers(client)
            with anyio.fail_after(TIME_LIMIT_S + 30 * ROUNDS):
                async with anyio.create_task_group() as tasks:
                    for number in range(STREAMS):
                        tasks.start_soon(callers.ask, number)
                    for _ in range(ROUNDS):
                        for role in ("assistant", "orchestrator", "retrieval"):
                            await anyio.sleep(1)  # so that answers are in all their stages
                            await anyio.to_thread.run_sync(deployment.restart, role)
                    callers.stop.set()
    finally:
        await anyio.to_thread.run_sync(deployment.stop)
    assert callers.answered >= STREAMS
    assert callers.continued, "some were handed over in mid-sentence"
