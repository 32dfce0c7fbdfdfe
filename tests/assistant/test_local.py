"""Models on disk: real llama.cpp processes with a model that says known texts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from headwater.v1 import answer_pb2
from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.local import provider as local_provider
from headwater_server.assistant.local.order import Order
from headwater_server.assistant.local.provider import LocalProvider
from headwater_server.assistant.protocol import ProviderSettings
from headwater_server.assistant.service import AssistantCore, open_assistants
from headwater_server.errors import Overloaded, Reason, ResourceNotFound, ServiceError
from tests.assistant.asking import CALLER, Heard, a_request, ask

pytest.importorskip("gguf", reason="needs the package gguf (development requirements)")
pytest.importorskip("xllamacpp", reason="needs the package xllamacpp (development requirements)")
pytestmark = pytest.mark.anyio

SOURCES = ["Token by token.", "Three passages were ranked.", "One terminal message."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.scripted_llm.model import write_model  # noqa: PLC0415 (only where its packages are installed)

    folder = tmp_path_factory.mktemp("models")
    (folder / "team").mkdir()
    write_model(folder / "scripted.gguf")
    shutil.copy(folder / "scripted.gguf", folder / "team/twin.gguf")
    (folder / "broken.gguf").write_bytes(b"GGUF, but no further")
    return folder


@asynccontextmanager
async def a_core(folder: Path, **options: object) -> AsyncIterator[AssistantCore]:
    table = NamedProvider(api="local", options={"folder": str(folder), "threads": 1, "parallel": 2, **options})
    async with open_assistants(AssistantConfig(providers={"local": table}, environ={})) as core:
        yield core


def scenarios() -> dict[str, str]:
    from tests.scripted_llm.model import SCENARIOS  # noqa: PLC0415 (only where its packages are installed)

    return SCENARIOS


def processes() -> set[int]:
    """The processes of this one that have a model."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"headwater_server.assistant.local.server" in command and str(os.getpid()).encode() in command.split(b"\0"):
            found.add(int(entry.name))
    return found


def environment_of(process: int) -> bytes:
    return Path(f"/proc/{process}/environ").read_bytes()


async def test_a_file_in_the_folder_answers_exactly_and_its_process_ends_with_the_provider(folder: Path) -> None:
    async with a_core(folder) as core:
        assert not processes()
        for name in ("unicode", "seps", "code"):
            heard = await ask(core, a_request(f"Say #{name}", assistant="local/scripted"))
            assert heard.text == scenarios()[name]
            assert heard.answer.usage.origin == answer_pb2.USAGE_ORIGIN_REPORTED
        cited = await ask(core, a_request("Hello", assistant="local/scripted", sources=SOURCES))
        assert [ids for _, ids in cited.spans] == [["1"], ["2"], ["3"]]
        assert len(processes()) == 1
    assert not processes()


async def test_the_models_of_the_folder_are_listed_with_their_context(folder: Path) -> None:
    settings = ProviderSettings(name="local", context_tokens=2048, options={"folder": str(folder)})
    provider = local_provider(settings)
    models = await provider.models()
    assert [model.id for model in models] == ["broken", "scripted", "team/twin"]
    assert {model.context_tokens for model in models} == {2048}
    await provider.aclose()


async def test_the_event_loop_is_free_while_a_model_loads_and_writes(folder: Path) -> None:
    async with a_core(folder) as core:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.sleep(0.01)
                ticks += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            await ask(core, a_request("Say #long", assistant="local/scripted"))
            tasks.cancel_scope.cancel()
        assert ticks > 10


async def test_an_answer_that_is_left_frees_its_place(folder: Path) -> None:
    async with a_core(folder, parallel=1) as core:
        stream = core.stream_generate(a_request("Say #loop", assistant="local/scripted"), CALLER)
        assert (await anext(stream)).text.text
        await stream.aclose()
        with anyio.fail_after(60):
            assert (await ask(core, a_request("Say #unicode", assistant="local/scripted"))).text


async def test_a_model_that_dies_in_mid_answer_ends_it_as_truncated_and_is_loaded_anew(folder: Path) -> None:
    async with a_core(folder) as core:
        heard = Heard()

        async def kill_after_first_text() -> None:
            while not heard.text:  # noqa: ASYNC110 (what is heard sets no event)
                await anyio.sleep(0.01)
            for process in processes():
                os.kill(process, signal.SIGKILL)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill_after_first_text)
            with pytest.raises(ServiceError) as raised:
                await ask(core, a_request("Say #loop", assistant="local/scripted"), into=heard)
        assert raised.value.reason is Reason.PROVIDER_TRUNCATED
        assert (await ask(core, a_request("Say #unicode", assistant="local/scripted"))).text == scenarios()["unicode"]


