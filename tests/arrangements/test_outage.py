"""What becomes of three processes when one of them dies."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from headwater import AsyncClient, FinishReason, ProviderUnavailable
from tests.arrangements.model_server import ModelServer
from tests.arrangements.processes import TOKEN, orchestrating, serving, write_settings

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 60
TEXT = b"A grown yak eats forty kilograms of hay a day. It lives in the mountains of Asia."
QUESTION = "How many kilograms of hay does a yak eat a day?"


async def test_a_service_that_dies_is_unavailable_until_it_is_back(tmp_path: Path, model: ModelServer) -> None:
    write_settings(tmp_path, model)
    async with AsyncExitStack() as stack:
        assistant = stack.enter_context(serving("assistant", tmp_path))
        retrieval = stack.enter_context(serving("retrieval", tmp_path))
        orchestrator = stack.enter_context(orchestrating(tmp_path, retrieval.address, assistant.address))
        client = await stack.enter_async_context(AsyncClient(orchestrator.address, token=TOKEN))
        await client.documents.import_file(TEXT, document_id="yaks", media_type="text/plain")
        before = str(await client.answer(QUESTION))
        assert "forty kilograms" in before

        retrieval.process.kill()
        retrieval.process.wait()
        for call in (client.answer(QUESTION), client.corpora.get("default")):
            with pytest.raises(ProviderUnavailable) as caught:
                await call
            assert caught.value.code == "UNAVAILABLE"
            assert caught.value.metadata["service"] == "retrieval"
            assert "retrieval service" in caught.value.message
        aside = await client.answer("Why?", grounded=False, assistant="scripted/echo")
        assert aside.finish_reason is FinishReason.STOP, "what needs no retrieval goes on"

        stack.enter_context(serving("retrieval", tmp_path, address=retrieval.address))
        assert await answered(client) == before

        hanging = client.answer("Why?", grounded=False, assistant="scripted/hanging")
        async for _ in hanging:
            break
        assistant.process.kill()
        with pytest.raises(ProviderUnavailable) as caught:
            await hanging
        assert caught.value.metadata["service"] == "assistant"
        assert caught.value.partial.startswith("Leave")


async def answered(client: AsyncClient) -> str:
    """The answer, as soon as there is one again."""
    with anyio.fail_after(WAIT_SECONDS):
        while True:
            try:
                return str(await client.answer(QUESTION))
            except ProviderUnavailable:
                await anyio.sleep(0.2)
