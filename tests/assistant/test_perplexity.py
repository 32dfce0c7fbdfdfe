from __future__ import annotations

import pytest

from headwater_server.errors import InvalidRequest
from tests.assistant.fake_provider import chat_event, said
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio

API = Api("perplexity", said("ok"))


async def test_nothing_is_searched_where_sources_are_presented_so_that_numbers_are_ours() -> None:
    talk = await API.talk(said("Gulls eat fish [1]."), sources=["Gulls eat fish."])
    assert talk.body["disable_search"] is True
    assert talk.heard.spans == [("Gulls eat fish", ["1"])]


async def test_without_sources_it_searches_and_its_numbers_stay() -> None:
    pages = ["https://x/gulls"]
    talk = await API.talk([chat_event(delta={"content": "Gulls"}, citations=pages), *said(" eat fish.[1]")])
    assert "disable_search" not in talk.body
    assert talk.heard.text == "Gulls eat fish.[1]"
    assert talk.heard.citations == []


async def test_it_lists_no_models() -> None:
    assert await API.models({"data": [{"id": "x"}]}) == []


@pytest.mark.parametrize("chosen", [True, False])
async def test_who_asks_about_sources_does_not_say_whether_to_search(chosen: bool) -> None:
    generation = {"provider_options": {"disable_search": chosen}}
    with pytest.raises(InvalidRequest) as raised:
        await API.talk(sources=["Gulls eat fish."], generation=generation)
    assert raised.value.violations[0].field == "generation.provider_options.disable_search"
    assert (await API.talk(generation=generation)).body["disable_search"] is chosen


@pytest.mark.parametrize(("field", "value"), [("seed", 7), ("stop_sequences", ["END"])])
async def test_settings_that_the_api_has_not_are_refused(field: str, value: object) -> None:
    assert (await API.refusal(**{field: value})).violations[0].field == f"generation.{field}"
