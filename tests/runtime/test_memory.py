from __future__ import annotations

from functools import partial

import anyio
import anyio.lowlevel
import pytest

from headwater_server.runtime.memory import give_back_free_memory, resident_bytes, trimmer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(trimmer() is None, reason="this C library does not give memory back when asked"),
]

MIB = 1024 * 1024


async def test_what_was_freed_between_what_is_in_use_is_given_back() -> None:
    before = resident_bytes()
    blocks = [bytes(2_000) for _ in range(100_000)]
    kept = blocks[::1000]  # so that the heap cannot simply shrink
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(give_back_free_memory, interval=0.05, growth=0))
        await anyio.lowlevel.checkpoint()
        blocks.clear()
        with anyio.fail_after(30):
            while resident_bytes() > before + 60 * MIB:  # noqa: ASYNC110 (nobody says when it was done)
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert len(kept) == 100
