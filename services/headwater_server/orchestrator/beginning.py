"""How an answer begins: attached to one that there is, or recorded and made."""

from __future__ import annotations

import time

import anyio
import structlog
from anyio.abc import TaskGroup
from google.protobuf.duration_pb2 import Duration

from headwater.v1 import answer_service_pb2
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.errors import Reason, ServiceError
from headwater_server.interfaces import Caller
from headwater_server.names import new_id
from headwater_server.orchestrator.answer_log.protocol import (
    AnswerLog,
    AnswerWriter,
    LogFull,
    LogUnavailable,
    NewAnswer,
    RequestIdTaken,
)
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.failures import DescribeFailure, draining
from headwater_server.orchestrator.journal import Journal
from headwater_server.orchestrator.kept import Found
from headwater_server.orchestrator.registry import Opening, Registry
from headwater_server.orchestrator.run import AnswerRun, Backends, Persistence, default_assistant
from headwater_server.orchestrator.watchdog import Limits

log = structlog.get_logger("headwater.answers")


class Beginning:
    """Begins answers, in tasks that belong to the orchestrator: no caller can cancel what makes an answer.

    Args:
        backends: The services to use.
        config: What the orchestrator needs to know.
        tasks: Where answers are made.
        registry: The answers that run.
        answer_log: Where answers are kept.
        describe: Makes a status of a failure.
    """

    def __init__(
        self,
        backends: Backends,
        config: OrchestratorConfig,
        tasks: TaskGroup,
        *,
        registry: Registry,
        answer_log: AnswerLog,
        describe: DescribeFailure,
    ) -> None:
        self._backends = backends
        self._config = config
        self._tasks = tasks
        self._registry = registry
        self._log = answer_log
        self._describe = describe
        self._draining = False

    def drain(self) -> None:
        """Ends running answers with SERVER_DRAINING, and refuses new ones."""
        self._draining = True
        for run in self._registry.running():
            run.drain()

    async def attach_or_begin(self, request: StreamAnswerRequest, caller: Caller, start: float) -> Found:
        """The answer with this request_id, or a new one.

        Raises:
            ServiceError: The request_id was used for another request (REQUEST_ID_REUSED).
            Overloaded: As many answers run as may.
        """
        opening = self._registry.find_request(caller, request.request_id)
        if opening is not None:
            await opening.done.wait()
            _require_same(request, opening.request, "" if opening.run is None else opening.run.name)
        else:
            if self._draining:
                raise ServiceError(Reason.SERVER_DRAINING, "the server stops; ask another", retry_after=1.0)
            opening = self._registry.admit(request, caller)
            self._tasks.start_soon(self._open_and_execute, opening, start)
            await self._opened(opening)
        if opening.run is not None:
            return opening.run
        if opening.failure is not None:
            raise opening.failure
        if opening.existing is None:
            raise draining(f"answers/(request_id {request.request_id})")
        earlier = StreamAnswerRequest.FromString(opening.existing.request)
        _require_same(request, earlier, opening.existing.name)
        return self._registry.find(caller, opening.existing.name) or opening.existing

    async def _opened(self, opening: Opening) -> None:
        """Waits until an answer has begun; a caller who goes away meanwhile counts as a reader who has left."""
        try:
            await opening.done.wait()
        except BaseException:
            opening.deserted = True
            self._expect_nobody(opening)
            raise

    def _expect_nobody(self, opening: Opening) -> None:
        """Sees to an answer that has begun, and whose caller went away before reading any of it."""
        run = opening.run
        if opening.deserted and run is not None and not run.feed.visits:
            run.feed.expect_nobody()
            self.left(run)

    async def _open_and_execute(self, opening: Opening, start: float) -> None:
        """Records an answer and makes it: in a task that no caller can cancel."""
        try:
            try:
                run = await self._open(opening, start)
            except Exception as error:
                opening.failure = error
                return
            finally:
                opening.done.set()
            if run is None:
                return
            self._expect_nobody(opening)
            await run.execute()
        finally:
            self._registry.remove(opening)

    async def _open(self, opening: Opening, start: float) -> AnswerRun | None:
        """Records an answer; None where there is one with its request_id."""
        request, caller = opening.request, opening.caller
        new = NewAnswer(
            name=f"answers/{new_id()}",
            tenant=caller.tenant,
            request=request.SerializeToString(deterministic=True),
            created=time.time(),
            request_id=request.request_id,
        )
        writer: AnswerWriter | None = None
        try:
            writer = await self._log.begin(new)
        except RequestIdTaken as error:
            opening.existing = error.record
            return None
        except (LogFull, LogUnavailable) as error:
            log.warning("answer.unlogged", answer=new.name, error=str(error))
        run = AnswerRun(
            request,
            caller,
            name=new.name,
            assistant=default_assistant(request, self._config.assistant),
            limits=self._limits(request),
            start=start,
            created=new.created,
            persistence=Persistence(
                goes_on=request.on_disconnect == answer_service_pb2.DISCONNECT_POLICY_CONTINUE,
                resume_window=request.resume_window.ToTimedelta().total_seconds(),
                keep=self._config.keep,
            ),
            backends=self._backends,
            journal=Journal(self._log, writer),
            describe=self._describe,
        )
        self._registry.opened(opening, run)
        if self._draining:
            run.drain()
        return run

    def left(self, run: AnswerRun) -> None:
        """The last reader of an answer has gone: it may have to end."""
        if run.persistence.goes_on or run.ended.is_set():
            return
        if run.persistence.resume_window:
            self._tasks.start_soon(_abandon_later, run)
        else:
            run.abandon()

    def _limits(self, request: StreamAnswerRequest) -> Limits:
        wanted, default = request.limits, self._config.limits
        return Limits(
            first_token=_seconds(wanted, "first_token", default.first_token),
            between_tokens=_seconds(wanted, "between_tokens", default.between_tokens),
            total=_seconds(wanted, "total", default.total),
        )


async def _abandon_later(run: AnswerRun) -> None:
    """Stops an answer unless somebody reads it again within its window."""
    visits = run.feed.visits
    with anyio.move_on_after(run.persistence.resume_window):
        await run.ended.wait()
    if run.feed.visits == visits:
        run.abandon()


def _require_same(request: StreamAnswerRequest, earlier: StreamAnswerRequest, answer: str) -> None:
    if request != earlier:
        raise ServiceError(
            Reason.REQUEST_ID_REUSED,
            "the request_id was used for another request: use a new one",
            metadata={"request_id": request.request_id, "answer": answer},
        )


def _seconds(limits: answer_service_pb2.AnswerLimits, name: str, default: float) -> float:
    if not limits.HasField(name):  # type: ignore[arg-type]  # the stubs want a literal
        return default
    duration: Duration = getattr(limits, name)
    return duration.ToTimedelta().total_seconds()
