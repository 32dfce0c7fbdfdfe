"""Orchestrators that share one log, as the processes of one server do: each has its own answers, all know of all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    DeleteAnswerRequest,
    GetAnswerRequest,
    ListAnswersRequest,
    ResumeAnswerRequest,
    StreamAnswerRequest,
)
from headwater_server.errors import PreconditionFailed, Reason, ResourceNotFound, ServiceError, ServiceUnreachable
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.owners import Owners
from headwater_server.orchestrator.answer_log.protocol import AnswerRecord
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.service import Orchestrator, open_orchestrator
from headwater_server.orchestrator.siblings import SiblingGoneError
from headwater_server.runtime.status import described
from tests.orchestrator.asking import ME, REQUEST_ID, STRANGER, WAIT_SECONDS, answer, asking, duration
from tests.orchestrator.backends import Services, saying, saying_then_hanging
from tests.orchestrator.events import ended, text

pytestmark = pytest.mark.anyio


class Household:
    """The orchestrators that share a log, by the names of their owners."""

    def __init__(self) -> None:
        self.members: dict[str, Orchestrator] = {}


class Neighbours:
    """The `Siblings` of one of them: calls that stay in this process."""

    def __init__(self, household: Household, owners: Owners, answer_log: EmbeddedAnswerLog) -> None:
        self._household = household
        self._owners = owners
        self._log = answer_log

    @property
    def me(self) -> str:
        return self._owners.me

    def is_alive(self, owner: str) -> bool:
        return self._owners.is_alive(owner)

    async def orphans(self) -> Sequence[AnswerRecord]:
        return await self._log.orphans()

    async def resume(self, request: ResumeAnswerRequest, caller: Caller, *, owner: str) -> AsyncGenerator[AnswerChunk]:
        try:
            async with aclosing(self._member(owner).here.resume_answer(request, caller)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except (PreconditionFailed, ServiceUnreachable) as error:
            raise SiblingGoneError(str(error)) from error

    async def cancel(self, request: CancelAnswerRequest, caller: Caller, *, owner: str) -> answer_pb2.Answer:
        try:
            return await self._member(owner).here.cancel_answer(request, caller)
        except PreconditionFailed as error:
            raise SiblingGoneError(str(error)) from error

    def _member(self, owner: str) -> Orchestrator:
        if owner not in self._household.members:
            raise SiblingGoneError(owner)
        return self._household.members[owner]


@asynccontextmanager
async def member(household: Household, folder: Path, services: Services) -> AsyncIterator[Orchestrator]:
    """One orchestrator of a household."""
    with Owners.joined(folder / "owners", target="here") as owners:
        async with EmbeddedAnswerLog.open(folder, owners=owners) as answer_log:
            neighbours = Neighbours(household, owners, answer_log)
            async with open_orchestrator(
                services.backends,
                OrchestratorConfig(),
                answer_log=answer_log,
                describe=described,
                siblings=neighbours,
            ) as orchestrator:
                household.members[owners.me] = orchestrator
                try:
                    yield orchestrator
                finally:
                    del household.members[owners.me]


@asynccontextmanager
async def two(folder: Path, services: Services) -> AsyncIterator[tuple[Orchestrator, Orchestrator]]:
    household = Household()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(member(household, folder, services))
        yield first, await stack.enter_async_context(member(household, folder, services))


async def begun(orchestrator: Orchestrator, stack: AsyncExitStack, **fields: Any) -> tuple[str, list[AnswerChunk]]:
    """An answer whose reader has its first text and stays."""
    stream = await stack.enter_async_context(aclosing(orchestrator.stream_answer(asking(**fields), ME)))
    seen: list[AnswerChunk] = []
    async for chunk in stream:
        seen.append(chunk)
        if chunk.HasField("text"):
            break
    return seen[0].started.answer, seen


async def test_callers_of_both_with_one_request_id_read_one_answer(tmp_path: Path) -> None:
    services = Services()
    async with two(tmp_path, services) as both:
        for number in range(8):
            services.assistants.requests.clear()
            request = asking(request_id=f"{REQUEST_ID[:-2]}{number:02}")
            got: list[list[AnswerChunk]] = []

            async def ask(
                orchestrator: Orchestrator,
                request: StreamAnswerRequest = request,
                got: list[list[AnswerChunk]] = got,
            ) -> None:
                got.append(await answer(orchestrator, request))

            async with anyio.create_task_group() as tasks:
                for caller in range(10):
                    tasks.start_soon(ask, both[caller % 2])
            assert len(services.assistants.requests) == 1
            assert all(chunks == got[0] for chunks in got)
        with pytest.raises(ServiceError) as caught:
            await answer(both[1], asking("another", request_id=f"{REQUEST_ID[:-2]}00"))
        assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_an_answer_of_one_is_resumed_got_listed_and_stopped_through_the_other(tmp_path: Path) -> None:
    services = Services(saying_then_hanging(text("Hello, "), text("world.")))
    async with two(tmp_path, services) as (first, second), AsyncExitStack() as stack:
        name, seen = await begun(first, stack, on_disconnect=DISCONNECT_POLICY_CONTINUE)
        async with aclosing(second.resume_answer(ResumeAnswerRequest(name=name, after_sequence=0), ME)) as stream:
            assert [await anext(stream) for _ in seen] == seen
        async with aclosing(second.resume_answer(ResumeAnswerRequest(name=name), ME)) as stream:
            assert (await anext(stream)).snapshot.text.startswith("Hello, ")
        got = await second.get_answer(GetAnswerRequest(name=name), ME)
        assert (got.state, got.text[:7]) == (answer_pb2.ANSWER_STATE_RUNNING, "Hello, ")
        (listed,) = (await second.list_answers(ListAnswersRequest(), ME)).answers
        assert listed.text == got.text
        with pytest.raises(ResourceNotFound):
            await second.get_answer(GetAnswerRequest(name=name), STRANGER)
        stopped = await second.cancel_answer(CancelAnswerRequest(name=name), ME)
        assert stopped.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
        assert await first.get_answer(GetAnswerRequest(name=name), ME) == stopped
        assert await second.cancel_answer(CancelAnswerRequest(name=name), ME) == stopped


async def test_an_answer_of_one_is_deleted_through_the_other(tmp_path: Path) -> None:
    services = Services(saying_then_hanging(text("Hello, ")))
    async with two(tmp_path, services) as (first, second), AsyncExitStack() as stack:
        name, _ = await begun(first, stack, on_disconnect=DISCONNECT_POLICY_CONTINUE)
        await second.delete_answer(DeleteAnswerRequest(name=name), ME)
        assert services.assistants.running == 0
        for orchestrator in (first, second):
            with pytest.raises(ResourceNotFound):
                await orchestrator.get_answer(GetAnswerRequest(name=name), ME)


async def test_a_reader_through_a_sibling_keeps_an_answer_alive_and_its_leaving_ends_it(tmp_path: Path) -> None:
    services = Services(saying_then_hanging(text("Hello, ")))
    async with two(tmp_path, services) as (first, second):
        async with AsyncExitStack() as theirs:
            async with AsyncExitStack() as own:
                name, seen = await begun(first, own)
                resume = ResumeAnswerRequest(name=name, after_sequence=0)
                stream = await theirs.enter_async_context(aclosing(second.resume_answer(resume, ME)))
                assert await anext(stream) == seen[0]
            got = await second.get_answer(GetAnswerRequest(name=name), ME)
            assert got.state == answer_pb2.ANSWER_STATE_RUNNING
            assert services.assistants.running == 1
        with anyio.fail_after(WAIT_SECONDS):
            await services.assistants.closed.wait()


async def test_an_answer_goes_on_in_the_other_when_its_own_has_gone_and_its_reader_there_sees_no_break(
    tmp_path: Path,
) -> None:
    services = Services(saying_then_hanging(text("Hello, ")))
    household = Household()
    names: list[str] = []
    begun_there, heard, left = anyio.Event(), anyio.Event(), anyio.Event()

    async def owner() -> None:
        async with member(household, tmp_path, services) as first:
            async with AsyncExitStack() as stack:
                names.append((await begun(first, stack, resume_window=duration(60)))[0])
                begun_there.set()
                await heard.wait()
            rest = answer_pb2.TextDelta(text="world.", offset_bytes=len("Hello, "))
            services.assistants.script = saying(AnswerChunk(text=rest), ended())
        left.set()

    with anyio.fail_after(WAIT_SECONDS):
        async with member(household, tmp_path, services) as second, anyio.create_task_group() as tasks:
            tasks.start_soon(owner)
            await begun_there.wait()
            got: list[AnswerChunk] = []
            resume = ResumeAnswerRequest(name=names[0], after_sequence=0)
            async with aclosing(second.resume_answer(resume, ME)) as chunks:
                async for chunk in chunks:
                    got.append(chunk)
                    if chunk.HasField("text"):
                        heard.set()
            assert left.is_set()
    assert "".join(chunk.text.text for chunk in got) == "Hello, world."
    assert got[-1].answer.text == "Hello, world."
    assert [chunk.sequence for chunk in got] == list(range(1, len(got) + 1))
