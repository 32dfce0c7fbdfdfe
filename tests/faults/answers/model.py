"""What must hold of every answer, whoever read it and whatever happened meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from headwater.v1 import answer_service_pb2
from headwater_server.orchestrator.trying import TRIES_TAKEN_UP
from tests.faults.answers.giving_up import GivenUp, cause
from tests.faults.answers.life import BrokenPromise, Ending, Life
from tests.faults.answers.plans import Habit, Plan, ProviderFault

LIVE = frozenset({"kill", "freeze", "reset", "halfopen", "refuse", "restart"})
"""Faults of processes and of connections between them."""
_PATIENCE_S = 10.0
"""How long a fault may last, in seconds, that an answer must get over: services try again for some 25 seconds."""
_BEFORE_A_WORD = frozenset(
    {ProviderFault.RATE_LIMITED, ProviderFault.SERVER_ERROR, ProviderFault.RESET_AT_ONCE, ProviderFault.RESET_FIRST}
)
"""Faults after which a provider may be asked once more: nothing was said yet."""
_ASKED_AGAIN = 3
"""How often at most."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the system."""

    kind: str
    where: str
    """A process, or the connection to one, such as `assistant`."""
    start: float
    """By the loop's clock."""
    end: float
    """When it was well again."""


@dataclass(slots=True)
class AnswerModel:
    """All that was seen of one answer. It has one life, unless the disk was full and could not remember the first."""

    plan: Plan
    lives: dict[str, Life] = field(default_factory=dict)
    """By name."""
    cancelled: bool = False
    """Whether somebody asked for its end."""
    deserted: bool = False
    """Whether its last reader has gone for good."""
    start: float = 0.0
    end: float = 0.0
    """By the loop's clock."""
    trouble: Counter[str] = field(default_factory=Counter)
    """What its callers had to get over."""
    given_up: list[GivenUp] = field(default_factory=list)
    """What the client left to its callers."""
    problems: list[str] = field(default_factory=list)
    """What was not as it must be."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its name is known."""

    @property
    def name(self) -> str:
        """Its name; empty while nobody knows it."""
        return next(reversed(self.lives), "")

    @property
    def forgotten(self) -> bool:
        """Whether the server has forgotten it."""
        return any(life.forgotten for life in self.lives.values())

    def broken(self, what: str) -> BrokenPromise:
        """Makes the exception."""
        return BrokenPromise(f"answer {self.plan.number} ({self.name or self.plan.request.request_id}): {what}")

    def life(self, name: str) -> Life:
        """All that was seen under a name."""
        if name not in self.lives:
            self.lives[name] = Life(self.plan, name)
            self.begun.set()
        return self.lives[name]

    def failures(self) -> list[Ending]:
        """How it failed."""
        return [ending for life in self.lives.values() for ending in life.endings if ending.state == "FAILED"]

    def met(self, faults: Collection[Fault]) -> list[Fault]:
        """What was done to the system while it ran."""
        return [fault for fault in faults if fault.start <= self.end and fault.end >= self.start]

    def check(self, faults: Collection[Fault], prefixes: Sequence[str | None]) -> None:
        """It ended as it may, and cost what it may.

        Args:
            faults: What was done to the system.
            prefixes: What its assistant was asked to go on from, call by call; None where it was asked to begin.
        """
        met = self.met(faults)
        unkept = [life for life in self.lives.values() if life.forgotten]
        if (len(self.lives) > 1 or unkept) and not any(fault.kind == "disk" for fault in met):
            raise self.broken(f"has the names {list(self.lives)}, and the server forgot {len(unkept)}")
        for life in unkept:
            life.check_forgotten()
        allowed = self._allowed(met)
        for ending in {ending for life in self.lives.values() for ending in life.endings}:
            if ending not in allowed:
                raise self.broken(f"ended as {ending}, which nothing explains ({self.plan.fault}, {self.plan.habits})")
        for given_up in self.given_up:
            if cause(given_up, faults, forgotten=self.forgotten) is None:
                quiet = given_up.at - given_up.since
                raise self.broken(f"the client gave up after {quiet:.1f} s, which nothing explains: {given_up}")
        self._check_calls(met, prefixes)

    def _allowed(self, met: Collection[Fault]) -> set[Ending]:
        """How it may have ended, after what was done to it."""
        succeeded = Ending("SUCCEEDED", "STOP")
        endings = {succeeded} if self.plan.fault is None else _of_provider(self.plan.fault)
        goes_on = self.plan.request.on_disconnect == answer_service_pb2.DISCONNECT_POLICY_CONTINUE
        if self.cancelled or (self.deserted and not goes_on):
            endings.add(Ending("CANCELLED", "CANCELLED"))
        if met:
            endings.add(succeeded)  # a provider's fault that a restart has gone around
        for fault in met:
            endings |= _of_fault(fault, continues=self.plan.continues, waits=not self.deserted or goes_on)
        if self.plan.request.WhichOneof("grounding") == "retrieval" and any(fault.kind in LIVE for fault in met):
            endings.add(Ending("FAILED", "OVERLOADED"))  # a search that is not ready yet
        if sum(fault.kind in LIVE and fault.where == "assistant" for fault in met) >= TRIES_TAKEN_UP:
            endings.add(Ending("FAILED", "PROVIDER_UNAVAILABLE"))  # as one that its assistant dies of
        return endings

    def _check_calls(self, met: Collection[Fault], prefixes: Sequence[str | None]) -> None:
        """Nobody paid twice: one call to begin, and others only after a fault.

        An assistant may be asked from the beginning once more where a process died before the first word.
        """
        begun = prefixes.count(None)
        again = sum(fault.kind in LIVE for fault in met) + len(self.lives) - 1
        if self.plan.fault in _BEFORE_A_WORD:
            again += _ASKED_AGAIN
        if begun > 1 + again:
            raise self.broken(f"its assistant was asked {begun} times from the beginning")
        if len(prefixes) > begun and not (self.plan.continues and met):
            raise self.broken("its assistant was asked to go on, which it cannot, or need not")


