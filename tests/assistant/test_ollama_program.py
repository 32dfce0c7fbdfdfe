"""The real Ollama, where it is installed, with the model that says known texts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from headwater.v1 import answer_pb2, assistant_service_pb2, generation_pb2
from headwater_server.assistant.service import AssistantCore
from headwater_server.errors import Reason, ServiceError
from tests.assistant.asking import CALLER, a_request, ask
from tests.assistant.cores import core_at
from tests.assistant.test_scripted_llm import SOURCES, scenarios

pytest.importorskip("gguf", reason="needs the package gguf (development requirements)")
OLLAMA = shutil.which("ollama")
pytestmark = [pytest.mark.anyio, pytest.mark.skipif(OLLAMA is None, reason="needs the program ollama, 0.17 or newer")]

NAMES = ("default", "unicode", "seps", "ssebait", "think", "code", "long", "empty", "loop")
# Ollama's templates cannot look for a word in the prompt, as the model's own does: so each text is a model.
MODEL_FILE = '''FROM {weights}
TEMPLATE """{{{{ range .Messages }}}}{{{{ .Role }}}}: {{{{ .Content }}}}
{{{{ end }}}}<|s:{name}|>"""
PARAMETER temperature 0
PARAMETER num_ctx 8192
'''


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from tests.scripted_llm.model import write_model  # noqa: PLC0415 (only where its packages are installed)

    folder = tmp_path_factory.mktemp("ollama")
    write_model(folder / "scripted.gguf", continuable=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environ = {**os.environ, "OLLAMA_HOST": address, "OLLAMA_MODELS": str(folder / "models"), "HOME": str(folder)}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([str(OLLAMA), "serve"], env=environ, stdout=log, stderr=log) as process,
    ):
        try:
            until_it_answers(f"http://{address}/api/version")
            for name in NAMES:
                model_file = folder / f"{name}.modelfile"
                model_file.write_text(MODEL_FILE.format(weights=folder / "scripted.gguf", name=name))
                create = [str(OLLAMA), "create", name, "-f", str(model_file)]
                subprocess.run(create, env=environ, check=True, capture_output=True, cwd=folder)
            yield f"http://{address}"
        finally:
            process.terminate()


@pytest.fixture
async def core(ollama: str) -> AsyncIterator[AssistantCore]:
    async with core_at(ollama, api="ollama", api_key="") as opened:
        yield opened


def until_it_answers(url: str) -> None:
    for _ in range(400):
        try:
            with urllib.request.urlopen(url):  # noqa: S310 (the test's own server)
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("ollama did not start")


@pytest.mark.parametrize("name", ["unicode", "seps", "ssebait", "code", "long", "empty"])
async def test_every_scenario_is_exact(core: AssistantCore, name: str) -> None:
    heard = await ask(core, a_request("Say it.", assistant=f"fake/{name}"))
    assert heard.text == scenarios()[name]
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.answer.usage.origin == answer_pb2.USAGE_ORIGIN_REPORTED
    assert heard.answer.usage.input_tokens > 0


async def test_markers_become_citations(core: AssistantCore) -> None:
    heard = await ask(core, a_request("Say it.", assistant="fake/default", sources=SOURCES))
    assert [ids for _, ids in heard.spans] == [["1"], ["2"], ["3"]]


async def test_a_limit_of_tokens_ends_it_as_that(core: AssistantCore) -> None:
    options = generation_pb2.GenerationOptions(max_output_tokens=6)
    heard = await ask(core, a_request("Say it.", assistant="fake/loop", generation=options))
    assert heard.text == " tick tock" * 3
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_MAX_TOKENS
    assert heard.answer.usage.output_tokens == 6


async def test_leaving_an_endless_answer_frees_the_model(core: AssistantCore) -> None:
    chunks = core.stream_generate(a_request("Say it.", assistant="fake/loop"), CALLER)
    async for chunk in chunks:
        if chunk.text.offset_bytes > 100:
            break
    await chunks.aclose()
    with anyio.fail_after(60):  # it answers one at a time
        heard = await ask(core, a_request("Say it.", assistant="fake/unicode"))
    assert heard.text == scenarios()["unicode"]


async def test_its_models_are_listed(core: AssistantCore) -> None:
    response = await core.list_assistants(assistant_service_pb2.ListAssistantsRequest(), CALLER)
    assert {f"assistants/fake/{name}:latest" for name in NAMES} <= {model.name for model in response.assistants}


async def test_a_model_that_is_not_there_is_said_not_to_be(core: AssistantCore) -> None:
    with pytest.raises(ServiceError) as raised:
        await ask(core, a_request("Say it.", assistant="fake/nobody"))
    assert raised.value.reason is Reason.PROVIDER_REJECTED
