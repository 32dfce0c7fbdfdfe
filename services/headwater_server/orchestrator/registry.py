"""The answers that this process is making."""

from __future__ import annotations

import anyio

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.errors import Overloaded
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.protocol import AnswerRecord
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
        self.deserted = False
        """Whether the caller went away before it had begun."""


class Registry:
    """Finds the answers that run, each tenant its own, and bounds how many there are.

    Args:
        maximum: How many answers may run at once.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._openings: set[Opening] = set()
        self._by_name: dict[str, AnswerRun] = {}
        self._by_request: dict[tuple[str, str], Opening] = {}

    def admit(self, request: StreamAnswerRequest, caller: Caller) -> Opening:
        """Takes a place for one more answer, until `remove`.

        Raises:
            Overloaded: As many answers run as may.
        """
        if len(self._openings) >= self._maximum:
            raise Overloaded(
                f"{self._maximum} answers are running, which is all this server takes; try again soon",
                retry_after=1.0,
                metadata={"limit": "answers", "maximum": str(self._maximum)},
            )
        opening = Opening(request, caller)
        self._openings.add(opening)
        if request.request_id:
            self._by_request[caller.tenant, request.request_id] = opening
        return opening

    def opened(self, opening: Opening, run: AnswerRun) -> None:
        """Notes that an answer has begun."""
        opening.run = run
        self._by_name[run.name] = run

    def remove(self, opening: Opening) -> None:
        """Gives the place back, because the answer has ended, or never began."""
        self._openings.discard(opening)
        if opening.run is not None:
            self._by_name.pop(opening.run.name, None)
        key = opening.caller.tenant, opening.request.request_id
        if self._by_request.get(key) is opening:
            del self._by_request[key]

    def running(self) -> list[AnswerRun]:
        """All answers that run."""
        return list(self._by_name.values())

    def find(self, caller: Caller, name: str) -> AnswerRun | None:
        """The caller's running answer of this name, or None."""
        run = self._by_name.get(name)
        return run if run is not None and run.caller.tenant == caller.tenant else None

    def find_request(self, caller: Caller, request_id: str) -> Opening | None:
        """The caller's answer with this request_id that runs or is about to, or None."""
        return self._by_request.get((caller.tenant, request_id)) if request_id else None
