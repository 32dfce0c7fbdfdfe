"""A question that the assistant service's process dies of."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from headwater import AsyncClient, FinishReason, ProviderUnavailable
from headwater_server.orchestrator.trying import TRIES_TAKEN_UP
from tests.arrangements.model_server import ModelServer
from tests.arrangements.processes import TOKEN, orchestrating, write_settings
from tests.arrangements.reborn import Reborn, reborn_assistant
from tests.serving import TIME_LIMIT_S

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="finds a service's processes by way of /proc"),
]


async def test_a_question_that_its_assistants_process_dies_of_is_asked_a_few_times_and_no_more(
    tmp_path: Path, model: ModelServer
) -> None:
    write_settings(tmp_path, model)
    model.requests.clear()
    with (
        reborn_assistant(tmp_path) as assistant,
        orchestrating(tmp_path, "127.0.0.1:9", assistant.address) as orchestrator,  # nobody retrieves here
    ):
        async with AsyncClient(orchestrator.address, token=TOKEN) as client:
            with anyio.fail_after(TIME_LIMIT_S):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(die_of_each_question, assistant, model)
                    with pytest.raises(ProviderUnavailable, match="not asked again") as ended:
                        await client.answer("why?", grounded=False, assistant="scripted/silent")
                    tasks.cancel_scope.cancel()
                assert (ended.value.partial, ended.value.retry_after) == ("", None)
                assert [request["model"] for request in model.requests] == ["silent"] * TRIES_TAKEN_UP
                answer = await client.answer("why?", grounded=False, assistant="scripted/echo")
            assert answer.finish_reason is FinishReason.STOP, "other questions are answered"


async def die_of_each_question(assistant: Reborn, model: ModelServer) -> None:
    """Kills the service's process each time that it has asked its model, which says nothing."""
    died = 0
    while True:
        if len(model.requests) > died:
            died = len(model.requests)
            assistant.kill()
        await anyio.sleep(0.02)
