"""The two states of `Answer`, and every way from one to the other."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from headwater import (
    AnswerBusy,
    AnswerClosed,
    AnswerNotFinished,
    Client,
    ClientClosed,
    DataLoss,
    FinishReason,
    NotFound,
    ProviderTruncated,
    StreamConsumed,
)
from headwater.v1 import answer_pb2

TEXT = "Every employee has 30 days of leave."
ATTRIBUTES = ["sources", "citations", "usage", "timings", "finish_reason", "abstain_reason", "assistant", "message"]


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline, "waited for 10 s in vain"
        time.sleep(0.01)


def server_state(client: Client, name: str) -> int:
    return client.get_answer(name).state


@contextlib.contextmanager
def running(work: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(10)
        assert not thread.is_alive()


def test_printing_an_answer_reads_it_to_the_end(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    print(client.answer("happy"))  # noqa: T201 (this is what is tried)
    assert capsys.readouterr().out == TEXT + "\n"


def test_content_can_be_asked_for_again_and_again(client: Client) -> None:
    answer = client.answer("happy")
    assert [answer.content(), answer.content(), str(answer), answer.partial] == [TEXT] * 4


def test_the_call_starts_at_once(client: Client) -> None:
    with client.answer("hold") as answer:
        wait_until(lambda: _exists(client, f"answers/{answer.request_id}"))
        assert answer.partial == ""


def _exists(client: Client, name: str) -> bool:
    try:
        client.get_answer(name)
    except NotFound:
        return False
    return True


def test_chunks_gives_the_messages_themselves(client: Client) -> None:
    chunks = list(client.answer("heartbeats").chunks())
    kinds = [chunk.WhichOneof("event") for chunk in chunks]
    assert kinds == [
        *["heartbeat", "started", "heartbeat", "retrieved", "heartbeat", "text", "heartbeat", "heartbeat"],
        *["text", "text", "heartbeat", "answer"],
    ]
    assert all(isinstance(chunk, answer_pb2.AnswerChunk) for chunk in chunks)


@pytest.mark.parametrize("attribute", [*ATTRIBUTES, "name"])
def test_an_attribute_before_the_start_is_too_early(client: Client, attribute: str) -> None:
    with client.answer("hold_before_start") as answer, pytest.raises(AnswerNotFinished):
        getattr(answer, attribute)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_attribute_in_the_middle_is_too_early_and_reads_nothing(client: Client, attribute: str) -> None:
    with client.answer("hold") as answer:
        assert next(iter(answer)) == "Every "
        with pytest.raises(AnswerNotFinished):
            getattr(answer, attribute)
        assert answer.name == f"answers/{answer.request_id}"
        assert answer.partial == "Every "


def test_a_finished_answer_has_all_its_attributes(client: Client) -> None:
    answer = client.answer("happy")
    answer.content()
    assert [source.id for source in answer.sources] == ["1", "2"]
    assert answer.citations[0].evidence[0].source_id == "1"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 8
    assert answer.finish_reason is FinishReason.STOP
    assert answer.abstain_reason is None
    assert answer.assistant == "assistants/builtin/extractive"
    assert answer.timings.total.ToMilliseconds() == 250
    assert answer.message.text == TEXT


def test_iterating_over_an_exhausted_answer_says_what_to_do_instead(client: Client) -> None:
    answer = client.answer("happy")
    assert "".join(answer) == TEXT
    with pytest.raises(StreamConsumed, match=r"\.content\(\)"):
        iter(answer)
    with pytest.raises(StreamConsumed, match=r"\.content\(\)"):
        answer.chunks()
    assert answer.content() == TEXT


def test_an_iterator_that_is_there_already_just_ends(client: Client) -> None:
    answer = client.answer("happy")
    pieces = iter(answer)
    answer.content()
    assert list(pieces) == []


def test_content_after_a_break_is_the_whole_text(client: Client) -> None:
    answer = client.answer("slow")
    for piece in answer:
        assert piece == "Every employee "
        break
    gc.collect()
    assert answer.partial == "Every employee "
    assert answer.content() == TEXT


def test_iteration_goes_on_after_a_break(client: Client) -> None:
    answer = client.answer("slow")
    first = next(iter(answer))
    assert [first, *answer] == ["Every employee ", "has 30 days", " of leave."]


def test_chunks_and_pieces_share_one_cursor(client: Client) -> None:
    answer = client.answer("happy")
    pieces = iter(answer)
    assert next(pieces) == "Every employee "
    assert next(answer.chunks()).text.text == "has 30 days"
    assert next(pieces) == " of leave."
    assert [chunk.WhichOneof("event") for chunk in answer.chunks()] == ["citation", "answer"]


def test_the_sources_are_there_before_the_text_and_lose_nothing(client: Client) -> None:
    with client.answer("hold") as answer:
        found = answer.retrieved()
        assert [source.title for source in found] == ["Leave", "Leave"]
        assert found.statistics.candidates == 2
        assert answer.partial == ""
        assert answer.retrieved()[0].id == "1"
        kinds = [chunk.WhichOneof("event") for _, chunk in zip(range(3), answer.chunks(), strict=False)]
        assert kinds == ["started", "retrieved", "text"]


def test_retrieved_then_content_gives_both(client: Client) -> None:
    answer = client.answer("many_sources")
    assert len(answer.retrieved()) == 100
    assert answer.content() == "All of them."
    with pytest.raises(StreamConsumed):
        answer.chunks()


def test_after_a_failure_only_what_had_come_is_left(client: Client) -> None:
    answer = client.answer("failure_in_the_middle")
    with pytest.raises(ProviderTruncated) as failure:
        list(answer)
    assert answer.partial == "Every "
    assert answer.name == f"answers/{answer.request_id}"
    assert len(answer.retrieved()) == 2
    assert "failed: ProviderTruncated" in repr(answer)
    uses: list[Callable[[], object]] = [
        *[partial(getattr, answer, attribute) for attribute in ATTRIBUTES],
        *[answer.content, lambda: iter(answer), answer.chunks, answer.cancel, answer.__str__],
    ]
    for use in uses:
        with pytest.raises(ProviderTruncated) as again:
            use()
        assert again.value is failure.value
    answer.close()
    assert answer.partial == "Every "
    with pytest.raises(ProviderTruncated):
        answer.content()


def test_the_sources_of_a_failure_before_them_raise_it_too(client: Client) -> None:
    answer = client.answer("failure_before_start")
    uses: list[Callable[[], object]] = [answer.retrieved, answer.content, lambda: answer.name]
    for use in uses:
        with pytest.raises(Exception, match="as many answers run") as raised:
            use()
        assert type(raised.value).__name__ == "Overloaded"


def test_closing_cancels_the_call(client: Client) -> None:
    answer = client.answer("hold")
    assert next(iter(answer)) == "Every "
    answer.close()
    answer.close()
    wait_until(lambda: server_state(client, answer.name) == answer_pb2.ANSWER_STATE_CANCELLED)
    uses: list[Callable[[], object]] = [answer.content, answer.chunks, answer.__str__, answer.__iter__]
    uses.append(lambda: answer.usage)
    for use in uses:
        with pytest.raises(AnswerClosed):
            use()
    assert answer.partial == "Every "
    assert len(answer.retrieved()) == 2
    assert "closed" in repr(answer)
    answer.cancel()  # there is nothing to stop any more


def test_leaving_the_block_cancels_the_call(client: Client) -> None:
    with client.answer("hold") as answer:
        next(iter(answer))
    wait_until(lambda: server_state(client, answer.name) == answer_pb2.ANSWER_STATE_CANCELLED)


def test_a_finished_answer_keeps_everything_after_its_block(client: Client) -> None:
    with client.answer("happy") as answer:
        answer.content()
    assert answer.content() == TEXT
    assert len(answer.sources) == 2
    with pytest.raises(StreamConsumed):
        iter(answer)


def test_closing_wakes_a_reader_that_waits(client: Client) -> None:
    answer = client.answer("hold_before_start")
    raised: list[BaseException] = []

    def read() -> None:
        try:
            answer.content()
        except AnswerClosed as error:
            raised.append(error)

    with running(read):
        time.sleep(0.05)
        answer.close()
    assert len(raised) == 1


def test_a_dropped_answer_warns_and_cancels(client: Client) -> None:
    answer = client.answer("hold")
    next(iter(answer))
    name = answer.name
    with pytest.warns(ResourceWarning, match="dropped before its end"):  # noqa: PT031 (both statements drop it)
        del answer
        gc.collect()
    wait_until(lambda: server_state(client, name) == answer_pb2.ANSWER_STATE_CANCELLED)


@pytest.mark.parametrize("case", ["happy", "no_terminal", "hold"])
def test_an_answer_that_was_finished_failed_or_closed_is_dropped_in_silence(client: Client, case: str) -> None:
    def use() -> None:
        with client.answer(case) as answer:
            if case == "hold":
                next(iter(answer))
                return
            with contextlib.suppress(DataLoss):
                answer.content()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use()
        gc.collect()


def test_cancel_ends_the_iteration_normally(client: Client) -> None:
    answer = client.answer("cancelled")
    pieces = []
    for piece in answer:
        pieces.append(piece)
        answer.cancel()
    assert pieces == ["Every "]
    assert answer.finish_reason is FinishReason.CANCELLED
    assert answer.content() == "Every "
    answer.cancel()  # an answer that has ended is left as it is


def test_cancel_from_another_thread_ends_the_iteration(client: Client) -> None:
    answer = client.answer("cancelled")
    pieces: list[str] = []
    with running(lambda: pieces.extend(answer)):
        wait_until(lambda: answer.partial == "Every ")
        answer.cancel()
    assert pieces == ["Every "]


def test_concurrent_content_calls_share_one_read(client: Client) -> None:
    answer = client.answer("slow")
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(answer.content())) for _ in range(8)]
    for thread in threads:
        thread.start()
    found = answer.retrieved()
    for thread in threads:
        thread.join(10)
    assert texts == [TEXT] * 8
    assert len(found) == 2


def test_concurrent_content_calls_all_get_the_same_failure(client: Client) -> None:
    answer = client.answer("failure_in_the_middle")
    errors: list[BaseException] = []

    def read() -> None:
        try:
            answer.content()
        except ProviderTruncated as error:
            errors.append(error)

    with running(read), running(read):
        pass
    assert len(errors) == 2
    assert errors[0] is errors[1]


def test_of_two_iterators_at_once_the_second_is_refused(client: Client) -> None:
    answer = client.answer("hold")
    next(iter(answer))
    ends: list[str] = []

    def wait() -> None:
        try:
            next(iter(answer))
        except AnswerBusy as error:
            ends.append(type(error).__name__)
            assert len(answer.retrieved()) == 2  # known already, so nothing is read
            answer.close()
        except AnswerClosed as error:
            ends.append(type(error).__name__)

    with running(wait), running(wait):
        pass
    assert ends in (["AnswerBusy", "AnswerClosed"], ["AnswerClosed", "AnswerBusy"])


def test_iterating_while_content_is_read_is_refused(client: Client) -> None:
    with client.answer("hold") as answer:
        pieces = iter(answer)

        def read() -> None:
            with pytest.raises(AnswerClosed):
                answer.content()

        with running(read):
            wait_until(lambda: answer.partial == "Every ")
            with pytest.raises(AnswerBusy):
                next(pieces)
            answer.close()


def test_a_signal_that_interrupts_a_reader_loses_nothing(client: Client) -> None:
    answer = client.answer("slow")
    pieces = [next(iter(answer))]
    timer = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (the signal may come at any of these)
        timer.start()
        for piece in answer:
            pieces.append(piece)  # noqa: PERF402 (the signal interrupts this)
        timer.join()  # the answer was quicker than the signal
        # Once nothing was raised, which 1,800 repeats did not show again; the cause was not found. Perhaps a finalizer
        # ran just then, in which Python drops what is raised.
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    timer.join()
    if answer.partial != TEXT:
        pieces += answer
    assert "".join(pieces) == TEXT
    assert answer.content() == TEXT


def test_closing_the_client_closes_its_answers(target: str) -> None:
    client = Client(target)
    answer = client.answer("hold")
    next(iter(answer))
    client.close()
    client.close()
    with pytest.raises(AnswerClosed):
        answer.content()
    with pytest.raises(ClientClosed):
        client.answer("happy")
    with pytest.raises(ClientClosed):
        client.get_answer("answers/x")


def test_repr_never_reads_and_shows_the_state(client: Client) -> None:
    answer = client.answer("happy")
    assert repr(answer) == f"<Answer {answer.request_id} [not begun] 0 characters>"
    next(iter(answer))
    assert repr(answer) == f"<Answer answers/{answer.request_id} [running] 15 characters>"
    answer.content()
    assert repr(answer) == f"<Answer answers/{answer.request_id} [STOP] 36 characters>"
