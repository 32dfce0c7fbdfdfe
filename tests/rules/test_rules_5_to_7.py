"""Rules 5 to 7: the numbers of events, resuming, and the ends of upstreams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest

from headwater import AsyncClient, FinishReason, ProtocolError
from headwater.v1 import answer_pb2, assistant_service_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import DISCONNECT_POLICY_CONTINUE, CancelAnswerRequest, ResumeAnswerRequest
from headwater.v1.assistant_service_pb2_grpc import AssistantServiceStub
from headwater_server.errors import Reason, ServiceError
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog, Retention
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.runtime.app import running
from tests.arrangements.model_server import ModelServer, running_model_server
from tests.orchestrator.asking import asking, duration
from tests.orchestrator.backends import Services, saying, saying_then_failing, saying_then_hanging
from tests.orchestrator.events import citation, ended, reasoning, text
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules
from tests.rules.playing import WAIT_SECONDS, Heard, Steps, hosted, python_client, read, read_some, until
from tests.runtime.serving import info, settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

TOKENS = {"acme": "the-token-of-acme-0123456789", "globex": "the-token-of-globex-0123456789"}


def as_tenant(tenant: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {TOKENS[tenant]}"),)


def forget_events(folder: Path) -> None:
    """Loses the events of all answers of a log, as a damaged disk would."""
    for path in folder.glob("*/*.log"):
        path.unlink()


async def test_rule_05_sequences_have_no_gap_and_a_numbered_event_never_changes() -> None:
    steps = Steps("one ", "two ", "three ", "four ")
    async with hosted(steps.services) as stubs, anyio.create_task_group() as tasks:
        first, second, late = Heard(), Heard(), Heard()
        tasks.start_soon(first.listen, stubs.answers.StreamAnswer(asking()))
        steps.step(2)
        await until(lambda: first.text == "one two ")
        tasks.start_soon(
            second.listen, stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=first.name, after_sequence=0))
        )
        await until(lambda: second.text == "one two ")
        steps.step(3)
        await until(lambda: first.ended)
        await until(lambda: second.ended)
        await late.listen(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=first.name, after_sequence=0)))
    assert_rules(first.chunks)
    assert [chunk.sequence for chunk in first.chunks] == list(range(1, len(first.chunks) + 1))
    for other in (second, late):
        assert [chunk.SerializeToString() for chunk in other.chunks] == [
            chunk.SerializeToString() for chunk in first.chunks
        ]


async def test_rule_05_pieces_are_merged_before_they_are_numbered_and_never_for_each_reader() -> None:
    words = [f"{number} " for number in range(2_000)]
    services = Services(saying(*map(text, words), ended()))
    async with hosted(services) as stubs:
        request = asking(on_disconnect=DISCONNECT_POLICY_CONTINUE)
        slow = Heard()
        async for chunk in stubs.answers.StreamAnswer(request):
            slow.chunks.append(chunk)
            await anyio.sleep(0.002)
        again = await read(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=slow.name, after_sequence=0)))
    assert assert_rules(slow.chunks).text == "".join(words)
    assert len(slow.chunks) < len(words), "neighbours have become one event"
    assert again.chunks == slow.chunks, "a reader who is quick gets the same events"


async def test_rule_05_heartbeats_and_snapshots_belong_to_one_reader_and_are_not_logged() -> None:
    services = Services(saying_then_hanging(text("a part")))
    async with (
        hosted(services, config=OrchestratorConfig(heartbeat=0.05)) as stubs,
        anyio.create_task_group() as tasks,
    ):
        first, second = Heard(), Heard()
        tasks.start_soon(first.listen, stubs.answers.StreamAnswer(asking()))
        await until(lambda: len(first.heartbeats) > 2)
        tasks.start_soon(second.listen, stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=first.name)))
        await until(lambda: second.heartbeats)
        assert second.chunks[0].HasField("snapshot")
        assert second.chunks[0].sequence == first.chunks[-1].sequence, "the last that it covers"
        await stubs.answers.CancelAnswer(CancelAnswerRequest(name=first.name))
        await until(lambda: first.ended)
        await until(lambda: second.ended)
        replayed = await read(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=first.name, after_sequence=0)))
    assert {beat.sequence for beat in first.heartbeats + second.heartbeats} <= {
        chunk.sequence for chunk in first.chunks
    }
    assert max(beat.sequence for beat in first.heartbeats) == 3
    assert replayed.chunks == first.chunks
    assert not replayed.heartbeats
    assert not any(chunk.HasField("snapshot") for chunk in replayed.chunks)


async def test_rule_05_the_model_service_sends_0_and_only_what_it_knows(served: str) -> None:
    sources = [source_pb2.Source(id="1", content="Twelve hours of annual leave can be carried over.")]
    request = assistant_service_pb2.StreamGenerateRequest(
        prompt="How many hours of annual leave can be carried over?", sources=sources, grounded=True
    )
    async with grpc.aio.insecure_channel(served) as channel:
        assistants: Any = AssistantServiceStub(channel)
        chunks = [chunk async for chunk in assistants.StreamGenerate(request)]
    assert {chunk.sequence for chunk in chunks} == {0}
    kinds = [chunk.WhichOneof("event") for chunk in chunks]
    assert set(kinds) <= {"text", "reasoning", "citation", "heartbeat", "answer"}
    assert kinds.index("answer") == len(kinds) - 1
    answer = chunks[-1].answer
    assert (answer.finish_reason, answer.assistant) == (
        answer_pb2.FINISH_REASON_STOP,
        "assistants/builtin/extractive",
    )
    assert (answer.name, answer.text, answer.last_sequence) == ("", "", 0), "the rest is the orchestrator's"
    with_number = chunks[0].SerializeToString() + AnswerChunk(sequence=7).SerializeToString()
    assert AnswerChunk.FromString(with_number).sequence == 7, "the last value of a field wins"


async def test_rule_05_clients_count_events_that_they_do_not_know(scripted: str) -> None:
    async with AsyncClient(scripted) as client:
        answer = await client.answer("unknown_events")
        assert answer.unknown_events == 2
        with pytest.raises(ProtocolError):
            await client.answer("gap_in_sequence").content()
        with pytest.raises(ProtocolError):
            await client.answer("duplicate_sequence").content()


async def test_rule_06_after_a_sequence_comes_an_exact_replay_and_without_one_a_snapshot() -> None:
    script = saying(text("Hello, "), reasoning("hm"), text("world."), citation(0, 5, "1"), ended())
    async with hosted(Services(script)) as stubs:
        heard = await read(stubs.answers.StreamAnswer(asking()))
        last = len(heard.chunks)
        for after in range(last):
            again = await read(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=heard.name, after_sequence=after)))
            assert again.chunks == heard.chunks[after:]
            assert again.code is grpc.StatusCode.OK
        at_the_end = await read(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=heard.name, after_sequence=last)))
        assert at_the_end.chunks == heard.chunks[-1:], "a finished answer sends its terminal again"
        snapshot = await read(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=heard.name)))
        assert snapshot.chunks[0].snapshot.text == "Hello, world."
        assert list(snapshot.chunks[0].snapshot.citations) == list(heard.chunks[-1].answer.citations)
        assert snapshot.chunks[1:] == heard.chunks[-1:]


async def test_rule_06_a_running_answer_gives_a_snapshot_and_then_its_tail() -> None:
    steps = Steps("one ", "two ", "three ")
    async with hosted(steps.services) as stubs, anyio.create_task_group() as tasks:
        first, second = Heard(), Heard()
        tasks.start_soon(first.listen, stubs.answers.StreamAnswer(asking()))
        steps.step(2)
        await until(lambda: first.text == "one two ")
        tasks.start_soon(second.listen, stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=first.name)))
        await until(lambda: second.chunks)
        steps.step(2)
    snapshot = second.chunks[0].snapshot
    assert (snapshot.text, snapshot.state) == ("one two ", answer_pb2.ANSWER_STATE_RUNNING)
    assert snapshot.last_sequence == second.chunks[0].sequence
    assert second.chunks[1:] == first.chunks[second.chunks[0].sequence :]
    assert assert_rules(first.chunks).text == "one two three "


async def test_rule_06_where_the_beginning_is_lost_a_snapshot_takes_its_place(tmp_path: Path) -> None:
    async with EmbeddedAnswerLog.open(tmp_path) as answer_log, hosted(Services(), answer_log=answer_log) as stubs:
        heard = await read(stubs.answers.StreamAnswer(asking()))
        forget_events(tmp_path)
        again = await read(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=heard.name, after_sequence=0)))
    assert again.chunks[0].snapshot.text == heard.text
    assert again.chunks[1:] == heard.chunks[-1:]


async def test_rule_06_clients_check_a_snapshot_against_what_they_have(scripted: str) -> None:
    async with AsyncClient(scripted) as client:
        answer = client.answer("resumed_with_snapshot")
        pieces = [piece async for piece in answer]
        assert "".join(pieces) == answer.message.text, "only the rest is given to the reader"
        with pytest.raises(ProtocolError):
            await client.answer("resumed_with_other_text").content()


async def test_rule_06_a_failed_answer_sends_its_status_again() -> None:
    failure = ServiceError(Reason.PROVIDER_TRUNCATED, "it stopped", metadata={"provider": "scripted"})
    async with hosted(Services(saying_then_failing(failure, text("The part")))) as stubs:
        heard = await read(stubs.answers.StreamAnswer(asking()))
        for after in (0, 2, len(heard.chunks)):
            again = await read(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=heard.name, after_sequence=after)))
            assert again.chunks == heard.chunks[after:]
            assert (again.code, info(again.failure)) == (heard.code, info(heard.failure))


async def test_rule_06_beyond_the_head_is_diverged_while_it_runs_and_out_of_range_after() -> None:
    async with hosted(Services(saying_then_hanging(text("a")))) as stubs, anyio.create_task_group() as tasks:
        heard = Heard()
        tasks.start_soon(heard.listen, stubs.answers.StreamAnswer(asking()))
        await until(lambda: heard.text)
        beyond = ResumeAnswerRequest(name=heard.name, after_sequence=99)
        diverged = await read(stubs.answers.ResumeAnswer(beyond))
        assert diverged.code is grpc.StatusCode.ABORTED
        assert info(diverged.failure).reason == "ANSWER_DIVERGED"
        assert info(diverged.failure).metadata["last_sequence"] == "3"
        await stubs.answers.CancelAnswer(CancelAnswerRequest(name=heard.name))
        await until(lambda: heard.ended)
        after = await read(stubs.answers.ResumeAnswer(beyond))
        assert after.code is grpc.StatusCode.OUT_OF_RANGE


async def test_rule_06_what_has_expired_or_is_anothers_is_not_found(tmp_path: Path) -> None:
    config = OrchestratorConfig(keep=0.05)
    async with (
        EmbeddedAnswerLog.open(tmp_path, retention=Retention(interval=0.01)) as answer_log,
        hosted(Services(), config=config, answer_log=answer_log, tokens=TOKENS) as stubs,
    ):
        heard = await read(stubs.answers.StreamAnswer(asking(), metadata=as_tenant("acme")))
        request = ResumeAnswerRequest(name=heard.name, after_sequence=0)
        others = await read(stubs.answers.ResumeAnswer(request, metadata=as_tenant("globex")))
        with anyio.fail_after(WAIT_SECONDS):
            while await answer_log.find(heard.name):  # noqa: ASYNC110 (the log tells nobody what it forgets)
                await anyio.sleep(0.01)
        expired = await read(stubs.answers.ResumeAnswer(request, metadata=as_tenant("acme")))
    for refused in (others, expired):
        assert refused.code is grpc.StatusCode.NOT_FOUND
        assert info(refused.failure).reason == "RESOURCE_NOT_FOUND"
        assert not refused.chunks


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with running_model_server() as server:
        yield server


async def generated(model: ModelServer, name: str) -> Heard:
    """What the model service makes of a model of `tests/arrangements/model_server.py`."""
    provider = {"api": "openai-chat", "base_url": model.url, "models": ["echo"]}
    model.requests.clear()
    async with (
        running(settings(assistants={"scripted": provider}), "assistant") as assistant,
        grpc.aio.insecure_channel(assistant.address) as channel,
    ):
        assistants: Any = AssistantServiceStub(channel)
        request = assistant_service_pb2.StreamGenerateRequest(prompt="why?", assistant=f"scripted/{name}")
        return await read(assistants.StreamGenerate(request))


async def test_rule_07_the_end_of_an_upstream_is_its_protocols_own_marker(model: ModelServer) -> None:
    whole = await generated(model, "echo")
    assert whole.code is grpc.StatusCode.OK
    assert whole.chunks[-1].answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    cut_off = await generated(model, "truncated")
    assert cut_off.code is grpc.StatusCode.UNAVAILABLE
    assert info(cut_off.failure).reason == "PROVIDER_TRUNCATED"
    assert not any(chunk.HasField("answer") for chunk in cut_off.chunks)
    assert cut_off.text == whole.text, "the part is given all the same"


async def test_rule_07_text_of_two_upstreams_is_never_mixed(model: ModelServer) -> None:
    await generated(model, "truncated")
    assert len(model.requests) == 1, "nothing is tried again after the first text"


async def test_rule_07_an_answer_never_finishes_as_stop_where_its_upstream_did_not_say_so() -> None:
    unknown = answer_pb2.FINISH_REASON_UNSPECIFIED
    async with hosted(Services(saying(text("all of it?"), ended(unknown)))) as stubs:
        silent = await read(stubs.answers.StreamAnswer(asking()))
        assert assert_rules(silent.chunks).finish_reason == answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN
        async with python_client(stubs) as client:
            assert (await client.answer("why?")).finish_reason is FinishReason.UPSTREAM_UNKNOWN
    async with hosted(Services(saying(text("a part")))) as stubs:
        stopped = await read(stubs.answers.StreamAnswer(asking()))
        assert_begins_by_the_rules(stopped.chunks)
        assert stopped.code is grpc.StatusCode.UNAVAILABLE
        assert info(stopped.failure).reason == "PROVIDER_TRUNCATED"


async def test_rule_07_a_resumed_answer_goes_on_with_its_own_upstream() -> None:
    steps = Steps("one ", "two ", "three ")
    services = steps.services
    async with hosted(services) as stubs:
        steps.step()
        heard = await read_some(stubs.answers.StreamAnswer(asking(resume_window=duration(60))), texts=1)
        steps.step(3)
        rest = await read(
            stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=heard.name, after_sequence=heard.chunks[-1].sequence))
        )
    assert assert_rules(heard.chunks + rest.chunks).text == "one two three "
    assert len(services.assistants.requests) == 1
