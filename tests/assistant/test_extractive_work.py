"""What the built-in assistant costs, and that all that makes it cheap changes none of its answers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from traceback import walk_stack
from types import CodeType

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater_server.assistant.extractive import ExtractiveAssistant, candidates, selection
from headwater_server.assistant.extractive.answering import find
from headwater_server.assistant.extractive.candidates import MAX_CANDIDATES, Candidate
from headwater_server.assistant.extractive.scoring import QuestionWords, Scored
from headwater_server.assistant.extractive.words import Words
from headwater_server.assistant.protocol import Event, Finished, FinishReason, GenerateRequest, Source
from headwater_server.assistant.sentences import Kind, sentences
from tests.growth import grows_in_proportion

pytestmark = pytest.mark.anyio

QUESTION = "What is the limit of b c d?"


def plainly_selected(scored: Sequence[Scored]) -> list[Candidate]:
    """What `select` does, as its rule says it: the whole pool is looked at for each place in the answer."""
    best = max(item.score for item in scored)
    chosen: list[Scored] = []
    pool = [item for item in scored if item.score >= 0.5 * best]

    def likeness(item: Scored) -> float:
        return max((selection._jaccard(item.candidate, other.candidate) for other in chosen), default=0.0)

    def size(*items: Scored) -> int:
        return sum(len(candidate.text) for item in items for candidate in selection._whole(item.candidate))

    while pool and len(chosen) < 5:
        item = max(pool, key=lambda item: 0.7 * item.score / best - (1 - 0.7) * likeness(item))
        pool = [other for other in pool if other is not item]
        worth = not chosen or item.score >= (0.5 if len(chosen) == 1 else 0.6) * best
        if likeness(item) < 0.8 and worth and (not chosen or size(*chosen, item) <= 1200):
            chosen.append(item)
    return selection._in_order(chosen)


def plain_items(candidate: Candidate, found: Sequence[Candidate]) -> list[str]:
    """The items that a candidate introduces, looked for everywhere."""
    if not candidate.text.endswith(":"):
        return []
    items: list[str] = []
    for item in found:
        introduced = item.before is not None and (item.before.source, item.before.order) == (
            candidate.source,
            candidate.order,
        )
        if introduced and item.kind is Kind.ITEM:
            if len(items) == 6 or sum(map(len, items)) + len(item.text) > 900:
                break
            items.append(item.text)
    return items


WORDS = st.sampled_from(["leave", "hours", "annual", "carry", "limit", "you", "240", "it", "this", "the", "days"])
PROSE = st.lists(WORDS, min_size=1, max_size=60).map(" ".join)
LINES = st.tuples(st.sampled_from(["", "", "- ", "# ", "1. "]), PROSE, st.sampled_from([".", ":", "?"])).map("".join)
SOURCES = st.lists(st.lists(LINES, max_size=12).map("\n".join), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(SOURCES, PROSE)
def test_the_same_sentences_are_chosen_as_by_looking_at_all_of_them_each_time(texts: list[str], asked: str) -> None:
    sources = [Source(str(number), text) for number, text in enumerate(texts, start=1)]
    words = Words()
    found = candidates.candidates(sources, words, step=lambda: None)
    for candidate in found:
        assert [item.text for item in candidate.items] == plain_items(candidate, found)
    if found:
        question = QuestionWords(asked, found, words)
        scored = [question.score(candidate, sources[candidate.source]) for candidate in found]
        if any(item.score for item in scored):
            assert selection.select(scored) == plainly_selected(scored)


@pytest.mark.parametrize(
    "line",
    [
        "A b c d:\n",
        "Leave request {} of the limit was approved on day {}. ",
        "- The limit of b c d is {}, and not {}.\n",
    ],
)
def test_work_grows_in_proportion_to_the_sources(line: str) -> None:
    def work(lines: int) -> None:
        find(QUESTION, [Source("1", "".join(line.format(number, number % 28) for number in range(lines)))])

    assert grows_in_proportion(work, size=250)


@pytest.mark.parametrize("piece", ["A. ", "e.g. X ", "...", "word B. ", "?!", '."'])
def test_so_does_the_work_of_splitting_a_text(piece: str) -> None:
    assert grows_in_proportion(lambda size: sentences((piece * size)[:size]), size=4000)


def test_so_does_that_of_a_long_word_and_initials() -> None:
    assert grows_in_proportion(lambda size: sentences("a" * size + " B. C. D." * (size // 9)), size=200)


def test_of_very_many_sentences_those_of_the_best_sources_are_looked_at() -> None:
    sources = [Source(str(number), f"A b c d {number}.\n" * 7000) for number in range(4)]
    found = candidates.candidates(sources, Words(), step=lambda: None)
    assert len(found) == MAX_CANDIDATES
    assert [sum(1 for item in found if item.source == source) for source in range(4)] == [7000, 7000, 6000, 0]


class Steps:
    """Counts steps, and raises at one of them."""

    def __init__(self, *, last: int = 0) -> None:
        self.count = 0
        self._last = last

    def __call__(self) -> None:
        self.count += 1
        if self.count == self._last:
            raise InterruptedError


def test_what_it_does_can_be_ended_at_any_step() -> None:
    sources = [Source("1", "A b c d. " * 100)]
    find(QUESTION, sources, step=(steps := Steps()))
    assert steps.count == 200  # each sentence is read, and scored
    for last in (1, 150):
        with pytest.raises(InterruptedError):
            find(QUESTION, sources, step=Steps(last=last))


def threads_at_work() -> int:
    """How many threads compute an answer now."""
    return sum(any(is_find(frame.f_code) for frame, _ in walk_stack(top)) for top in sys._current_frames().values())


def is_find(code: CodeType) -> bool:
    return code.co_name == find.__name__ and code.co_filename == find.__code__.co_filename


async def all_of(assistant: ExtractiveAssistant, request: GenerateRequest) -> list[Event]:
    return [event async for event in assistant.generate(request)]


async def until_at_work() -> None:
    with anyio.fail_after(20):
        while not threads_at_work():  # noqa: ASYNC110 (there is no event of it)
            await anyio.sleep(0.002)


LARGE = GenerateRequest(
    QUESTION, "", [], sources=[Source(str(number), "The limit of b is c, d. " * 700) for number in range(20)]
)


async def test_whoever_leaves_leaves_no_thread_at_work() -> None:
    assistant = ExtractiveAssistant()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(all_of, assistant, LARGE)
        await until_at_work()
        tasks.cancel_scope.cancel()
    assert threads_at_work() == 0


async def test_nor_does_a_call_that_asyncio_cancels() -> None:
    assistant = ExtractiveAssistant()
    call = asyncio.get_running_loop().create_task(all_of(assistant, LARGE))
    await until_at_work()
    call.cancel()
    with anyio.fail_after(20), pytest.raises(asyncio.CancelledError):
        await call
    assert threads_at_work() == 0


async def test_an_answer_that_goes_on_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assistant = ExtractiveAssistant()
    sources = [Source("1", "The limit of b is c, and d has no limit at all.")]
    whole = await all_of(assistant, GenerateRequest(QUESTION, "", [], sources=sources))
    looked = 0

    def counted(question: str, sources: Sequence[Source]) -> object:
        nonlocal looked
        looked += 1
        return find(question, sources)

    monkeypatch.setattr("headwater_server.assistant.extractive.assistant.find", counted)
    rest = await all_of(assistant, GenerateRequest(QUESTION, "", [], sources=sources, prefix="The limit of b"))
    assert looked == 1
    assert rest[-1] == whole[-1]


async def test_an_item_without_a_word_under_a_heading_that_has_them_is_no_answer() -> None:
    request = GenerateRequest("annual leave?", "", [], sources=[Source("1", "# Annual leave\n\n- !!!")])
    (event,) = await all_of(ExtractiveAssistant(), request)
    assert isinstance(event, Finished)
    assert event.reason is FinishReason.ABSTAINED