def _of_provider(fault: ProviderFault) -> set[Ending]:
    reasons = {
        ProviderFault.RATE_LIMITED: {"PROVIDER_RATE_LIMITED"},
        ProviderFault.SERVER_ERROR: {"PROVIDER_UNAVAILABLE"},
        ProviderFault.RESET_AT_ONCE: {"PROVIDER_UNAVAILABLE"},
        ProviderFault.RESET_FIRST: {"PROVIDER_TRUNCATED"},
        ProviderFault.RESET_BETWEEN: {"PROVIDER_TRUNCATED"},
        ProviderFault.CUT: {"PROVIDER_TRUNCATED"},
        ProviderFault.HANG_FIRST: {"FIRST_TOKEN_TIMEOUT"},
        ProviderFault.HANG_BETWEEN: {"STREAM_STALLED"},
        ProviderFault.GARBAGE: {"PROVIDER_PROTOCOL", "PROVIDER_TRUNCATED"},  # it is cut off behind it
    }
    endings = {Ending("FAILED", reason) for reason in reasons[fault]}
    return endings | ({Ending("SUCCEEDED", "STOP")} if fault in _BEFORE_A_WORD else set())


def _of_fault(fault: Fault, *, continues: bool, waits: bool) -> set[Ending]:
    """What a fault of the system may make of an answer that it met.

    One whose assistant can go on is made to its end, if somebody may come back for it; unless what it needs is away for
    longer than anybody waits.
    """
    if fault.kind not in LIVE:
        return set()
    if fault.where in {"all", "orchestrator"}:
        lost = fault.kind in {"kill", "restart"} and not (continues and waits)
        return {Ending("FAILED", "OWNER_LOST")} if lost else set()
    if continues and fault.end - fault.start < _PATIENCE_S:
        return set()
    return {Ending("FAILED", reason) for reason in ("PROVIDER_UNAVAILABLE", "PROVIDER_TRUNCATED", "OWNER_LOST")}


def summary(models: Collection[AnswerModel]) -> dict[str, int]:
    """How many answers ended in which way."""
    endings = [life.endings for model in models for life in model.lives.values()]
    counted: Counter[str] = Counter(str(ending) for each in endings for ending in each)
    return dict(sorted(counted.items()))


def habits(models: Collection[AnswerModel]) -> dict[str, int]:
    """How many callers read in which way."""
    counted: defaultdict[Habit, int] = defaultdict(int)
    for model in models:
        for habit in model.plan.habits:
            counted[habit] += 1
    return {str(habit): count for habit, count in sorted(counted.items())}
