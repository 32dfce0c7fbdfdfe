"""Hurts a deployment at seeded moments, mends it, and writes down when."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.faults.answers.deployment import PROCESSES, Deployment, Service
from tests.faults.answers.model import Fault

CLOCK_VARIABLE = "HEADWATER_FAULTS_CLOCK"
"""Names the file in which the servers of a run find by how much their wall clock is wrong."""
_GROUPS = (("kill", "freeze", "workers"), ("reset", "halfopen", "refuse"), ("disk", "clock"))
KINDS = tuple(kind for group in _GROUPS for kind in group)


class Chaos:
    """Does one thing after the other, each at a seeded moment.

    Args:
        deployment: What is hurt.
        seed: Chooses what is done, and when.
        kinds: What may be done.
        pauses: The least and the longest time between two faults, in seconds.
        disk: The folder of a small file system in which the answers are kept; None where none can be mounted.
        clock: The file with the error of the servers' wall clocks.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        seed: int,
        kinds: Collection[str],
        pauses: tuple[float, float],
        disk: Path | None,
        clock: Path,
    ) -> None:
        self._deployment = deployment
        self._seed = seed
        self._groups = [chosen for group in _GROUPS if (chosen := [kind for kind in group if kind in kinds])]
        self._pauses = pauses
        self._disk = disk
        self._clock = clock
        self.faults: list[Fault] = []
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def around(self) -> AsyncIterator[None]:
        """Works until the context is left, and then mends what is broken."""
        async with asyncio.TaskGroup() as tasks:
            for group in self._groups:
                tasks.create_task(self._work(group))
            try:
                yield
            finally:
                self._stopping.set()

    async def _work(self, kinds: Sequence[str]) -> None:
        """Does one thing after the other; what is in different groups happens at the same time."""
        chance = random.Random(f"{self._seed}/chaos/{kinds}")  # noqa: S311 (chooses what to do)
        done: dict[str, Callable[[Service, random.Random], Awaitable[str]]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "reset": self._reset,
            "halfopen": self._halfopen,
            "refuse": self._refuse,
            "disk": self._fill_disk,
            "clock": self._turn_clock,
            "workers": self._kill_children,
        }
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                pause = chance.uniform(*self._pauses) * (6 if "disk" in kinds else 1)  # else it is always full
                await asyncio.wait_for(self._stopping.wait(), pause)
                return
            kind = chance.choice(kinds)
            service = chance.choice(list(self._deployment.services.values()))
            start = loop.time()
            where = await done[kind](service, chance)
            if kind == "workers" and self._deployment.arrangement == PROCESSES:
                kind = "kill"  # it may have been one that makes answers
            self.faults.append(Fault(kind, where, start, loop.time()))

    async def _kill(self, service: Service, chance: random.Random) -> str:
        await service.kill()
        await asyncio.sleep(chance.choice((0.0, 0.5)))
        await service.start()
        return service.role

    async def _freeze(self, service: Service, chance: random.Random) -> str:
        service.freeze()
        try:
            await asyncio.sleep(chance.uniform(0.3, 5))
        finally:
            service.thaw()
        await asyncio.sleep(1)  # what was late arrives now
        return service.role

    async def _reset(self, service: Service, chance: random.Random) -> str:
        self._deployment.proxies[service.role].reset_some(chance)
        if chance.random() < 0.3:
            self._deployment.proxies[service.role].half_close()
        return service.role

    async def _halfopen(self, service: Service, chance: random.Random) -> str:
        silenced = self._deployment.proxies[service.role].silence()
        await asyncio.sleep(chance.uniform(0.5, 5))
        heard_again = chance.random() < 0.5
        for connection in silenced:
            if heard_again:
                connection.flows.set()
            else:
                connection.reset()
        await asyncio.sleep(1)
        return service.role

    async def _refuse(self, service: Service, chance: random.Random) -> str:
        proxy = self._deployment.proxies[service.role]
        proxy.refuse(refuses=True)
        proxy.reset_some(chance)
        await asyncio.sleep(chance.uniform(0.2, 3))
        proxy.refuse(refuses=False)
        return service.role

    async def _fill_disk(self, service: Service, chance: random.Random) -> str:
        del service
        front, seconds = self._deployment.front, chance.uniform(0.3, 2)
        if self._disk is None:
            with front.little_room(4096):
                await asyncio.sleep(seconds)
            return "disk"
        ballast = self._disk / "ballast"
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(65536))
            with suppress(OSError), ballast.open("ab", buffering=0) as file:
                while True:
                    file.write(b"\0")
            await asyncio.sleep(seconds)
        finally:
            ballast.unlink(missing_ok=True)
        return "disk"

    async def _turn_clock(self, service: Service, chance: random.Random) -> str:
        del service
        error = chance.choice((-36_000.0, -60.0, 0.0, 60.0, 36_000.0))
        with self._clock.open("r+b") as file:  # in its place: the servers have it mapped into their memory
            file.write(struct.pack("<d", error))
        return "clock"

    async def _kill_children(self, service: Service, chance: random.Random) -> str:
        children = service.children()
        if children:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(children), signal.SIGKILL)
        if self._deployment.arrangement == PROCESSES:
            await asyncio.sleep(1)  # its answers are taken over meanwhile
        return service.role
