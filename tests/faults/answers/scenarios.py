"""Runs of one kind each: fifty callers for one answer, services that are restarted in turn, peers that are frozen."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from headwater import AsyncClient, HeadwaterError
from tests.faults.answers import plans
from tests.faults.answers.callers import Callers
from tests.faults.answers.deployment import ONE, THREE, Deployment
from tests.faults.answers.driver import leaves, read_by_all, replay, serving
from tests.faults.answers.giving_up import counted
from tests.faults.answers.life import BrokenPromise
from tests.faults.answers.model import AnswerModel, Fault
from tests.faults.answers.plans import CORPUS, Habit, Mix, Plan
from tests.faults.answers.proxy import Proxy

RACERS = 50
_CALM = Mix(provider_faults=0, leavers=0, cancellers=0, companions=0, blocking=0)
_PATIENCE_S = 30.0
_SHORT_PIECES = 12
"""Of an answer that is shorter than `drain`, at 0.15 s each."""


async def races(rounds: int, *, seed: int, folder: Path) -> dict[str, float]:
    """Lets fifty callers ask with one request_id at the same time, again and again.

    Raises:
        BrokenPromise: They did not get one answer, or its assistant was asked more than once.
    """
    made = {number: _raced(plans.make(seed, number, _CALM)) for number in range(rounds)}
    async with serving(made, ONE, folder) as (deployment, upstream, _, _):
        callers = Callers(deployment.target)
        try:
            for plan in made.values():
                model = AnswerModel(plan)
                await read_by_all(model, callers, seed, at_once=True)
                await replay(model, callers)
                model.check([], [call.prefix for call in upstream.calls[plan.number]])
                if len(upstream.calls[plan.number]) != 1 or len(model.lives) != 1:
                    raise model.broken(f"{RACERS} callers had {len(model.lives)} answers")
        finally:
            await callers.close()
    return {"rounds": rounds, "callers": RACERS, "upstream_calls_each": 1}


def _raced(plan: Plan) -> Plan:
    return replace(plan, habits=[Habit.CLIENT] * 5 + [Habit.RAW] * (RACERS - 5), pause=0.005)


async def rolling(restarts: int, *, streams: int, seed: int, folder: Path, goes_on: bool = True) -> dict[str, Any]:
    """Restarts every service of a split deployment in turn, in order, while answers run.

    Args:
        restarts: How often each is restarted.
        streams: How many answers run at the same time.
        seed: Decides what they are.
        folder: For the servers' data and logs; empty.
        goes_on: Whether the assistant can go on from a part of its own answer. One that cannot is waited for, for as
            long as the setting `drain` says; its answers are shorter than that.

    Raises:
        BrokenPromise: An answer failed, or was not as it must be.
    """
    made: dict[int, Plan] = {}
    models: list[AnswerModel] = []
    stop = asyncio.Event()
    numbers = count()
    async with serving(made, THREE, folder) as (deployment, upstream, _, _):
        callers = Callers(deployment.target)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(streams):
                    draw = _Draw(seed, numbers, goes_on=goes_on)
                    tasks.create_task(_one_after_another(draw, made, models, callers, stop=stop))
                try:
                    faults = await _restart_all(deployment, restarts)
                finally:
                    stop.set()
            for model in models:
                await replay(model, callers)
                model.check(faults, [call.prefix for call in upstream.calls[model.plan.number]])
        except* BrokenPromise as problems:
            raise BrokenPromise("\n".join(map(str, leaves(problems)))) from None
        finally:
            await callers.close()
    if failed := [f"{model.plan.number}: {each}" for model in models for each in model.failures()]:
        raise BrokenPromise(f"{len(failed)} of {len(models)} answers failed: {failed[:5]}")
    calls = [call for each in upstream.calls.values() for call in each]
    given_up, least_away = counted(models, faults)
    return {
        "restarts": restarts,
        "streams": streams,
        "answers": len(models),
        "continued": sum(call.prefix is not None for call in calls),
        "failed": 0,
        "given_up": given_up,
        "least_away_s": least_away,
    }


@dataclass(frozen=True, slots=True)
class _Draw:
    """What the answers are."""

    seed: int
    numbers: Iterator[int]
    goes_on: bool

    def plan(self) -> Plan:
        """The next."""
        mix = replace(_CALM, continuing=float(self.goes_on))
        while True:
            plan = plans.make(self.seed, next(self.numbers), mix)
            if len(plan.said) <= 1000:
                break
        if self.goes_on:
            return replace(plan, pause=0.15)
        text = "".join(plan.said)
        size = -(-len(text) // _SHORT_PIECES)
        return replace(plan, said=[text[at : at + size] for at in range(0, len(text), size)], pause=0.15)


async def _one_after_another(
    draw: _Draw, made: dict[int, Plan], models: list[AnswerModel], callers: Callers, *, stop: asyncio.Event
) -> None:
    """Keeps one answer running."""
    while not stop.is_set():
        plan = draw.plan()
        made[plan.number] = plan
        models.append(model := AnswerModel(plan))
        await read_by_all(model, callers, draw.seed)


async def _restart_all(deployment: Deployment, restarts: int) -> list[Fault]:
    loop = asyncio.get_running_loop()
    faults = []
    for _ in range(restarts):
        for service in deployment.services.values():
            start = loop.time()
            await service.stop()
            await service.start()
            faults.append(Fault("restart", service.role, start, loop.time()))
            await asyncio.sleep(0.5)
    return faults


async def frozen(rounds: int, *, seed: int, folder: Path) -> dict[str, float]:
    """Silences the connections of each hop while they are used; returns after how many seconds each side closed them.

    Raises:
        BrokenPromise: A side had not within half a minute.
    """
    made = {number: replace(plans.make(seed, number, _CALM), pause=0.1) for number in range(2 * rounds)}
    for number, plan in made.items():
        made[number] = replace(plan, said=["word "] * 600)
    noticed: dict[str, list[float]] = {}
    async with serving(made, THREE, folder) as (deployment, _, _, _), AsyncClient(deployment.target) as client:
        for number, plan in made.items():
            role = "assistant" if number % 2 else "orchestrator"
            async with client.answer(plan.request.prompt, assistant="going/teller", grounded=False) as answer:
                async for _ in answer:
                    break
                for side, seconds in (await _given_up(deployment.proxies[role], "caller", "server")).items():
                    noticed.setdefault(f"{role}, by its {side} side", []).append(seconds)
            await client.retrieve("Where do rivers rise?", corpus=CORPUS)
            searching = asyncio.create_task(_search(client))
            # The server side watches too: its caller's watch of its health is a call that never ends.
            for side, seconds in (await _given_up(deployment.proxies["retrieval"], "caller", "server")).items():
                noticed.setdefault(f"retrieval, by its {side} side", []).append(seconds)
            await searching
    return {
        f"{name}, {which}": round(choose(seconds), 2)
        for name, seconds in noticed.items()
        for which, choose in (("median", statistics.median), ("longest", max))
    }


async def _search(client: AsyncClient) -> None:
    with suppress(HeadwaterError):
        await client.retrieve("Where do rivers rise?", corpus=CORPUS)


async def _given_up(proxy: Proxy, *sides: str) -> dict[str, float]:
    """Silences a proxy's connections, and returns how long it takes until one is closed, by each of the sides."""
    loop = asyncio.get_running_loop()
    start, connections = loop.time(), proxy.silence()
    used = [connection for connection in connections if not connection.given_up]
    try:
        while loop.time() < start + _PATIENCE_S:
            await asyncio.sleep(0.01)
            for connection in used:
                if all(side in connection.given_up for side in sides):
                    return {side: connection.given_up[side] - start for side in sides}
    finally:
        for connection in connections:
            connection.reset()
    raise BrokenPromise(f"a silent connection was not closed by {sides} within {_PATIENCE_S:g} s")
