"""All attacks on one server: malformed calls, odd frames, floods; and a caller beside them who must not notice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.malformed import calls
from tests.malformed.attacked import HOSTILE_TOKEN, TOKEN, Attacked, attacked
from tests.malformed.floods import FLOODS
from tests.malformed.oddities import Oddity, faulted, oddities, perform
from tests.malformed.witness import Testimony, watching

MAX_GROWTH_BYTES = 512 * 1024 * 1024
"""How much more memory than before a server may take at any time.

A connection may have 1,000 calls, and grpc's core and its binding take 280 KiB for the 16 KiB of headers that each may
have where these are very small ones (`floods.header_bombs`); beside that there is room for 16 requests of 8 MiB that
are read at once, and for what was kept of calls that were well-formed by accident. All of it is given back.
"""
_AT_ONCE = 8


@dataclass
class Damage:
    """What was wrong after an attack, and what was seen in it."""

    seen: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    """How much was done, by what."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How the malformed calls ended."""


@contextmanager
def under_watch(folder: Path, damage: Damage) -> Iterator[Attacked]:
    """A server to attack; what it, and a caller beside the attack, then have to say is added to the damage."""
    with attacked(folder) as server:
        with watching(server.target, TOKEN) as witness:
            yield server
            _hear(witness.stop(), damage)
        damage.seen.append(str(server))
        damage.counted["growth_mib"] = max(0, server.peak - server.baseline) >> 20
        if server.peak - server.baseline > MAX_GROWTH_BYTES:
            damage.wrong.append(f"the server took {server.peak - server.baseline} bytes more than before")
        if not server.alive:
            damage.wrong.append("the server has died")
        damage.wrong += [f"the server has logged {line[:1000]}" for line in server.defects()]


def _hear(testimony: Testimony, damage: Damage) -> None:
    damage.seen.append(str(testimony))
    damage.counted["answers_beside"] += testimony.answers
    damage.wrong += [f"the caller beside the attack: {fault}" for fault in testimony.faults]
    if not testimony.answers:
        damage.wrong.append("the caller beside the attack had no answer")


async def malformed_calls(server: Attacked, count: int, *, seed: int, damage: Damage) -> None:
    """Makes so many malformed calls."""
    report = await calls.run(server.target, range(count), seed=seed, token=HOSTILE_TOKEN)
    damage.seen.append(str(report))
    damage.counted["calls"] += report.calls
    for (_, code), times in report.outcomes.items():
        damage.outcomes[code] += times
    damage.wrong += report.wrong


async def odd_frames(server: Attacked, *, seed: int, damage: Damage) -> int:
    """Sends each oddity once, in an order that chance decides; returns how many there are."""
    all_of_them = oddities()
    random.Random(seed).shuffle(all_of_them)  # noqa: S311 (chooses what to do)
    few = asyncio.Semaphore(_AT_ONCE)

    async def send(oddity: Oddity) -> None:
        async with few:
            fault = faulted(oddity, await perform(server.target, oddity, token=HOSTILE_TOKEN))
        if fault:
            damage.wrong.append(f"{oddity.name}: {fault}")

    await asyncio.gather(*map(send, all_of_them))
    damage.seen.append(f"{len(all_of_them)} odd calls and connections")
    damage.counted["oddities"] += len(all_of_them)
    return len(all_of_them)


async def floods(server: Attacked, count: int, *, damage: Damage) -> int:
    """Floods a server with so many frames of each kind; returns how many were sent."""
    sent = {}
    for flood in FLOODS:
        sent[flood.__name__] = await flood(server.target, HOSTILE_TOKEN, count)
    told = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in sent.items())
    damage.seen.append(f"floods: {told}")
    damage.counted["flood_frames"] += sum(sent.values())
    return sum(sent.values())
