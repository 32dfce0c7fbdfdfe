"""The orchestrator's core: everything behind `headwater.v1.AnswerService`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import anyio
from anyio.abc import TaskGroup
from google.protobuf.duration_pb2 import Duration

from headwater.v1 import answer_pb2, answer_service_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.errors import InvalidRequest, NotImplementedYet, Reason, ServiceError
from headwater_server.interfaces import Caller
from headwater_server.names import new_id
from headwater_server.orchestrator.provided import check_provided
from headwater_server.orchestrator.registry import Registry
from headwater_server.orchestrator.run import AnswerRun, Backends, default_assistant
from headwater_server.orchestrator.watchdog import Limits
from headwater_server.owned_tasks import owned_tasks

CANCEL_WAIT = 10.0
"""How long `CancelAnswer` waits for the answer to have ended, in seconds."""

MAX_REQUEST_BYTES = 3 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OrchestratorConfig:
    """What the orchestrator needs to know."""

    assistant: str = "builtin/extractive"
    """The assistant of requests that name none, `provider/model`."""
    limits: Limits = field(default_factory=lambda: Limits(first_token=60, between_tokens=30, total=600))
    """How long to wait where the request does not say."""
    heartbeat: float = 15
    """The silence after which a reader gets a heartbeat, in seconds."""
    max_answers: int = 256
    """How many answers may run at once."""


class Orchestrator:
    """Answers prompts; made by `open_orchestrator`.

    It has no method for the RPCs that come with the answer log and with chats; the servicer answers those
    with UNIMPLEMENTED.
    """

    def __init__(self, backends: Backends, config: OrchestratorConfig, tasks: TaskGroup) -> None:
        self._backends = backends
        self._config = config
        self._tasks = tasks
        self._registry = Registry(config.max_answers)
        self._draining = False

    def drain(self) -> None:
        """Ends running answers with SERVER_DRAINING, and refuses new ones."""
        self._draining = True
        for run in self._registry.running():
            run.drain()

    async def stream_answer(self, request: StreamAnswerRequest, caller: Caller) -> AsyncGenerator[AnswerChunk]:
        """Answers as a stream; closing it stops the answer."""
        run = self._begin(request, caller)
        try:
            while True:
                chunks = await run.buffer.take(self._config.heartbeat)
                if not chunks:
                    yield AnswerChunk(sequence=run.transcript.last_sequence, heartbeat=answer_pb2.Heartbeat())
                for chunk in chunks:
                    yield chunk
                    if chunk.HasField("answer"):
                        return
        finally:
            run.abandon()

    async def generate_answer(self, request: StreamAnswerRequest, caller: Caller) -> answer_pb2.Answer:
        """Answers as one message."""
        async with aclosing(self.stream_answer(request, caller)) as chunks:
            async for chunk in chunks:
                if chunk.HasField("answer"):
                    return chunk.answer
        raise AssertionError("a stream that ends without an error ends with an answer")

    async def cancel_answer(self, request: answer_service_pb2.CancelAnswerRequest, caller: Caller) -> answer_pb2.Answer:
        """Stops an answer, and returns it as it ended."""
        found = self._registry.find(caller, name=request.name, request_id=request.request_id)
        if isinstance(found, answer_pb2.Answer):
            return found
        found.cancel()
        with anyio.fail_after(CANCEL_WAIT):
            await found.ended.wait()
        return found.transcript.terminal or _unfinished(found)

    def _begin(self, request: StreamAnswerRequest, caller: Caller) -> AnswerRun:
        _refuse_what_comes_later(request)
        if self._draining:
            raise ServiceError(Reason.SERVER_DRAINING, "the server stops; ask another", retry_after=1.0)
        if request.ByteSize() > MAX_REQUEST_BYTES:
            raise InvalidRequest("(request)", "is larger than 3 MiB: send less history, or smaller sources")
        check_provided(request.provided)
        self._registry.admit(caller, request.request_id)
        run = AnswerRun(
            request,
            caller,
            name=f"answers/{new_id()}",
            assistant=default_assistant(request, self._config.assistant),
            limits=self._limits(request),
            backends=self._backends,
        )
        self._registry.add(run)
        self._tasks.start_soon(self._execute, run)
        return run

    async def _execute(self, run: AnswerRun) -> None:
        try:
            await run.execute()
        finally:
            self._registry.remove(run)

    def _limits(self, request: StreamAnswerRequest) -> Limits:
        wanted, default = request.limits, self._config.limits
        return Limits(
            first_token=_seconds(wanted, "first_token", default.first_token),
            between_tokens=_seconds(wanted, "between_tokens", default.between_tokens),
            total=_seconds(wanted, "total", default.total),
        )


@asynccontextmanager
async def open_orchestrator(backends: Backends, config: OrchestratorConfig) -> AsyncIterator[Orchestrator]:
    """Opens the orchestrator, which owns the tasks of its answers; leaving drains what still runs."""
    async with owned_tasks(cancel=False) as tasks:
        orchestrator = Orchestrator(backends, config, tasks)
        try:
            yield orchestrator
        finally:
            orchestrator.drain()


def _refuse_what_comes_later(request: StreamAnswerRequest) -> None:
    if request.chat:
        _later("answering in a chat")
    if request.on_disconnect == answer_service_pb2.DISCONNECT_POLICY_CONTINUE:
        _later("on_disconnect CONTINUE")
    if request.HasField("resume_window") and request.resume_window != Duration():
        _later("a resume_window over 0 s")


def _later(what: str) -> NoReturn:
    raise NotImplementedYet(f"{what} is part of the contract, and this version does not do it yet")


def _seconds(limits: answer_service_pb2.AnswerLimits, name: str, default: float) -> float:
    if not limits.HasField(name):  # type: ignore[arg-type]  # the stubs want a literal
        return default
    duration: Duration = getattr(limits, name)
    return duration.ToTimedelta().total_seconds()


def _unfinished(run: AnswerRun) -> answer_pb2.Answer:
    """An answer that failed before it could be stopped: its part."""
    answer = run.transcript.answer_so_far()
    answer.state = answer_pb2.ANSWER_STATE_FAILED
    return answer
