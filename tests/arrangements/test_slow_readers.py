"""Readers that do not read: they cost the server little, and nobody else notices them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest

from headwater import AsyncClient, FinishReason
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    DISCONNECT_POLICY_UNSPECIFIED,
    StreamAnswerRequest,
)
from headwater.v1.answer_service_pb2_grpc import AnswerServiceStub
from headwater.v1.source_pb2 import NoGrounding
from tests.arrangements.model_server import FLOOD_BYTES, STEADY_WORDS, ModelServer
from tests.arrangements.processes import TOKEN, serving, write_settings
from tests.serving import TIME_LIMIT_S

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads a process's memory from /proc"),
]

CREDENTIALS = (("authorization", f"Bearer {TOKEN}"),)
STALLED, OF_THEM_CONTINUE, STREAMING = 50, 5, 10
MOST_GROWTH = 512 << 20
"""What 50 stalled readers may cost: 10 MiB each, where their assistants want to say 32. They cost some four, most of it
in gRPC's own buffers."""


def memory(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@asynccontextmanager
async def stalled_reader(address: str, *, goes_on: bool) -> AsyncIterator[Any]:
    """An answer whose reader has read its beginning, and nothing more."""
    async with grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        stub: Any = AnswerServiceStub(channel)
        request = StreamAnswerRequest(
            request_id=str(uuid.uuid4()),
            prompt="why?",
            assistant="scripted/flood",
            ungrounded=NoGrounding(),
            on_disconnect=DISCONNECT_POLICY_CONTINUE if goes_on else DISCONNECT_POLICY_UNSPECIFIED,
        )
        call = stub.StreamAnswer(request, metadata=CREDENTIALS)
        for _ in range(3):
            await call.read()
        yield call
        call.cancel()


async def until_nothing_moves(model: ModelServer) -> None:
    """Waits until those have ended that go on without a reader, and the others say nothing more."""
    with anyio.fail_after(TIME_LIMIT_S):
        while model.floods_ended < OF_THEM_CONTINUE:  # noqa: ASYNC110 (the model runs in a thread of its own)
            await anyio.sleep(0.1)
        before = -1
        while model.flood_bytes_sent > before:
            before = model.flood_bytes_sent
            await anyio.sleep(1)


async def test_fifty_stalled_readers_cost_little_and_harm_nobody(tmp_path: Path, model: ModelServer) -> None:
    write_settings(tmp_path, model)
    model.flood_bytes_sent = model.floods_ended = 0
    with serving("all", tmp_path) as server:
        async with AsyncClient(server.address, token=TOKEN) as client, anyio.create_task_group() as tasks:
            assert await client.answer("why?", grounded=False, assistant="scripted/steady").content()
            before = memory(server.process.pid)

            async def stall(number: int) -> None:
                async with stalled_reader(server.address, goes_on=number < OF_THEM_CONTINUE):
                    await anyio.sleep_forever()

            for number in range(STALLED):
                tasks.start_soon(stall, number)

            async def read() -> None:
                answer = await client.answer("why?", grounded=False, assistant="scripted/steady")
                assert answer.message.text == "".join(STEADY_WORDS)
                assert answer.finish_reason is FinishReason.STOP

            async with anyio.create_task_group() as streaming:
                for _ in range(STREAMING):
                    streaming.start_soon(read)
            await until_nothing_moves(model)

            assert model.floods_ended == OF_THEM_CONTINUE, "those who go on do, and the others wait for their readers"
            assert model.flood_bytes_sent < STALLED * FLOOD_BYTES / 2
            growth = memory(server.process.pid) - before
            assert growth < MOST_GROWTH, f"{growth >> 20} MiB"
            tasks.cancel_scope.cancel()
