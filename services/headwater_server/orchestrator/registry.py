"""The answers that run, and the last that ended: bounded, in memory."""

from __future__ import annotations

from collections import OrderedDict

from headwater.v1 import answer_pb2
from headwater_server.errors import AlreadyExists, Overloaded, Reason, ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.run import AnswerRun

ENDED_KEPT = 64
"""How many ended answers are remembered, so that a `CancelAnswer` that comes too late still gets its answer."""

ENDED_BYTES = 16 * 1024 * 1024
"""How large they may be together; the newest is kept whatever its size."""


class Registry:
    """Finds answers by name or request_id, each tenant its own.

    Args:
        maximum: How many answers may run at once.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._running: dict[str, AnswerRun] = {}
        self._by_request: dict[tuple[str, str], str] = {}
        self._ended: OrderedDict[str, tuple[str, answer_pb2.Answer]] = OrderedDict()
        self._ended_bytes = 0

    def admit(self, caller: Caller, request_id: str) -> None:
        """Makes sure that one more answer may run.

        Raises:
            AlreadyExists: An answer with this request_id is running.
            Overloaded: As many answers run as may.
        """
        running = self._by_request.get((caller.tenant, request_id)) if request_id else None
        if running is not None:
            raise AlreadyExists(
                running,
                f"{running} runs with this request_id; this version cannot attach to it",
                reason=Reason.REQUEST_ID_REUSED,
                metadata={"request_id": request_id, "answer": running},
            )
        if len(self._running) >= self._maximum:
            raise Overloaded(
                f"{self._maximum} answers are running, which is all this server takes; try again soon",
                retry_after=1.0,
                metadata={"limit": "answers", "maximum": str(self._maximum)},
            )

    def add(self, run: AnswerRun) -> None:
        """Remembers an answer that was admitted and now runs."""
        self._running[run.name] = run
        if run.request.request_id:
            self._by_request[run.caller.tenant, run.request.request_id] = run.name

    def remove(self, run: AnswerRun) -> None:
        """Notes that an answer has ended."""
        self._running.pop(run.name, None)
        if run.request.request_id:
            self._by_request.pop((run.caller.tenant, run.request.request_id), None)
        if run.transcript.terminal is not None:
            self._keep(run.name, run.caller.tenant, run.transcript.terminal)

    def running(self) -> list[AnswerRun]:
        """All answers that run."""
        return list(self._running.values())

    def find(self, caller: Caller, *, name: str = "", request_id: str = "") -> AnswerRun | answer_pb2.Answer:
        """The running answer, or the ended one, of this name or request_id.

        Raises:
            ResourceNotFound: There is none, or it is another tenant's.
        """
        if request_id:
            name = self._by_request.get((caller.tenant, request_id), "") or self._ended_name(caller, request_id)
        run = self._running.get(name)
        if run is not None and run.caller.tenant == caller.tenant:
            return run
        tenant, ended = self._ended.get(name, ("", None))
        if ended is not None and tenant == caller.tenant:
            return ended
        raise ResourceNotFound(name or f"answers/(request_id {request_id})")

    def _keep(self, name: str, tenant: str, answer: answer_pb2.Answer) -> None:
        self._ended[name] = (tenant, answer)
        self._ended_bytes += answer.ByteSize()
        while len(self._ended) > ENDED_KEPT or (self._ended_bytes > ENDED_BYTES and len(self._ended) > 1):
            _, (_, oldest) = self._ended.popitem(last=False)
            self._ended_bytes -= oldest.ByteSize()

    def _ended_name(self, caller: Caller, request_id: str) -> str:
        for name, (tenant, answer) in reversed(self._ended.items()):
            if tenant == caller.tenant and answer.request_id == request_id:
                return name
        return ""
