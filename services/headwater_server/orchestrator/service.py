"""The orchestrator's core: everything behind `headwater.v1.AnswerService`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio
from anyio.abc import TaskGroup
from google.protobuf.empty_pb2 import Empty

from headwater.v1 import answer_pb2, answer_service_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.errors import InvalidRequest, NotImplementedYet
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.protocol import AnswerLog
from headwater_server.orchestrator.beginning import Beginning
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.failures import DescribeFailure, draining
from headwater_server.orchestrator.kept import Found, KeptAnswers, current
from headwater_server.orchestrator.provided import check_provided
from headwater_server.orchestrator.reading import follow, replay
from headwater_server.orchestrator.recovery import recover
from headwater_server.orchestrator.registry import Registry
from headwater_server.orchestrator.run import AnswerRun, Backends
from headwater_server.owned_tasks import owned_tasks

CANCEL_WAIT = 10.0
"""How long `CancelAnswer` waits for the answer to have ended, in seconds."""

MAX_REQUEST_BYTES = 3 * 1024 * 1024


class Orchestrator:
    """Answers prompts; made by `open_orchestrator`.

    It has no method for the RPCs about chats; the servicer answers those with UNIMPLEMENTED.
    """

    def __init__(
        self,
        backends: Backends,
        config: OrchestratorConfig,
        tasks: TaskGroup,
        *,
        answer_log: AnswerLog,
        describe: DescribeFailure,
    ) -> None:
        self._config = config
        self._log = answer_log
        registry = Registry(config.max_answers)
        self._kept = KeptAnswers(registry, answer_log)
        self._beginning = Beginning(
            backends, config, tasks, registry=registry, answer_log=answer_log, describe=describe
        )

    def drain(self) -> None:
        """Ends running answers with SERVER_DRAINING, and refuses new ones."""
        self._beginning.drain()

    async def stream_answer(self, request: StreamAnswerRequest, caller: Caller) -> AsyncGenerator[AnswerChunk]:
        """Answers as a stream. Closing it is a disconnect."""
        start = time.monotonic()
        _check(request)
        found = await self._beginning.attach_or_begin(request, caller, start)
        async with aclosing(self._read(found, after=0)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def generate_answer(self, request: StreamAnswerRequest, caller: Caller) -> answer_pb2.Answer:
        """Answers as one message."""
        async with aclosing(self.stream_answer(request, caller)) as chunks:
            async for chunk in chunks:
                if chunk.HasField("answer"):
                    return chunk.answer
        raise AssertionError("a stream that ends without an error ends with an answer")

    async def resume_answer(
        self, request: answer_service_pb2.ResumeAnswerRequest, caller: Caller
    ) -> AsyncGenerator[AnswerChunk]:
        """Goes on with an answer's stream. Closing it is a disconnect."""
        found = await self._kept.find(caller, request.name)
        after = request.after_sequence if request.HasField("after_sequence") else None
        async with aclosing(self._read(found, after=after)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def get_answer(self, request: answer_service_pb2.GetAnswerRequest, caller: Caller) -> answer_pb2.Answer:
        """An answer as it stands."""
        return current(await self._kept.find(caller, request.name))

    async def list_answers(
        self, request: answer_service_pb2.ListAnswersRequest, caller: Caller
    ) -> answer_service_pb2.ListAnswersResponse:
        """A page of answers."""
        return await self._kept.page(request, caller)

    async def cancel_answer(self, request: answer_service_pb2.CancelAnswerRequest, caller: Caller) -> answer_pb2.Answer:
        """Stops an answer, and returns it as it ended."""
        by_name = request.WhichOneof("target") == "name"
        found = await (
            self._kept.find(caller, request.name) if by_name else self._kept.find_request(caller, request.request_id)
        )
        if isinstance(found, AnswerRun):
            await _stopped(found)
        return current(found)

    async def delete_answer(self, request: answer_service_pb2.DeleteAnswerRequest, caller: Caller) -> Empty:
        """Forgets an answer; one that runs is stopped first."""
        found = await self._kept.find(caller, request.name)
        if isinstance(found, AnswerRun):
            await _stopped(found)
        await self._log.delete(request.name)
        return Empty()

    def _read(self, found: Found, *, after: int | None) -> AsyncGenerator[AnswerChunk]:
        if isinstance(found, AnswerRun):
            return follow(
                found, after=after, heartbeat=self._config.heartbeat, left=lambda: self._beginning.left(found)
            )
        if not found.ending:
            raise draining(found.name)
        return replay(self._log, found, after=after)


@asynccontextmanager
async def open_orchestrator(
    backends: Backends, config: OrchestratorConfig, *, answer_log: AnswerLog, describe: DescribeFailure
) -> AsyncIterator[Orchestrator]:
    """Opens the orchestrator, which owns the tasks of its answers; leaving drains what still runs.

    Answers that an earlier process did not bring to their end are ended first.

    Args:
        backends: The services to use.
        config: What it needs to know.
        answer_log: Where answers are kept; nobody else writes to it.
        describe: Makes a status of a failure, to be kept with the answer.
    """
    await recover(answer_log, describe=describe, keep=config.keep)
    async with owned_tasks(cancel=False) as tasks:
        orchestrator = Orchestrator(backends, config, tasks, answer_log=answer_log, describe=describe)
        try:
            yield orchestrator
        finally:
            orchestrator.drain()


async def _stopped(run: AnswerRun) -> None:
    """Stops an answer, and waits until it has ended."""
    run.cancel()
    with anyio.fail_after(CANCEL_WAIT):
        await run.ended.wait()


def _check(request: StreamAnswerRequest) -> None:
    """Refuses what cannot be answered.

    Raises:
        NotImplementedYet: It comes in a later version.
        InvalidRequest: It is too large, or its sources are not as they must be.
    """
    if request.chat:
        raise NotImplementedYet("answering in a chat is part of the contract, and this version does not do it yet")
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise InvalidRequest("(request)", "is larger than 3 MiB: send less history, or smaller sources")
    check_provided(request.provided)
