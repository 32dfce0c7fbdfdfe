from __future__ import annotations

import asyncio
import time

import anyio
import pytest
from anyio.lowlevel import checkpoint

from headwater_server.orchestrator.turns import LATE_SECONDS, Turns, leave_turns

pytestmark = pytest.mark.anyio


async def test_those_who_come_alone_do_not_wait() -> None:
    turns = Turns(1)
    for _ in range(3):
        with anyio.fail_after(5):
            await turns.mine()
        await checkpoint()


async def test_of_many_some_go_on_in_each_turn_in_the_order_they_came() -> None:
    turns = Turns(2)
    gone_on: list[int] = []
    after_each_turn: list[int] = []

    async def come(number: int) -> None:
        await turns.mine()
        gone_on.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(7):
            tasks.start_soon(come, number)
        while len(gone_on) < 7:
            await checkpoint()
            after_each_turn.append(len(gone_on))
    assert gone_on == list(range(7))
    steps = [after - before for before, after in zip([0, *after_each_turn], after_each_turn, strict=False)]
    assert max(steps) == 2


async def test_who_is_cancelled_takes_no_turn_from_the_others() -> None:
    turns = Turns(1)
    gone_on: list[str] = []

    async def come(name: str) -> None:
        await turns.mine()
        gone_on.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come, "first")
        async with anyio.create_task_group() as cancelled:
            for _ in range(3):
                cancelled.start_soon(come, "cancelled")
            cancelled.cancel_scope.cancel()
        tasks.start_soon(come, "last")
    assert gone_on == ["first", "last"]


@pytest.mark.parametrize("late", [True, False])
async def test_who_finds_the_loop_late_leaves_more_turns_to_others(late: bool) -> None:
    done: list[str] = []

    async def work() -> None:
        for _ in range(5):
            await checkpoint()
        done.append("others")

    async with anyio.create_task_group() as tasks:
        if late:
            asyncio.get_running_loop().call_soon(time.sleep, 4 * LATE_SECONDS)
        tasks.start_soon(work)
        with anyio.fail_after(5):
            await leave_turns()
        done.append("who leaves turns")
    assert done == (["others", "who leaves turns"] if late else ["who leaves turns", "others"])
