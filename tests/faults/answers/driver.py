"""One run: many answers with their callers, while a deployment is hurt; then all that was seen is compared."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.answers import plans
from tests.faults.answers.bearing import Forgotten
from tests.faults.answers.callers import Callers
from tests.faults.answers.chaos import CLOCK_VARIABLE, Chaos
from tests.faults.answers.deployment import THREE, Deployment, deployed
from tests.faults.answers.giving_up import counted
from tests.faults.answers.life import BrokenPromise
from tests.faults.answers.model import AnswerModel, Fault, habits, summary
from tests.faults.answers.plans import Mix, Plan
from tests.faults.answers.reading import View
from tests.faults.answers.upstream import Upstream

CONTINUING = 'continues = "vllm"'
"""What the settings of the assistant `going` say so that it is asked to continue."""
_CLOCK_SITE = Path(__file__).parent / "clock_site"
_DISK_BYTES = 24 << 20
_ANSWER_BYTES = 40 << 10
"""What is added for each answer, twice what one takes on average: the disk is to be full only while it is filled up."""
_LINGER_S = 10.0
"""How long after its last caller an answer may still meet a fault."""


@dataclass(frozen=True, slots=True)
class Run:
    """What to do."""

    arrangement: str
    answers: int
    seed: int
    faults: Collection[str]
    """What of `chaos.KINDS` is done, and `provider` and `cancel`."""
    at_once: int = 16
    """How many answers run at the same time."""
    pauses: tuple[float, float] = (0.2, 2.0)
    """Between two faults, in seconds."""
    seconds: float | None = None
    """After which no further answer begins; None: all do."""


@dataclass(slots=True)
class Report:
    """What was done and seen."""

    answers: int = 0
    callers: dict[str, int] = field(default_factory=dict)
    events: int = 0
    endings: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    trouble: dict[str, int] = field(default_factory=dict)
    given_up: dict[str, int] = field(default_factory=dict)
    """How often the client left an answer to its caller, by what explains it."""
    least_away_s: float | None = None
    """How long the server was away at least, of the 20 s before the client did so; None: it never did."""
    forgotten: int = 0
    """Answers that were not kept, because the disk was full."""
    upstream_calls: int = 0
    continued: int = 0
    """Calls by which an assistant was asked to go on."""
    seconds: float = 0.0


async def run(wanted: Run, folder: Path) -> Report:
    """Makes the answers of a run.

    Args:
        wanted: What to do.
        folder: For the servers' data and logs; empty.

    Raises:
        BrokenPromise: Answers were not as they must be.
    """
    mix = Mix()
    if "provider" not in wanted.faults:
        mix.provider_faults = 0
    if "cancel" not in wanted.faults:
        mix.leavers = mix.cancellers = 0
    made = {number: plans.make(wanted.seed, number, mix) for number in range(wanted.answers)}
    loop = asyncio.get_running_loop()
    begun = loop.time()
    room = _DISK_BYTES + _ANSWER_BYTES * len(made) if "disk" in wanted.faults else None
    async with serving(made, wanted.arrangement, folder, room=room) as (deployment, upstream, disk, clock):
        chaos = Chaos(deployment, seed=wanted.seed, kinds=wanted.faults, pauses=wanted.pauses, disk=disk, clock=clock)
        callers = Callers(deployment.target)
        try:
            async with chaos.around():
                models = await _answer_all(list(made.values()), callers, wanted)
            await _settle(models, callers, upstream, chaos.faults)
        finally:
            await callers.close()
    report = _report(models, upstream, chaos.faults, loop.time() - begun)
    broken = [problem for model in models for problem in model.problems] + upstream.complaints
    if broken:
        raise BrokenPromise("\n".join([f"seed {wanted.seed}: {report}", *broken, *map(str, chaos.faults)]))
    return report


@asynccontextmanager
async def serving(
    made: dict[int, Plan], arrangement: str, folder: Path, *, room: int | None = None
) -> AsyncIterator[tuple[Deployment, Upstream, Path | None, Path]]:
    """A deployment with its assistant, the disk of its answers, and the clock of its servers.

    Args:
        made: The answers of the assistant.
        arrangement: In one process or in three.
        folder: For the servers' data and logs; empty.
        room: How many bytes a disk of its own has for answers, where one can be mounted. None: they have none.
    """
    clock = folder / "clock"
    clock.write_bytes(struct.pack("<d", 0.0))
    path = os.pathsep.join([str(_CLOCK_SITE), *filter(None, [os.environ.get("PYTHONPATH")])])
    extra = {CLOCK_VARIABLE: str(clock), "PYTHONPATH": path}
    answers = folder / f"{'orchestrator' if arrangement == THREE else 'all'}-data" / "answers"
    upstream = Upstream(made)
    with nullcontext() if room is None else small_disk(answers, room) as disk:
        await upstream.start()
        try:
            async with deployed(
                arrangement, folder, url=upstream.url, continuing=CONTINUING, extra=extra
            ) as deployment:
                yield deployment, upstream, disk, clock
        finally:
            await upstream.stop()


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path | None]:
    """Mounts a file system of its own, of so many bytes, at a folder, where this is allowed; None where it is not."""
    folder.mkdir(parents=True, mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "headwater-faults", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    with ExitStack() as stack:
        if mounted:
            stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False)
        yield folder if mounted else None


async def _answer_all(made: Sequence[Plan], callers: Callers, wanted: Run) -> list[AnswerModel]:
    models: list[AnswerModel] = []
    room = asyncio.Semaphore(wanted.at_once)
    loop = asyncio.get_running_loop()
    until = loop.time() + wanted.seconds if wanted.seconds is not None else None

    async def answer(model: AnswerModel) -> None:
        try:
            await read_by_all(model, callers, wanted.seed)
        except* BrokenPromise as problems:
            model.problems += [str(problem) for problem in leaves(problems)]
        finally:
            room.release()

    async with asyncio.TaskGroup() as tasks:
        for plan in made:
            await room.acquire()
            if until is not None and loop.time() > until:
                break
            model = AnswerModel(plan)
            models.append(model)
            tasks.create_task(answer(model))
    return models


async def read_by_all(model: AnswerModel, callers: Callers, seed: int, *, at_once: bool = False) -> None:
    """An answer, with all its callers, to the end of the last; all but the first join it at chosen moments."""
    loop = asyncio.get_running_loop()
    model.start = loop.time()
    model.end = float("inf")
    async with asyncio.TaskGroup() as tasks:
        for place, habit in enumerate(model.plan.habits):
            chance = random.Random(f"{seed}/caller/{model.plan.number}/{place}")  # noqa: S311 (chooses what to do)
            tasks.create_task(callers.read(model, habit, chance, first=at_once or not place))
    model.end = loop.time() + (_LINGER_S if model.deserted else 0)


async def _settle(models: Sequence[AnswerModel], callers: Callers, upstream: Upstream, faults: Sequence[Fault]) -> None:
    """Reads every answer once more from what is kept, now that all is well, and compares everything."""
    room = asyncio.Semaphore(16)

    async def settle(model: AnswerModel) -> None:
        async with room:
            try:
                await replay(model, callers)
                model.check(faults, [call.prefix for call in upstream.calls[model.plan.number]])
            except BrokenPromise as problem:
                model.problems.append(f"{problem} (it ran from {model.start:.1f} to {model.end:.1f})")

    async with asyncio.TaskGroup() as tasks:
        for model in models:
            tasks.create_task(settle(model))


async def replay(model: AnswerModel, callers: Callers) -> None:
    """Reads all there is of an answer once more, and compares it with what was seen.

    Raises:
        BrokenPromise: It is something else.
    """
    chance = random.Random(model.plan.number)  # noqa: S311 (chooses a connection)
    if not model.forgotten:  # asking once more would begin another
        await callers.raw(model, view := View(model), chance)
        view.leave()
    for life in list(model.lives.values()):
        for snapshot in (False, True):
            view = View(model)
            try:
                await callers.raw(model, view, chance, name=life.name, snapshot=snapshot)
            except Forgotten:
                life.forgotten = True
            view.leave()
        if not life.forgotten:
            life.check_kept(await callers.get(model, life.name, chance))


def leaves(group: BaseExceptionGroup[BrokenPromise]) -> Iterator[BrokenPromise]:
    """All that was wrong, one by one."""
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from leaves(each)
        else:
            yield each


def _report(models: Sequence[AnswerModel], upstream: Upstream, faults: Sequence[Fault], seconds: float) -> Report:
    trouble: Counter[str] = Counter()
    for model in models:
        trouble.update(model.trouble)
    calls = [call for each in upstream.calls.values() for call in each]
    given_up, least_away = counted(models, faults)
    return Report(
        answers=len(models),
        callers=habits(models),
        events=sum(len(life.events) for model in models for life in model.lives.values()),
        endings=summary(models),
        faults=dict(sorted(Counter(fault.kind for fault in faults).items())),
        trouble=dict(sorted(trouble.items())),
        given_up=given_up,
        least_away_s=least_away,
        forgotten=sum(life.forgotten for model in models for life in model.lives.values()),
        upstream_calls=len(calls),
        continued=sum(call.prefix is not None for call in calls),
        seconds=round(seconds, 1),
    )
