"""An orchestrator with two assistant services: while one stops, or is gone, the other has all the work."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from headwater import AsyncClient
from tests.arrangements.model_server import ModelServer
from tests.arrangements.processes import TOKEN, orchestrating, serving, write_settings
from tests.serving import TIME_LIMIT_S

pytestmark = pytest.mark.anyio

STOP_SIGNALS = [signal.SIGTERM, signal.SIGSTOP]


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_answers_go_to_the_assistants_that_serve(
    number: signal.Signals, tmp_path: Path, model: ModelServer
) -> None:
    write_settings(tmp_path, model)
    with ExitStack() as stack:
        # Nobody retrieves here, so there need not be a retrieval service.
        stops = stack.enter_context(serving("assistant", tmp_path))
        stays = stack.enter_context(serving("assistant", tmp_path))
        both = f"ipv4:{stops.address},{stays.address}"
        orchestrator = stack.enter_context(orchestrating(tmp_path, "127.0.0.1:9", both))
        async with AsyncClient(orchestrator.address, token=TOKEN) as client:
            for _ in range(4):
                await _answer(client)
            with anyio.fail_after(TIME_LIMIT_S):
                while _calls(tmp_path) < 4:  # noqa: ASYNC110 (they log it when the caller has had the end already)
                    await anyio.sleep(0.01)
            assert _calls(tmp_path) == 4
            stops.process.send_signal(number)
            try:
                with anyio.fail_after(TIME_LIMIT_S):
                    for _ in range(10):
                        await _answer(client)
            finally:
                if number is signal.SIGSTOP:
                    stops.process.send_signal(signal.SIGCONT)


async def _answer(client: AsyncClient) -> None:
    answer = await client.answer("why?", grounded=False, assistant="scripted/echo")
    assert answer.message.text.startswith("Leave is paid")


def _calls(folder: Path) -> int:
    """How many calls the assistant services have logged."""
    return (folder / "assistant.log").read_text().count("AssistantService/StreamGenerate")
