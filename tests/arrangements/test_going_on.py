"""Servers that are killed in the middle of an answer, and started again where they were: its caller gets it whole."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from headwater import AsyncAnswer, AsyncClient, FinishReason
from tests.arrangements.model_server import STEADY_WORDS, ModelServer
from tests.arrangements.process_tree import kill_tree
from tests.arrangements.processes import TOKEN, ServerProcess, serving
from tests.scripted_llm.running import scripted_llm
from tests.serving import TIME_LIMIT_S

pytestmark = pytest.mark.anyio

SETTINGS = """
drain = 0.3

[retrieval]
workers = 1

[tokens]
acme = "{token}"

[assistants.going-on]
api = "openai-chat"
base_url = "{url}"
continues = "llama.cpp"
"""
PIECES_BEFORE = 20
ROLES = {"one process": ("all",), "three processes": ("retrieval", "assistant", "orchestrator")}


class Servers:
    """The processes of one arrangement, by role."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "settings.toml").write_text(SETTINGS.format(token=TOKEN, url=url))
        self._folder = folder
        self._running: dict[str, ServerProcess] = {}
        self._stacks: dict[str, ExitStack] = {}

    @property
    def target(self) -> str:
        """Where callers find it."""
        return (self._running.get("all") or self._running["orchestrator"]).address

    def start(self, role: str) -> None:
        """Starts a service, where it was before if it was."""
        address = self._running[role].address if role in self._running else "127.0.0.1:0"
        targets: list[str] = []
        if role == "orchestrator":
            for other in ("retrieval", "assistant"):
                targets += [f"--{other}-target", self._running[other].address]
        self._stacks[role] = ExitStack()
        self._running[role] = self._stacks[role].enter_context(serving(role, self._folder, *targets, address=address))

    def restart(self, role: str, how: signal.Signals) -> None:
        """Kills a service with all its processes, or asks it to stop, and starts it again."""
        process = self._running[role].process
        if how is signal.SIGKILL:
            kill_tree(process.pid)
        else:
            process.send_signal(how)
        process.wait(timeout=TIME_LIMIT_S)
        self._stacks[role].close()
        self.start(role)

    def stop(self) -> None:
        """Stops all."""
        for stack in reversed(self._stacks.values()):
            stack.close()


@contextmanager
def servers(kind: str, folder: Path, url: str) -> Iterator[Servers]:
    started = Servers(folder, url)
    try:
        for role in ROLES[kind]:
            started.start(role)
        yield started
    finally:
        started.stop()


async def read(answer: AsyncAnswer, *, in_the_middle: Callable[[], None]) -> str:
    """Reads an answer piece by piece; after some, something happens."""
    pieces: list[str] = []
    async with anyio.create_task_group() as tasks:
        async for piece in answer:
            pieces.append(piece)
            if len(pieces) == PIECES_BEFORE:
                tasks.start_soon(anyio.to_thread.run_sync, in_the_middle)
    return "".join(pieces)


@pytest.mark.parametrize(
    ("kind", "role", "how"),
    [
        ("one process", "all", signal.SIGKILL),
        ("one process", "all", signal.SIGTERM),
        ("three processes", "orchestrator", signal.SIGKILL),
        ("three processes", "assistant", signal.SIGKILL),
        ("three processes", "assistant", signal.SIGTERM),
    ],
)
async def test_a_caller_gets_one_unbroken_answer_though_its_server_was_restarted_in_the_middle(
    kind: str, role: str, how: signal.Signals, tmp_path: Path, model: ModelServer
) -> None:
    model.requests.clear()
    with servers(kind, tmp_path, model.url) as started:
        async with AsyncClient(started.target, token=TOKEN) as client:
            with anyio.fail_after(TIME_LIMIT_S):
                answer = client.answer("why?", grounded=False, assistant="going-on/steady")
                said = await read(answer, in_the_middle=lambda: started.restart(role, how))
            assert said == answer.message.text == "".join(STEADY_WORDS)
            assert answer.finish_reason is FinishReason.STOP
            assert answer.message.timings.continuations == 1
            assert answer.message.usage.partial
            again = await client.resume(answer.name)
            assert again.message == answer.message
    first, second = model.requests
    assert second["messages"][:-1] == first["messages"], "it was asked the same"
    assert "".join(STEADY_WORDS).startswith(second["messages"][-1]["content"])


async def test_an_answer_of_a_real_model_is_the_same_though_its_server_was_killed_in_the_middle(
    tmp_path: Path,
) -> None:
    pytest.importorskip("gguf", reason="needs the package gguf (development requirements)")
    pytest.importorskip("xllamacpp", reason="needs the package xllamacpp (development requirements)")
    from tests.scripted_llm.model import CONTINUABLE  # noqa: PLC0415 (only where its packages are installed)

    with scripted_llm(tmp_path, continuable=True) as url, servers("one process", tmp_path, f"{url}/v1") as started:
        async with AsyncClient(started.target, token=TOKEN) as client:
            with anyio.fail_after(TIME_LIMIT_S):
                answer = client.answer("Say #long", grounded=False, assistant="going-on/scripted")
                said = await read(answer, in_the_middle=lambda: started.restart("all", signal.SIGKILL))
    assert said == answer.message.text == CONTINUABLE["long"]
    assert answer.finish_reason is FinishReason.STOP
    assert answer.message.timings.continuations == 1
