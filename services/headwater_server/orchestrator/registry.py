"""The answers that this process is making."""

from __future__ import annotations

from collections import Counter

import anyio

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.errors import Overloaded
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.protocol import AnswerRecord
from headwater_server.orchestrator.pressure import Pressure
from headwater_server.orchestrator.run import AnswerRun


class Opening:
    """An answer that was admitted, and is being recorded."""

    def __init__(self, request: StreamAnswerRequest, caller: Caller) -> None:
        self.request = request
        self.caller = caller
        self.done = anyio.Event()
        """Set once one of the three below is, or none will be."""
        self.run: AnswerRun | None = None
        """The answer, which has begun."""
        self.existing: AnswerRecord | None = None
        """The answer that has this request's request_id already."""
        self.failure: Exception | None = None
        """Why it could not begin."""
        self.waiting = 0
        """How many callers have come for it, less those who went away before it had begun."""
        self.name = ""
        """The answer's name, once it is known."""


class Registry:
    """Finds the answers that run, each tenant its own, and bounds how many there are.

    Args:
        maximum: How many answers may run at once.
        pressure: Says whether one more may begin.
    """

    def __init__(self, maximum: int, pressure: Pressure) -> None:
        self._maximum = maximum
        self._pressure = pressure
        self._openings: set[Opening] = set()
        self._running_of: Counter[str] = Counter()  # by tenant; only of those that have some
        self._by_name: dict[str, AnswerRun] = {}
        self._by_request: dict[tuple[str, str], Opening] = {}
        self._request_ids: Counter[str] = Counter()  # tenants may use the same
        self._by_expected_name: dict[str, Opening] = {}
        self._freed = anyio.Event()
        self._idle = anyio.Event()

    @property
    def full(self) -> bool:
        """Whether as many answers run as may."""
        return len(self._openings) >= self._maximum

    def refusal(self, tenant: str | None = None) -> Overloaded | None:
        """Why one more may not begin, or None.

        Args:
            tenant: Whose it would be. One that has less than its share of what may run is refused last.
        """
        running = len(self._openings)
        refusal = self._pressure.refusal(running)
        if refusal is not None and tenant is not None and self._is_behind(tenant):
            return self._pressure.refusal(running, behind=True)
        return refusal

    def _is_behind(self, tenant: str) -> bool:
        """Whether a tenant has less than an equal share, among those that have answers, of what may run."""
        sharing = len(self._running_of.keys() | {tenant})
        return self._running_of[tenant] * sharing < self._pressure.limit

    async def room(self) -> None:
        """Returns when one more may run."""
        while self.full:
            await self._freed.wait()

    def admit(self, request: StreamAnswerRequest, caller: Caller, *, name: str = "") -> Opening:
        """Takes a place for one more answer, until `remove`.

        Args:
            request: What is asked.
            caller: Who asks.
            name: The answer's name, where an earlier owner has begun it.

        Raises:
            Overloaded: As many answers run as may.
        """
        refusal = self.refusal(caller.tenant) if not name else None
        if refusal is not None:
            raise refusal
        opening = Opening(request, caller)
        self._openings.add(opening)
        self._running_of[caller.tenant] += 1
        if request.request_id:
            self._by_request[caller.tenant, request.request_id] = opening
            self._request_ids[request.request_id] += 1
        if name:
            self.expect(opening, name)
        return opening

    def expect(self, opening: Opening, name: str) -> None:
        """Notes what an answer will be called, before it is recorded and others can know it."""
        opening.name = name
        self._by_expected_name[name] = opening

    async def begun(self, name: str) -> None:
        """Returns once an answer is not, or no longer, being recorded or taken over from an earlier owner."""
        opening = self._by_expected_name.get(name)
        if opening is not None and not opening.done.is_set():
            await opening.done.wait()

    def opened(self, opening: Opening, run: AnswerRun) -> None:
        """Notes that an answer has begun."""
        opening.run = run
        self._by_name[run.name] = run

    def remove(self, opening: Opening) -> None:
        """Gives the place back, because the answer has ended, or never began."""
        self._openings.discard(opening)
        self._running_of[opening.caller.tenant] -= 1
        if not self._running_of[opening.caller.tenant]:
            del self._running_of[opening.caller.tenant]
        if not self._openings:
            self._idle.set()
            self._idle = anyio.Event()  # one for all who wait, set once
        self._by_expected_name.pop(opening.name, None)
        self._freed.set()
        self._freed = anyio.Event()
        if opening.run is not None:
            self._by_name.pop(opening.run.name, None)
        key = opening.caller.tenant, opening.request.request_id
        if opening.request.request_id:
            self._request_ids[opening.request.request_id] -= 1
            if not self._request_ids[opening.request.request_id]:
                del self._request_ids[opening.request.request_id]
        if self._by_request.get(key) is opening:
            del self._by_request[key]

    def __len__(self) -> int:
        return len(self._openings)

    @property
    def buffered_bytes(self) -> int:
        """How much of all answers waits in memory for readers."""
        return sum(run.feed.buffered_bytes for run in self._by_name.values())

    async def idle(self) -> None:
        """Returns when no answer runs."""
        while self._openings:
            await self._idle.wait()

    def running(self) -> list[AnswerRun]:
        """All answers that run."""
        return list(self._by_name.values())

    def find(self, caller: Caller, name: str) -> AnswerRun | None:
        """The caller's running answer of this name, or None."""
        run = self._by_name.get(name)
        return run if run is not None and run.caller.tenant == caller.tenant else None

    def has_request(self, request_id: str) -> bool:
        """Whether an answer with this request_id runs, or is about to, whosever it is."""
        return request_id in self._request_ids

    def find_request(self, caller: Caller, request_id: str) -> Opening | None:
        """The caller's answer with this request_id that runs or is about to, or None."""
        return self._by_request.get((caller.tenant, request_id)) if request_id else None
