"""What every `AnswerLog` must do. A log's tests inherit `AnswerLogConformance` and give it the fixture `answer_log`."""

from __future__ import annotations

import uuid

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.v1 import answer_pb2
from headwater_server.orchestrator.answer_log.protocol import (
    AnswerLog,
    AnswerSealed,
    AnswerUnknown,
    Fenced,
    NewAnswer,
    RequestIdTaken,
)

RUNNING = answer_pb2.ANSWER_STATE_RUNNING
SUCCEEDED = answer_pb2.ANSWER_STATE_SUCCEEDED
FAILED = answer_pb2.ANSWER_STATE_FAILED
LIMIT_SECONDS = 30
CREATED = 1_800_000_000.0


def new_answer(*, tenant: str = "tenant", request_id: str = "", created: float = CREATED) -> NewAnswer:
    return NewAnswer(
        name=f"answers/{uuid.uuid4().hex}", tenant=tenant, request=b"asked", created=created, request_id=request_id
    )


def new_tenant() -> str:
    return f"tenant-{uuid.uuid4().hex}"


async def logged(answer_log: AnswerLog, name: str, *, after: int = 0) -> list[bytes]:
    """Everything after a sequence, read to its end; checks the numbers."""
    events: list[bytes] = []
    while True:
        batch = await answer_log.read(name, after=after + len(events))
        if not batch:
            return events
        first = after + len(events) + 1
        assert [entry.sequence for entry in batch] == list(range(first, first + len(batch)))
        events += [entry.event for entry in batch]


