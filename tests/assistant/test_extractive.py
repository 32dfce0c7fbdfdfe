from __future__ import annotations

import pytest

from headwater.v1 import answer_pb2, generation_pb2, source_pb2
from headwater_server.assistant.config import AssistantConfig
from headwater_server.assistant.service import open_assistants
from headwater_server.errors import InvalidRequest
from tests.assistant.asking import Heard, a_request, ask

pytestmark = pytest.mark.anyio

LEAVE = """# Leave

Employees have several kinds of leave. Annual leave can be used for any reason, e.g. a holiday.
You can carry over a maximum of 240 annual leave hours, from one leave
year to the next. It is lost beyond that.

Sick leave has no limit."""

DONATING = """To receive donated hours you must have all of the following:

- Exhausted all leave balances
- A medical condition that is likely to last
- A signed form from your physician

The program is run by Human Resources."""

PHONES = "Every phone needs a passcode. It must be longer than 14 characters. Phones are replaced after three years."


async def answer(
    question: str, *sources: str | source_pb2.Source, generation: generation_pb2.GenerationOptions | None = None
) -> Heard:
    async with open_assistants(AssistantConfig(environ={})) as core:
        return await ask(
            core,
            a_request(
                question, sources=sources, grounded=True, generation=generation or generation_pb2.GenerationOptions()
            ),
        )


async def test_an_answer_quotes_the_sentence_that_answers_and_cites_it() -> None:
    heard = await answer("How many hours of annual leave can I carry over?", PHONES, LEAVE)
    quote = "You can carry over a maximum of 240 annual leave hours, from one leave year to the next."
    assert heard.text.startswith(quote)
    assert heard.spans[0] == (quote, ["2"])
    assert heard.citations[0].evidence[0].quote == quote.replace("leave year", "leave\nyear")
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.answer.assistant == "assistants/builtin/extractive"
    assert heard.answer.usage.output_tokens == 0


async def test_every_word_of_an_answer_stands_in_its_sources_and_every_sentence_is_cited() -> None:
    heard = await answer("What must I have to receive donated hours of leave?", LEAVE, DONATING, PHONES)
    left = heard.text
    for words, _ in heard.spans:
        assert words in left
        left = left.replace(words, "", 1)
        assert " ".join(words.split()) in " ".join(" ".join([LEAVE, DONATING, PHONES]).split())
    assert not left.strip("\n -")


async def test_a_sentence_that_points_back_brings_the_one_before_it() -> None:
    heard = await answer("How long must the passcode of a phone be?", PHONES, LEAVE)
    assert heard.text.startswith("Every phone needs a passcode. It must be longer than 14 characters.")


async def test_a_line_that_introduces_a_list_brings_its_items() -> None:
    heard = await answer("What must I have to receive donated hours?", DONATING)
    assert heard.text.startswith(
        "To receive donated hours you must have all of the following:\n- Exhausted all leave balances\n"
        "- A medical condition that is likely to last\n- A signed form from your physician"
    )


async def test_it_comes_sentence_by_sentence() -> None:
    heard = await answer("How long must the passcode of a phone be?", PHONES)
    assert len(heard.pieces) == len(heard.citations) > 1


async def test_the_same_sentence_in_two_sources_is_said_once() -> None:
    heard = await answer("How long must the passcode of a phone be?", PHONES, PHONES)
    assert heard.text.count("14 characters") == 1


async def test_without_sources_it_abstains() -> None:
    for sources in ((), ("  \n ",)):
        heard = await answer("Why?", *sources)
        assert (heard.text, heard.answer.abstain_reason) == ("", answer_pb2.ABSTAIN_REASON_NO_SOURCES)


async def test_where_the_sources_are_about_something_else_it_abstains() -> None:
    heard = await answer("Who won the football World Cup in 1998?", LEAVE, PHONES)
    assert (heard.text, heard.answer.finish_reason) == ("", answer_pb2.FINISH_REASON_ABSTAINED)
    assert heard.answer.abstain_reason == answer_pb2.ABSTAIN_REASON_LOW_RELEVANCE


async def test_a_source_that_the_search_found_unlike_is_not_enough() -> None:
    source = source_pb2.Source(id="1", content=PHONES, cosine=0.05)
    heard = await answer("Which phones did the ancient Romans use?", source)
    assert heard.answer.abstain_reason == answer_pb2.ABSTAIN_REASON_LOW_RELEVANCE


async def test_a_limit_of_tokens_ends_the_answer_after_a_whole_sentence() -> None:
    options = generation_pb2.GenerationOptions(max_output_tokens=12)
    heard = await answer("How long must the passcode of a phone be?", PHONES, generation=options)
    assert heard.text == "Every phone needs a passcode."
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_MAX_TOKENS


async def test_settings_that_mean_nothing_to_it_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"generation\.temperature"):
        await answer("Why?", PHONES, generation=generation_pb2.GenerationOptions(temperature=0.5))


async def test_the_same_question_gets_the_same_answer() -> None:
    asked = "What must I know about leave and phones?"
    assert (await answer(asked, LEAVE, DONATING, PHONES)).text == (await answer(asked, LEAVE, DONATING, PHONES)).text


@pytest.mark.parametrize(
    "content",
    ["\x00" * 100, "|" * 16_000, "a" * 16_000, "\n" * 16_000, "- " * 8_000, ". " * 8_000, "é。" * 4_000, "a\n" * 8_000],
)
async def test_strange_sources_neither_break_nor_stall_it(content: str) -> None:
    heard = await answer("What is a?", *[content] * 10)
    assert heard.answer.finish_reason


async def test_a_question_in_another_script_finds_its_words() -> None:
    heard = await answer("年次有給休暇は何日ですか", "年次有給休暇は二十日です。病気休暇は別です。")
    assert heard.text.startswith("年次有給休暇は二十日です。")
