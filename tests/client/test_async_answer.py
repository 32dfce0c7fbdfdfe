"""The two states of `AsyncAnswer`, and every way from one to the other."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
from collections.abc import Callable

import pytest

from headwater import (
    AnswerBusy,
    AnswerClosed,
    AnswerNotFinished,
    AsyncAnswer,
    AsyncClient,
    ClientClosed,
    FinishReason,
    NotFound,
    Overloaded,
    ProviderTruncated,
    StreamConsumed,
)
from headwater.v1 import answer_pb2

pytestmark = pytest.mark.anyio

TEXT = "Every employee has 30 days of leave."
ATTRIBUTES = ["sources", "citations", "usage", "timings", "finish_reason", "abstain_reason", "assistant", "message"]


async def wait_for_state(client: AsyncClient, name: str, state: int) -> None:
    async with asyncio.timeout(10):
        while (await client.get_answer(name)).state != state:  # noqa: ASYNC110 (the state is in another process)
            await asyncio.sleep(0.01)


async def wait_until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)


async def first_piece(answer: AsyncAnswer) -> str:
    return await anext(aiter(answer))


async def test_awaiting_an_answer_returns_it_finished(async_client: AsyncClient) -> None:
    answer = async_client.answer("happy")
    assert await answer is answer
    assert str(answer) == TEXT
    assert answer.finish_reason is FinishReason.STOP
    assert await answer is answer


async def test_content_can_be_asked_for_again_and_again(async_client: AsyncClient) -> None:
    answer = async_client.answer("happy")
    assert [await answer.content(), await answer.content(), str(answer), answer.partial] == [TEXT] * 4


async def test_nothing_is_sent_before_the_first_await(async_client: AsyncClient) -> None:
    answer = async_client.answer("hold")
    await asyncio.sleep(0.05)
    with pytest.raises(NotFound):
        await async_client.get_answer(f"answers/{answer.request_id}")
    async with answer:
        await wait_for_state(async_client, await _name(answer), answer_pb2.ANSWER_STATE_RUNNING)


async def _name(answer: AsyncAnswer) -> str:
    await answer.retrieved()
    return answer.name


async def test_entering_the_block_sends_the_question(async_client: AsyncClient) -> None:
    async with async_client.answer("hold") as answer, asyncio.timeout(10):
        while True:
            try:
                await async_client.get_answer(f"answers/{answer.request_id}")
            except NotFound:
                await asyncio.sleep(0.01)
            else:
                break


async def test_str_before_the_end_names_what_to_await(async_client: AsyncClient) -> None:
    async with async_client.answer("hold") as answer:
        for _ in range(2):
            with pytest.raises(AnswerNotFinished, match=r"await answer\.content\(\)"):
                str(answer)
            await first_piece(answer) if not answer.partial else None


@pytest.mark.parametrize("attribute", [*ATTRIBUTES, "name"])
async def test_an_attribute_before_the_start_is_too_early(async_client: AsyncClient, attribute: str) -> None:
    answer = async_client.answer("happy")
    with pytest.raises(AnswerNotFinished):
        getattr(answer, attribute)
    assert answer.partial == ""
    assert repr(answer) == f"<AsyncAnswer {answer.request_id} [not begun] 0 characters>"


@pytest.mark.parametrize("attribute", ATTRIBUTES)
async def test_an_attribute_in_the_middle_is_too_early_and_reads_nothing(
    async_client: AsyncClient, attribute: str
) -> None:
    async with async_client.answer("hold") as answer:
        assert await first_piece(answer) == "Every "
        with pytest.raises(AnswerNotFinished):
            getattr(answer, attribute)
        assert answer.name == f"answers/{answer.request_id}"
        assert answer.partial == "Every "


async def test_iterating_over_an_exhausted_answer_says_what_to_do_instead(async_client: AsyncClient) -> None:
    answer = async_client.answer("happy")
    assert "".join([piece async for piece in answer]) == TEXT
    with pytest.raises(StreamConsumed, match=r"\.content\(\)"):
        aiter(answer)
    with pytest.raises(StreamConsumed, match=r"\.content\(\)"):
        answer.chunks()
    assert await answer.content() == TEXT


async def test_an_iterator_that_is_there_already_just_ends(async_client: AsyncClient) -> None:
    answer = async_client.answer("happy")
    pieces = aiter(answer)
    await answer
    assert [piece async for piece in pieces] == []


async def test_content_after_a_break_is_the_whole_text(async_client: AsyncClient) -> None:
    answer = async_client.answer("slow")
    async for piece in answer:
        assert piece == "Every employee "
        break
    gc.collect()
    assert answer.partial == "Every employee "
    assert await answer.content() == TEXT


async def test_iteration_goes_on_after_a_break(async_client: AsyncClient) -> None:
    answer = async_client.answer("slow")
    first = await first_piece(answer)
    assert [first, *[piece async for piece in answer]] == ["Every employee ", "has 30 days", " of leave."]


async def test_chunks_and_pieces_share_one_cursor(async_client: AsyncClient) -> None:
    answer = async_client.answer("happy")
    pieces = aiter(answer)
    assert await anext(pieces) == "Every employee "
    assert (await anext(answer.chunks())).text.text == "has 30 days"
    assert await anext(pieces) == " of leave."
    assert [chunk.WhichOneof("event") async for chunk in answer.chunks()] == ["citation", "answer"]


async def test_the_sources_are_there_before_the_text_and_lose_nothing(async_client: AsyncClient) -> None:
    async with async_client.answer("hold") as answer:
        found = await answer.retrieved()
        assert [source.title for source in found] == ["Leave", "Leave"]
        assert answer.partial == ""
        chunks = answer.chunks()
        assert [(await anext(chunks)).WhichOneof("event") for _ in range(3)] == ["started", "retrieved", "text"]


async def test_after_a_failure_only_what_had_come_is_left(async_client: AsyncClient) -> None:
    answer = async_client.answer("failure_in_the_middle")
    with pytest.raises(ProviderTruncated) as failure:
        await answer
    assert answer.partial == "Every "
    assert answer.name == f"answers/{answer.request_id}"
    assert len(await answer.retrieved()) == 2
    assert "failed: ProviderTruncated" in repr(answer)
    for attribute in ATTRIBUTES:
        with pytest.raises(ProviderTruncated) as again:
            getattr(answer, attribute)
        assert again.value is failure.value
    for use in [lambda: aiter(answer), answer.chunks, answer.__str__]:
        with pytest.raises(ProviderTruncated) as again:
            use()
        assert again.value is failure.value
    for coroutine in [answer.content, answer.cancel, answer.__aenter__]:
        with pytest.raises(ProviderTruncated) as again:
            await coroutine()
        assert again.value is failure.value
    await answer.close()
    with pytest.raises(ProviderTruncated):
        await answer


async def test_the_sources_of_a_failure_before_them_raise_it_too(async_client: AsyncClient) -> None:
    answer = async_client.answer("failure_before_start")
    with pytest.raises(Overloaded) as failure:
        await answer.retrieved()
    assert failure.value.retry_after == 1.5
    with pytest.raises(Overloaded):
        _ = answer.name


async def test_closing_cancels_the_call(async_client: AsyncClient) -> None:
    answer = async_client.answer("hold")
    await first_piece(answer)
    await answer.close()
    await answer.close()
    await wait_for_state(async_client, answer.name, answer_pb2.ANSWER_STATE_CANCELLED)
    uses: list[Callable[[], object]] = [answer.chunks, answer.__str__, answer.__aiter__, lambda: answer.usage]
    for use in uses:
        with pytest.raises(AnswerClosed):
            use()
    with pytest.raises(AnswerClosed):
        await answer
    assert answer.partial == "Every "
    assert len(await answer.retrieved()) == 2
    await answer.cancel()  # there is nothing to stop any more


async def test_leaving_the_block_cancels_the_call(async_client: AsyncClient) -> None:
    async with async_client.answer("hold") as answer:
        await first_piece(answer)
    await wait_for_state(async_client, answer.name, answer_pb2.ANSWER_STATE_CANCELLED)


async def test_a_finished_answer_keeps_everything_after_its_block(async_client: AsyncClient) -> None:
    async with async_client.answer("happy") as answer:
        await answer.content()
    assert await answer.content() == TEXT
    with pytest.raises(StreamConsumed):
        aiter(answer)


async def test_closing_before_the_start_sends_nothing(async_client: AsyncClient) -> None:
    answer = async_client.answer("happy")
    await answer.close()
    with pytest.raises(AnswerClosed):
        await answer
    with pytest.raises(NotFound):
        await async_client.get_answer(f"answers/{answer.request_id}")


async def test_closing_wakes_a_reader_that_waits(async_client: AsyncClient) -> None:
    answer = async_client.answer("hold_before_start")
    reading = asyncio.create_task(answer.content())
    await asyncio.sleep(0.05)
    await answer.close()
    with pytest.raises(AnswerClosed):
        await reading


async def test_a_dropped_answer_warns_and_cancels(async_client: AsyncClient) -> None:
    answer = async_client.answer("hold")
    await first_piece(answer)
    name = answer.name
    with pytest.warns(ResourceWarning, match="dropped before its end"):  # noqa: PT031 (both statements drop it)
        del answer
        gc.collect()
    await wait_for_state(async_client, name, answer_pb2.ANSWER_STATE_CANCELLED)


async def test_an_answer_that_is_dropped_while_a_cancelled_read_is_pending_is_cancelled_too(
    async_client: AsyncClient,
) -> None:
    answer = async_client.answer("hold")
    await first_piece(answer)
    name = answer.name
    with contextlib.suppress(TimeoutError):  # pytest.raises would keep the answer in its traceback
        async with asyncio.timeout(0.05):
            await answer
    await asyncio.sleep(0)  # until then the step of the task that was cancelled keeps the traceback
    with pytest.warns(ResourceWarning, match="dropped before its end"):  # noqa: PT031 (both statements drop it)
        del answer
        gc.collect()
    await wait_for_state(async_client, name, answer_pb2.ANSWER_STATE_CANCELLED)


async def test_an_answer_that_was_never_begun_is_dropped_in_silence(async_client: AsyncClient) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async_client.answer("happy")
        gc.collect()


async def test_cancel_ends_the_iteration_normally(async_client: AsyncClient) -> None:
    answer = async_client.answer("cancelled")
    pieces = []
    async for piece in answer:
        pieces.append(piece)
        await answer.cancel()
    assert pieces == ["Every "]
    assert answer.finish_reason is FinishReason.CANCELLED
    await answer.cancel()  # an answer that has ended is left as it is


async def test_cancel_from_another_task_ends_the_iteration(async_client: AsyncClient) -> None:
    answer = async_client.answer("cancelled")

    async def read() -> list[str]:
        return [piece async for piece in answer]

    reading = asyncio.create_task(read())
    await wait_until(lambda: answer.partial == "Every ")
    await answer.cancel()
    assert await reading == ["Every "]


async def test_cancel_right_after_the_question_finds_the_answer(async_client: AsyncClient) -> None:
    async with async_client.answer("cancelled_while_searching") as answer:
        await answer.cancel()  # most often before the question has reached the server
        assert await answer.content() == ""
        assert answer.finish_reason is FinishReason.CANCELLED
        assert len(await answer.retrieved()) == 0


async def test_cancel_before_the_start_closes(async_client: AsyncClient) -> None:
    answer = async_client.answer("happy")
    await answer.cancel()
    with pytest.raises(AnswerClosed):
        await answer


async def test_concurrent_content_calls_share_one_read(async_client: AsyncClient) -> None:
    answer = async_client.answer("slow")
    *texts, found = await asyncio.gather(*[answer.content() for _ in range(8)], answer.retrieved())
    assert texts == [TEXT] * 8
    assert len(found) == 2


async def test_concurrent_content_calls_all_get_the_same_failure(async_client: AsyncClient) -> None:
    answer = async_client.answer("failure_in_the_middle")
    first, second = await asyncio.gather(answer.content(), answer.content(), return_exceptions=True)
    assert isinstance(first, ProviderTruncated)
    assert second is first


async def test_a_second_iterator_while_one_waits_is_refused(async_client: AsyncClient) -> None:
    async with async_client.answer("hold") as answer:
        await first_piece(answer)
        waiting = asyncio.create_task(first_piece(answer))
        await asyncio.sleep(0)
        with pytest.raises(AnswerBusy):
            await first_piece(answer)
        with pytest.raises(AnswerBusy):
            await answer.content()
        assert len(await answer.retrieved()) == 2  # known already, so nothing is read
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_iterating_while_content_is_read_is_refused(async_client: AsyncClient) -> None:
    async with async_client.answer("hold") as answer:
        pieces = aiter(answer)
        reading = asyncio.create_task(answer.content())
        await wait_until(lambda: answer.partial == "Every ")
        with pytest.raises(AnswerBusy):
            await anext(pieces)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


async def test_a_cancelled_iterator_loses_nothing(async_client: AsyncClient) -> None:
    answer = async_client.answer("slow")
    pieces: list[str] = []
    while True:
        try:
            async with asyncio.timeout(0.007):
                async for piece in answer:
                    pieces.append(piece)  # noqa: PERF401 (a cancelled comprehension would lose its list)
            break
        except TimeoutError:
            continue
    assert "".join(pieces) == TEXT
    assert pieces == ["Every employee ", "has 30 days", " of leave."]


async def test_a_cancelled_waiter_takes_nothing_from_the_others(async_client: AsyncClient) -> None:
    answer = async_client.answer("slow")
    first, second = asyncio.create_task(answer.content()), asyncio.create_task(answer.content())
    await wait_until(lambda: answer.partial != "")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == TEXT
    assert await answer.content() == TEXT


async def test_closing_the_client_closes_its_answers(target: str, one_loop: None) -> None:
    client = AsyncClient(target)
    answer = client.answer("hold")
    await first_piece(answer)
    await client.close()
    await client.close()
    with pytest.raises(AnswerClosed):
        await answer
    with pytest.raises(ClientClosed):
        client.answer("happy")
    with pytest.raises(ClientClosed):
        await client.get_answer("answers/x")


async def test_a_client_can_be_made_before_there_is_a_loop(target: str, one_loop: None) -> None:
    client = await asyncio.to_thread(AsyncClient, target)
    async with client:
        assert await client.answer("happy").content() == TEXT