class AnswerLogConformance:
    """One log serves all tests; each has answers of its own."""

    async def test_what_was_appended_is_read_in_order_from_any_sequence(self, answer_log: AnswerLog) -> None:
        answer = new_answer()
        writer = await answer_log.begin(answer)
        await writer.append([b"one", b"two"])
        await writer.append([b"three"])
        assert (writer.name, writer.epoch, writer.last_sequence) == (answer.name, 1, 3)
        assert await logged(answer_log, answer.name) == [b"one", b"two", b"three"]
        assert await logged(answer_log, answer.name, after=2) == [b"three"]
        assert await logged(answer_log, answer.name, after=3) == []
        assert await logged(answer_log, answer.name, after=1_000) == []
        writer.close()

    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        appends=st.lists(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), max_size=12),
        after=st.integers(0, 70),
        max_bytes=st.integers(1, 1000),
    )
    async def test_any_events_are_read_as_they_were_appended(
        self, answer_log: AnswerLog, appends: list[list[bytes]], after: int, max_bytes: int
    ) -> None:
        answer = new_answer()
        writer = await answer_log.begin(answer)
        for events in appends:
            await writer.append(events)
        everything = [event for events in appends for event in events]
        assert await logged(answer_log, answer.name, after=after) == everything[after:]
        batch = await answer_log.read(answer.name, after=0, max_bytes=max_bytes)
        assert bool(batch) is bool(everything)
        assert len(batch) <= 1 or sum(len(entry.event) for entry in batch) <= max_bytes
        writer.close()

    async def test_a_new_answer_is_known_before_anything_was_said(self, answer_log: AnswerLog) -> None:
        answer = new_answer(request_id=str(uuid.uuid4()))
        writer = await answer_log.begin(answer)
        record = await answer_log.find(answer.name)
        assert record is not None
        assert (record.name, record.tenant, record.request, record.created) == (
            answer.name,
            answer.tenant,
            b"asked",
            CREATED,
        )
        assert (record.state, record.ending, record.last_sequence, record.expires) == (RUNNING, b"", 0, None)
        assert await answer_log.find_request(answer.tenant, answer.request_id) == record
        assert await answer_log.find_request(new_tenant(), answer.request_id) is None
        assert await logged(answer_log, answer.name) == []
        writer.close()

    async def test_a_sealed_answer_keeps_its_events_and_takes_no_more(self, answer_log: AnswerLog) -> None:
        answer = new_answer()
        writer = await answer_log.begin(answer)
        await writer.append([b"one", b"end"])
        await writer.seal(b"ending", state=SUCCEEDED, expires=CREATED + 2e9)
        record = await answer_log.find(answer.name)
        assert record is not None
        assert (record.state, record.ending, record.last_sequence) == (SUCCEEDED, b"ending", 2)
        assert record.expires == CREATED + 2e9
        assert await logged(answer_log, answer.name) == [b"one", b"end"]
        with pytest.raises(AnswerSealed):
            await writer.append([b"more"])
        with pytest.raises(AnswerSealed):
            await writer.seal(b"other", state=FAILED, expires=None)
        with pytest.raises(AnswerSealed):
            await answer_log.claim(answer.name)
        assert await answer_log.find(answer.name) == record

    async def test_a_new_owner_goes_on_where_the_log_ends_and_the_old_one_is_refused(
        self, answer_log: AnswerLog
    ) -> None:
        answer = new_answer()
        first = await answer_log.begin(answer)
        await first.append([b"one"])
        second = await answer_log.claim(answer.name)
        assert (second.epoch, second.last_sequence) == (2, 1)
        with pytest.raises(Fenced):
            await first.append([b"not two"])
        await second.append([b"two"])
        with pytest.raises(Fenced):
            await first.seal(b"not the ending", state=FAILED, expires=None)
        third = await answer_log.claim(answer.name)
        assert (third.epoch, third.last_sequence) == (3, 2)
        with pytest.raises(Fenced):
            await second.append([b"not three"])
        await third.append([b"three"])
        await third.seal(b"ending", state=SUCCEEDED, expires=None)
        assert await logged(answer_log, answer.name) == [b"one", b"two", b"three"]

    async def test_of_many_that_begin_with_one_request_id_one_does(self, answer_log: AnswerLog) -> None:
        tenant, request_id = new_tenant(), str(uuid.uuid4())
        begun: list[str] = []
        refused: list[str] = []

        async def begin() -> None:
            answer = new_answer(tenant=tenant, request_id=request_id)
            try:
                writer = await answer_log.begin(answer)
            except RequestIdTaken as error:
                refused.append(error.record.name)
            else:
                begun.append(writer.name)
                writer.close()

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(begin)
        assert len(begun) == 1
        assert refused == begun * 19
        other = await answer_log.begin(new_answer(tenant=new_tenant(), request_id=request_id))
        other.close()

    async def test_answers_without_a_request_id_do_not_collide(self, answer_log: AnswerLog) -> None:
        tenant = new_tenant()
        for _ in range(3):
            (await answer_log.begin(new_answer(tenant=tenant))).close()
        assert await answer_log.find_request(tenant, "") is None
        assert len(await answer_log.list_answers(tenant, limit=10)) == 3

    async def test_a_tenants_answers_are_listed_newest_first_in_pages(self, answer_log: AnswerLog) -> None:
        tenant = new_tenant()
        names = []
        for number in range(7):
            answer = new_answer(tenant=tenant, created=CREATED + number // 2)  # some at the same moment
            writer = await answer_log.begin(answer)
            names.append((answer.created, answer.name))
            if number % 2:
                await writer.seal(b"ending", state=SUCCEEDED, expires=None)
            writer.close()
        listed: list[tuple[float, str]] = []
        before: tuple[float, str] | None = None
        while page := await answer_log.list_answers(tenant, before=before, limit=2):
            listed += [(record.created, record.name) for record in page]
            before = listed[-1]
        assert listed == sorted(names, reverse=True)
        ended = await answer_log.list_answers(tenant, state=SUCCEEDED, limit=100)
        assert {record.name for record in ended} == {name for _, name in names[1::2]}
        assert await answer_log.list_answers(new_tenant(), limit=100) == []

    async def test_a_list_has_no_more_bytes_than_asked_for_and_at_least_one_answer(self, answer_log: AnswerLog) -> None:
        tenant = new_tenant()
        names = []
        for number, size in enumerate((10, 10, 500, 10, 10)):
            answer = new_answer(tenant=tenant, created=CREATED + number)
            writer = await answer_log.begin(answer)
            await writer.seal(b"x" * size, state=SUCCEEDED, expires=None)
            names.append(answer.name)
        before: tuple[float, str] | None = None
        pages: list[list[str]] = []
        most = 20 + 2 * len(answer.request)
        while page := await answer_log.list_answers(tenant, before=before, limit=100, max_bytes=most):
            pages.append([record.name for record in page])
            before = page[-1].created, page[-1].name
        assert pages == [[names[4], names[3]], [names[2]], [names[1], names[0]]]

    async def test_only_answers_that_have_not_ended_are_unsealed(self, answer_log: AnswerLog) -> None:
        running, ended = new_answer(), new_answer()
        writer = await answer_log.begin(running)
        await (await answer_log.begin(ended)).seal(b"ending", state=FAILED, expires=None)
        names = {record.name for record in await answer_log.unsealed()}
        assert running.name in names
        assert ended.name not in names
        writer.close()

    async def test_a_follower_sees_each_event_and_the_end(self, answer_log: AnswerLog) -> None:
        answer = new_answer()
        writer = await answer_log.begin(answer)
        seen: list[bytes] = []

        async def follow() -> None:
            while True:
                await answer_log.wait(answer.name, after=len(seen))
                batch = await answer_log.read(answer.name, after=len(seen))
                if not batch:
                    return
                seen.extend(entry.event for entry in batch)

        with anyio.fail_after(LIMIT_SECONDS):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow)
                tasks.start_soon(follow_to_end, answer_log, answer.name)
                for number in range(1, 21):
                    await writer.append([str(number).encode()])
                    await anyio.sleep(0.001)
                await writer.seal(b"ending", state=SUCCEEDED, expires=None)
        assert seen == [str(number).encode() for number in range(1, 21)]

    async def test_a_deleted_answer_is_as_one_that_never_was(self, answer_log: AnswerLog) -> None:
        answer = new_answer(request_id=str(uuid.uuid4()))
        writer = await answer_log.begin(answer)
        await writer.append([b"one"])
        await answer_log.delete(answer.name)
        assert await answer_log.find(answer.name) is None
        assert await answer_log.find_request(answer.tenant, answer.request_id) is None
        with pytest.raises(AnswerUnknown):
            await answer_log.read(answer.name, after=0)
        with pytest.raises(Fenced):
            await writer.append([b"two"])
        with pytest.raises(AnswerUnknown):
            await answer_log.claim(answer.name)
        await answer_log.delete(answer.name)

    async def test_what_does_not_exist_is_unknown(self, answer_log: AnswerLog) -> None:
        name = new_answer().name
        assert await answer_log.find(name) is None
        with pytest.raises(AnswerUnknown):
            await answer_log.read(name, after=0)
        with pytest.raises(AnswerUnknown):
            await answer_log.claim(name)


async def follow_to_end(answer_log: AnswerLog, name: str) -> None:
    """A second reader, which only waits for the end."""
    await answer_log.wait(name, after=1_000_000)
