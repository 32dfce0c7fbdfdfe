"""Against aimock, a server of somebody else's that speaks as the providers do, Ollama and Cohere among them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from headwater.v1 import answer_pb2
from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.service import AssistantCore, open_assistants
from headwater_server.errors import Reason, ServiceError
from tests.assistant.asking import Heard, a_request, ask

FOLDER = Path(__file__).parent / "aimock"
PROGRAM = FOLDER / "node_modules" / ".bin" / "llmock"  # its other name is for its settings as a file
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not (shutil.which("npm") and shutil.which("node")), reason="needs node and npm"),
]

PROVIDERS = {
    "anthropic": ("anthropic", ""),
    "azure": ("azure-openai", ""),
    "cohere": ("cohere", ""),
    "gemini": ("gemini", ""),
    "ollama": ("ollama", ""),
    "openai": ("openai-chat", "/v1"),
    "responses": ("openai-responses", "/v1"),
}
TEXT = "Exactly this: é😀\n\n[1] and \\that, piece by piece, \u2028 to its end."
THOUGHT = "Hm, well."
FIXTURES = [
    {"match": {"userMessage": "say it"}, "response": {"content": TEXT}},
    {"match": {"userMessage": "think first"}, "response": {"content": TEXT, "reasoning": THOUGHT}},
    {"match": {"userMessage": "break off"}, "response": {"content": TEXT}, "truncateAfterChunks": 4, "latency": 20},
    {
        "match": {"userMessage": "refuse"},
        "response": {"error": {"message": "no such key", "type": "authentication_error"}, "status": 401},
    },
]


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not PROGRAM.exists():
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=FOLDER, check=True, timeout=200
        )
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(PROGRAM), "--port", str(port), "--fixtures", str(fixtures), "--chunk-size", "5", "--strict"]
    with subprocess.Popen([*command, "--log-level", "silent"], stdout=subprocess.DEVNULL) as process:
        try:
            while not is_up(port):
                assert process.poll() is None, "aimock did not start"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
async def core(aimock: str) -> AsyncIterator[AssistantCore]:
    providers = {
        name: NamedProvider(api=api, base_url=aimock + path, api_key="mock-key")
        for name, (api, path) in PROVIDERS.items()
    }
    async with open_assistants(AssistantConfig(providers=providers, environ={}, read_timeout=20)) as opened:
        yield opened


def is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("name", PROVIDERS)
async def test_an_answer_is_exact(core: AssistantCore, name: str) -> None:
    heard = await ask(core, a_request("say it", assistant=f"{name}/gpt-4o"))
    assert heard.text == TEXT
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP


# As it plays Cohere, reasoning is text; and as Ollama, in a field that Ollama's own answers do not have.
@pytest.mark.parametrize("name", sorted(PROVIDERS.keys() - {"cohere", "ollama"}))
async def test_reasoning_is_told_from_the_answer(core: AssistantCore, name: str) -> None:
    heard = await ask(core, a_request("think first", assistant=f"{name}/o3"))
    assert heard.text == TEXT
    assert heard.reasoning == THOUGHT


@pytest.mark.parametrize("name", PROVIDERS)
async def test_an_answer_that_breaks_off_is_an_error_and_keeps_its_part(core: AssistantCore, name: str) -> None:
    heard = Heard()
    with pytest.raises(ServiceError) as raised:
        await ask(core, a_request("break off", assistant=f"{name}/gpt-4o"), heard)
    assert raised.value.reason is Reason.PROVIDER_TRUNCATED
    assert TEXT.startswith(heard.text)


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_refused_key_is_said_to_be_that(core: AssistantCore, name: str) -> None:
    with pytest.raises(ServiceError) as raised:
        await ask(core, a_request("refuse", assistant=f"{name}/gpt-4o"))
    assert raised.value.reason is Reason.PROVIDER_UNAUTHENTICATED
