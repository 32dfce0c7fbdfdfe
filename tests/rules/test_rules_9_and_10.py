"""Rules 9 and 10: what a request_id is good for; and that to stop and to go away are two things."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest

from headwater.v1 import answer_pb2
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    CancelAnswerRequest,
    GetAnswerRequest,
    ResumeAnswerRequest,
    StreamAnswerRequest,
)
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.runtime.settings import SettingsError, load
from tests.orchestrator.asking import REQUEST_ID, asking, duration
from tests.orchestrator.backends import Services, saying_then_hanging
from tests.orchestrator.events import text
from tests.orchestrator.rules import assert_rules
from tests.rules.playing import Heard, Steps, hosted, python_client, read, read_some, refused, until
from tests.runtime.serving import Stubs, info

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

OTHER_ID = "11111111-2222-4333-8444-555555555555"


async def state_of(stubs: Stubs, name: str) -> answer_pb2.AnswerState.ValueType:
    kept: answer_pb2.Answer = await stubs.answers.GetAnswer(GetAnswerRequest(name=name))
    return kept.state


async def until_state(stubs: Stubs, name: str, state: answer_pb2.AnswerState.ValueType) -> None:
    with anyio.fail_after(20):
        while await state_of(stubs, name) != state:  # noqa: ASYNC110 (nobody reads the answer, so nobody is told)
            await anyio.sleep(0.005)


async def test_rule_09_a_request_id_is_kept_as_long_as_its_answer_at_least_an_hour() -> None:
    async with hosted(Services()) as stubs:
        answer = (await read(stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID)))).chunks[-1].answer
        assert answer.request_id == REQUEST_ID
        kept = answer.expire_time.ToSeconds() - answer.complete_time.ToSeconds()
        assert kept >= 3600
    with pytest.raises(SettingsError, match="keep"):
        load(flags={"answers": {"keep": 3599}})


async def test_rule_09_the_same_id_attaches_to_the_same_answer_from_sequence_1() -> None:
    steps = Steps("one ", "two ")
    services = steps.services
    request = asking(request_id=REQUEST_ID)
    async with hosted(services) as stubs, anyio.create_task_group() as tasks:
        first, attached = Heard(), Heard()
        tasks.start_soon(first.listen, stubs.answers.StreamAnswer(request))
        steps.step()
        await until(lambda: first.text)
        tasks.start_soon(attached.listen, stubs.answers.StreamAnswer(request))
        await until(lambda: attached.text)
        steps.step(2)
        await until(lambda: first.ended)
        await until(lambda: attached.ended)
        after_the_end = await read(stubs.answers.StreamAnswer(request))
        as_one = await stubs.answers.GenerateAnswer(request)
    assert assert_rules(first.chunks) == as_one
    assert first.chunks == attached.chunks == after_the_end.chunks
    assert len(services.assistants.requests) == 1


async def test_rule_09_of_fifty_callers_at_once_one_asks() -> None:
    services = Services()
    results = [Heard() for _ in range(50)]
    async with hosted(services) as stubs, anyio.create_task_group() as tasks:
        for heard in results:
            tasks.start_soon(heard.listen, stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID)))
        await until(lambda: all(heard.ended for heard in results))
    assert len(services.assistants.requests) == 1
    assert all(heard.chunks == results[0].chunks for heard in results)


async def test_rule_09_the_same_id_with_other_content_is_refused() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with hosted(services) as stubs, anyio.create_task_group() as tasks:
        running = Heard()
        tasks.start_soon(running.listen, stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID)))
        await until(lambda: running.text)
        others = (asking("what else?", request_id=REQUEST_ID), asking(request_id=REQUEST_ID, labels={"a": "b"}))
        for when in ("it runs", "it has ended"):
            for other in others:
                error = await refused(stubs.answers.StreamAnswer(other))
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, when
                assert info(error).reason == "REQUEST_ID_REUSED"
                assert info(error).metadata["request_id"] == REQUEST_ID
                assert info(error).metadata["answer"] == running.name
            await stubs.answers.CancelAnswer(CancelAnswerRequest(request_id=REQUEST_ID))
    assert len(services.assistants.requests) == 1
    assert running.code is grpc.StatusCode.OK, "the answer itself was not harmed"


async def test_rule_09_a_request_id_survives_a_restart(tmp_path: Path) -> None:
    services = Services()
    seen: list[Heard] = []
    for _ in range(2):
        async with EmbeddedAnswerLog.open(tmp_path) as answer_log, hosted(services, answer_log=answer_log) as stubs:
            seen.append(await read(stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID))))
            error = await refused(stubs.answers.StreamAnswer(asking("what else?", request_id=REQUEST_ID)))
            assert info(error).reason == "REQUEST_ID_REUSED"
    assert seen[0].chunks == seen[1].chunks
    assert len(services.assistants.requests) == 1


async def test_rule_09_a_failure_before_started_does_not_use_it_up() -> None:
    services = Services(saying_then_hanging(text("a")))
    config = OrchestratorConfig(max_answers=1, least_answers=1)
    async with hosted(services, config=config) as stubs, anyio.create_task_group() as tasks:
        first = Heard()
        tasks.start_soon(first.listen, stubs.answers.StreamAnswer(asking(request_id=OTHER_ID)))
        await until(lambda: first.text)
        overloaded = await refused(stubs.answers.StreamAnswer(asking("one prompt", request_id=REQUEST_ID)))
        assert info(overloaded).reason == "OVERLOADED"
        invalid = await refused(stubs.answers.StreamAnswer(asking(" ", request_id=REQUEST_ID)))
        assert info(invalid).reason == "INVALID_FIELD"
        await stubs.answers.CancelAnswer(CancelAnswerRequest(name=first.name))
        await until(lambda: first.ended)
        third = Heard()
        tasks.start_soon(third.listen, stubs.answers.StreamAnswer(asking("another prompt", request_id=REQUEST_ID)))
        await until(lambda: third.text)
        await stubs.answers.CancelAnswer(CancelAnswerRequest(name=third.name))
    assert assert_rules(third.chunks).request_id == REQUEST_ID


async def test_rule_09_clients_always_send_one() -> None:
    async with hosted(Services()) as stubs, python_client(stubs) as client:
        ids = [(await client.answer("why?")).message.request_id for _ in range(2)]
    assert ids[0] != ids[1]
    assert [uuid.UUID(each).version for each in ids] == [4, 4]


async def test_rule_10_cancel_answer_stops_the_upstream_and_every_reader_gets_the_terminal() -> None:
    services = Services(saying_then_hanging(text("The part")))
    async with hosted(services) as stubs, anyio.create_task_group() as tasks:
        first, second = Heard(), Heard()
        tasks.start_soon(first.listen, stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID)))
        await until(lambda: first.text)
        tasks.start_soon(second.listen, stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=first.name)))
        await until(lambda: second.chunks)
        returned = await stubs.answers.CancelAnswer(CancelAnswerRequest(request_id=REQUEST_ID))
        assert services.assistants.closed.is_set(), "the upstream is closed when the call returns"
    for heard in (first, second):
        assert heard.code is grpc.StatusCode.OK
        assert heard.chunks[-1].answer == returned
    assert (returned.text, returned.state) == ("The part", answer_pb2.ANSWER_STATE_CANCELLED)
    assert returned.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
    assert returned.usage.partial
    assert returned.usage.output_tokens == 2


async def test_rule_10_by_default_an_answer_is_stopped_when_its_last_reader_has_gone() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with hosted(services) as stubs:
        first_call = stubs.answers.StreamAnswer(asking())
        first = await read_some_keeping(first_call)
        second_call = stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=first.name, after_sequence=0))
        await read_some_keeping(second_call)
        first_call.cancel()
        await anyio.sleep(0.1)
        assert not services.assistants.closed.is_set(), "one reader is left"
        second_call.cancel()
        await until(services.assistants.closed.is_set)
        await until_state(stubs, first.name, answer_pb2.ANSWER_STATE_CANCELLED)


async def read_some_keeping(call: Any) -> Heard:
    """Reads a call to its first text, and stays connected."""
    heard = Heard()
    async for chunk in call:
        heard.chunks.append(chunk)
        if chunk.HasField("text"):
            return heard
    raise AssertionError("the call has ended")


async def test_rule_10_within_its_resume_window_an_answer_waits_for_a_reader() -> None:
    steps = Steps("one ", "two ", "three ")
    async with hosted(steps.services) as stubs:
        steps.step()
        heard = await read_some(stubs.answers.StreamAnswer(asking(resume_window=duration(60))), texts=1)
        steps.step(3)
        await until_state(stubs, heard.name, answer_pb2.ANSWER_STATE_SUCCEEDED)
    services = Services(saying_then_hanging(text("a")))
    async with hosted(services) as stubs:
        gone = await read_some(stubs.answers.StreamAnswer(asking(resume_window=duration(0.1))), texts=1)
        await until_state(stubs, gone.name, answer_pb2.ANSWER_STATE_CANCELLED)
        assert services.assistants.closed.is_set()


async def test_rule_10_a_resume_window_has_at_most_five_minutes() -> None:
    async with hosted(Services()) as stubs:
        await stubs.answers.GenerateAnswer(asking(resume_window=duration(300)))
        for seconds in (300.001, 301, -1):
            error = await refused(stubs.answers.GenerateAnswer(asking(resume_window=duration(seconds))))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert info(error).metadata["field"] == "resume_window"


async def test_rule_10_with_continue_an_answer_comes_to_its_end_without_readers() -> None:
    steps = Steps("one ", "two ", "three ")
    async with hosted(steps.services) as stubs:
        steps.step()
        heard = await read_some(stubs.answers.StreamAnswer(asking(on_disconnect=DISCONNECT_POLICY_CONTINUE)), texts=1)
        await anyio.sleep(0.05)
        steps.step(3)
        await until_state(stubs, heard.name, answer_pb2.ANSWER_STATE_SUCCEEDED)
        rest = await read(
            stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=heard.name, after_sequence=len(heard.chunks)))
        )
    assert assert_rules(heard.chunks + rest.chunks).text == "one two three "


async def test_rule_10_a_deadline_is_a_disconnect() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with hosted(services) as stubs:
        late = await read(stubs.answers.StreamAnswer(asking(), timeout=0.3))
        assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
        await until_state(stubs, late.name, answer_pb2.ANSWER_STATE_CANCELLED)
    steps = Steps("one ", "two ")
    async with hosted(steps.services) as stubs:
        steps.step()
        late = await read(stubs.answers.StreamAnswer(asking(resume_window=duration(60)), timeout=0.3))
        assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
        steps.step(2)
        rest = await read(
            stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=late.name, after_sequence=len(late.chunks)))
        )
    assert assert_rules(late.chunks + rest.chunks).text == "one two "


async def test_rule_10_clients_that_resume_send_20_seconds_and_stop_explicitly() -> None:
    services = Services(saying_then_hanging(text("a")))
    answer_log = MemoryAnswerLog()
    async with hosted(services, answer_log=answer_log) as stubs, python_client(stubs) as client:
        names = []
        for resume in (True, False):
            async with client.answer("why?", resume=resume) as answer:
                async for _ in answer:
                    break
                names.append(answer.name)
            await until(lambda: not services.assistants.running)
        windows = []
        for name in names:
            record = await answer_log.find(name)
            assert record is not None
            asked = StreamAnswerRequest.FromString(record.request)
            windows.append(asked.resume_window.ToSeconds())
            assert asked.on_disconnect != DISCONNECT_POLICY_CONTINUE
    assert windows == [20, 0]
