"""Against llmock, a server of somebody else's that breaks its answers on demand and judges its clients."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.failover import FailoverPolicy
from headwater_server.assistant.service import AssistantCore, open_assistants
from headwater_server.errors import Reason, ServiceError
from tests.assistant.asking import Heard, a_request, ask

LLMOCK = Path(sys.executable).with_name("llmock")
pytestmark = pytest.mark.anyio

PROVIDERS = {
    "ai21": ("openai-chat", "/ai21/v1"),
    "anthropic": ("anthropic", "/anthropic"),
    "cohere": ("cohere", "/cohere"),
    "gemini": ("gemini", "/gemini"),
    "groq": ("openai-chat", "/groq/openai/v1"),
    "mistral": ("mistral", "/mistral/v1"),
    "openai": ("openai-chat", "/v1"),
    "perplexity": ("perplexity", "/perplexity/v1"),
    "responses": ("openai-responses", "/v1"),
    "together": ("openai-chat", "/together/v1"),
    "xai": ("openai-chat", "/xai/v1"),
}
TEXT = "Exactly\u2028this: é😀\n\n[1] and \\that."
STREAM_FAULTS = {
    "truncate": {Reason.PROVIDER_TRUNCATED},
    "disconnect": {Reason.PROVIDER_TRUNCATED},
    "malformed": {Reason.PROVIDER_PROTOCOL},
}

UNSEEN = {"malformed_chunk_ignored"}
"""Warned of where the rest of a body was under way before its reader stopped, which the tests see by themselves."""


@pytest.fixture(scope="module")
def llmock() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(LLMOCK), "serve", "--port", str(port), "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "NO_COLOR": "1"}) as process:
        try:
            while not is_up(url):
                assert process.poll() is None, "llmock did not start"
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()


@asynccontextmanager
async def judged(llmock: str, *, read_timeout: float = 20, **policy: Any) -> AsyncIterator[AssistantCore]:
    """An assistant service with all providers, which is judged at the end."""
    call(llmock, "POST", "/_llmock/reset")
    providers = {
        name: NamedProvider(api=api, base_url=llmock + path, api_key="mock-key")
        for name, (api, path) in PROVIDERS.items()
    }
    config = AssistantConfig(
        providers=providers, environ={}, read_timeout=read_timeout, failover=FailoverPolicy(**policy)
    )
    async with open_assistants(config) as opened:
        yield opened
    verdict = await anyio.to_thread.run_sync(call, llmock, "GET", "/_llmock/verdict")
    assert verdict["passed"] is True, verdict
    assert {finding["code"] for finding in verdict["findings"]} <= UNSEEN
    assert verdict["calls"] > 0


@pytest.fixture
async def core(llmock: str) -> AsyncIterator[AssistantCore]:
    async with judged(llmock) as opened:
        yield opened


def is_up(url: str) -> bool:
    try:
        call(url, "GET", "/health")
    except OSError:
        return False
    return True


def call(url: str, method: str, path: str, document: object = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 (the test's own server)
        url + path,
        data=None if document is None and method == "GET" else json.dumps(document or {}).encode(),
        headers={"content-type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310 (the test's own server)
        return json.load(response)


async def broken(url: str, **behaviour: object) -> None:
    await anyio.to_thread.run_sync(call, url, "POST", "/_llmock/scenario", {"behaviors": [behaviour]})


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_scripted_answer_is_exact(llmock: str, core: AssistantCore, name: str) -> None:
    await broken(llmock, type="reply", text=TEXT)
    assert (await ask(core, a_request("Say it.", assistant=f"{name}/gpt-4o"))).text == TEXT


@pytest.mark.parametrize("fault", STREAM_FAULTS)
@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_stream_that_breaks_after_text_is_an_error_and_asking_again_answers(
    llmock: str, core: AssistantCore, name: str, fault: str
) -> None:
    await broken(llmock, type="reply", text="one two three four five six seven eight nine ten")
    await broken(llmock, type="stream_fault", kind=fault, after_chunks=5)
    heard = Heard()
    request = a_request("Count.", assistant=f"{name}/gpt-4o")
    with pytest.raises(ServiceError) as raised:
        await ask(core, request, heard)
    assert raised.value.reason in STREAM_FAULTS[fault]
    assert (await ask(core, request)).text


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_stream_that_stands_still_is_cut_off_and_asking_again_answers(llmock: str, name: str) -> None:
    async with judged(llmock, read_timeout=0.5) as core:
        await broken(llmock, type="reply", text="one two three four five six seven eight nine ten")
        await broken(llmock, type="stream_fault", kind="stall", after_chunks=5, stall_seconds=30)
        heard = Heard()
        request = a_request("Count.", assistant=f"{name}/gpt-4o")
        with pytest.raises(ServiceError) as raised:
            await ask(core, request, heard)
        assert raised.value.reason is Reason.PROVIDER_TRUNCATED
        assert (await ask(core, request)).text


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_stream_that_stands_still_for_a_moment_is_whole(llmock: str, core: AssistantCore, name: str) -> None:
    await broken(llmock, type="reply", text=TEXT)
    await broken(llmock, type="stream_fault", kind="stall", after_chunks=2, stall_seconds=0.2)
    assert (await ask(core, a_request("Say it.", assistant=f"{name}/gpt-4o"))).text == TEXT


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_first_token_that_is_slow_is_waited_for(llmock: str, core: AssistantCore, name: str) -> None:
    await broken(llmock, type="reply", text=TEXT)
    await broken(llmock, type="slow_first_token", seconds=0.3)
    assert (await ask(core, a_request("Say it.", assistant=f"{name}/gpt-4o"))).text == TEXT


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_first_token_that_does_not_come_is_asked_for_again(llmock: str, name: str) -> None:
    async with judged(llmock, read_timeout=0.5, first_delay=0.01) as core:
        await broken(llmock, type="slow_first_token", seconds=30)
        assert (await ask(core, a_request("Hello?", assistant=f"{name}/gpt-4o"))).text


async def test_another_answers_in_place_of_one_whose_first_token_does_not_come(llmock: str) -> None:
    fallbacks = {"openai/gpt-4o": ["anthropic/gpt-4o"]}
    async with judged(llmock, first_event=0.3, fallbacks=fallbacks) as core:
        await broken(llmock, type="slow_first_token", seconds=30, match={"path": "/v1/chat/completions"})
        heard = await ask(core, a_request("Hello?", assistant="openai/gpt-4o"))
    assert heard.answer.assistant == "assistants/anthropic/gpt-4o"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *((name, status) for name in PROVIDERS for status in (401, 429, 529)),
        *(("openai", status) for status in (400, 403, 404, 422, 500, 503)),
    ],
)
async def test_a_status_is_tried_again_only_where_that_may_help(
    llmock: str, core: AssistantCore, name: str, status: int
) -> None:
    await broken(llmock, type="fail", status=status)
    request = a_request("Hello?", assistant=f"{name}/gpt-4o")
    if status in {400, 401, 403, 404, 422}:
        with pytest.raises(ServiceError):
            await ask(core, request)
    else:
        assert (await ask(core, request)).text