async def test_an_idle_model_makes_room_for_another_and_a_busy_one_does_not(folder: Path) -> None:
    async with a_core(folder, max_loaded=1) as core:
        stream = core.stream_generate(a_request("Say #loop", assistant="local/scripted"), CALLER)
        await anext(stream)
        with pytest.raises(Overloaded):
            await ask(core, a_request("Hello", assistant="local/team/twin"))
        await stream.aclose()
        assert (await ask(core, a_request("Hello", assistant="local/team/twin"))).text == scenarios()["default"]
        assert len(processes()) == 1


async def test_a_file_that_is_no_model_says_so_and_leaves_no_process(folder: Path) -> None:
    async with a_core(folder) as core:
        with pytest.raises(ServiceError, match="cannot be loaded") as raised:
            await ask(core, a_request("Hello", assistant="local/broken"))
        assert raised.value.reason is Reason.PROVIDER_REJECTED  # it is as broken the next time
        assert str(folder) not in raised.value.message
        assert not processes()


async def test_a_process_gets_no_key_of_a_provider_and_no_module_of_the_working_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise RuntimeError('from the working folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-93c1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    async with a_core(folder) as core:
        assert (await ask(core, a_request("Say #unicode", assistant="local/scripted"))).text == scenarios()["unicode"]
        (process,) = processes()
        variables = environment_of(process)
    assert b"sk-canary-93c1" not in variables
    assert b"CUDA_VISIBLE_DEVICES=0" in variables


async def test_who_leaves_while_a_process_is_started_leaves_no_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = anyio.open_process
    started = anyio.Event()

    async def open_slowly(*arguments: Any, **options: Any) -> Any:
        process = await opened(*arguments, **options)
        started.set()
        await anyio.sleep(0.05)
        return process

    monkeypatch.setattr(anyio, "open_process", open_slowly)
    async with a_core(folder) as core, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, core, a_request("Hello", assistant="local/scripted"))
        await started.wait()
        tasks.cancel_scope.cancel()
    assert not processes()


async def test_an_interpreter_that_says_nothing_of_sense_is_a_process_that_died(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho llama.cpp says hello\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    async with a_core(folder) as core:
        with pytest.raises(ServiceError, match="its process died") as raised:
            await ask(core, a_request("Hello", assistant="local/scripted"))
    assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE


def test_what_the_library_prints_is_kept_out_of_what_the_process_says(tmp_path: Path) -> None:
    (tmp_path / "xllamacpp.py").write_text(
        "import os\n"
        "class CommonParams:\n"
        "    def __init__(self):\n"
        "        self.model = type('Model', (), {})()\n"
        "class Server:\n"
        "    listening_address = 'http://127.0.0.1:1'\n"
        "    def __init__(self, parameters):\n"
        "        print('from Python', flush=True)\n"
        "        os.write(1, b'from C')\n"
    )
    order = Order(path="x", api_key="secret", context=1, parallel=1, threads=0, gpu_layers=0)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "headwater_server.assistant.local.server", str(os.getpid())],
        input=order.encode(),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == {"address": "http://127.0.0.1:1"}


def test_an_order_does_not_show_its_key() -> None:
    order = Order(path="x", api_key="secret-key", context=1, parallel=1, threads=0, gpu_layers=0)
    assert "secret-key" not in repr(order)


async def test_a_provider_may_be_closed_while_a_model_takes_the_place_of_another(folder: Path) -> None:
    settings = ProviderSettings(name="local", options={"folder": str(folder), "threads": 1, "parallel": 1})
    provider = LocalProvider(settings)
    try:
        await provider.loaded("scripted")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(provider.aclose)
            tasks.start_soon(provider.loaded, "team/twin")
    finally:
        await provider.aclose()
    assert not processes()


@pytest.mark.parametrize("name", ["nothing", "../scripted", "team/../../x", "/etc/passwd", "scripted.gguf", "team"])
async def test_a_name_that_is_no_file_of_the_folder_is_not_found(folder: Path, name: str) -> None:
    async with a_core(folder / "team") as core:
        with pytest.raises(ResourceNotFound):
            await ask(core, a_request("Hello", assistant=f"local/{name}"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"floder": "x"}, "floder"),
        ({"folder": 7}, "folder"),
        ({"parallel": 0}, "parallel"),
        ({"threads": True}, "threads"),
        ({"gpu_layers": -2}, "gpu_layers"),
        ({"load_seconds": 0}, "load_seconds"),
    ],
)
def test_a_setting_that_is_wrong_is_refused_by_name(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=rf"assistants\.mine\.{words}"):
        local_provider(ProviderSettings(name="mine", options=options))
