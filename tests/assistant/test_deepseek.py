from __future__ import annotations

import pytest

from headwater_server.assistant.config import AssistantConfig, AssistantConfigError, NamedProvider
from headwater_server.assistant.registry import ProviderRegistry
from headwater_server.errors import InvalidRequest
from tests.assistant.asking import a_request
from tests.assistant.fake_provider import Canned, said
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio

API = Api("deepseek", said("ok"), model="deepseek-v4")


@pytest.mark.parametrize(
    ("generation", "field"),
    [
        ({"seed": 7}, "seed"),
        ({"temperature": 0.5}, "temperature"),
        ({"top_p": 0.5}, "top_p"),
        ({"top_p": 0.5, "provider_options": {"thinking": {"type": "enabled"}}}, "top_p"),
    ],
)
async def test_settings_that_have_no_effect_are_refused(generation: dict[str, object], field: str) -> None:
    assert (await API.refusal(**generation)).violations[0].field == f"generation.{field}"


@pytest.mark.parametrize("how", [{"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}])
async def test_a_model_that_is_told_not_to_think_takes_a_temperature(how: dict[str, object]) -> None:
    body = (await API.talk(generation={"temperature": 0.5, "top_p": 0.25, "provider_options": how})).body
    assert (body["temperature"], body["top_p"]) == (0.5, 0.25)


async def test_a_model_that_never_thinks_takes_one_too() -> None:
    request = a_request("?", assistant="fake/deepseek-chat", generation={"temperature": 0.5, "stop_sequences": ["END"]})
    body = (await API.asked(request, Canned(API.an_answer))).body
    assert (body["temperature"], body["stop"]) == (0.5, ["END"])


async def test_models_are_listed() -> None:
    assert await API.models({"data": [{"id": "deepseek-v4", "context_length": 1000}]}) == [("deepseek-v4", "", 1000)]


async def test_what_a_table_says_the_server_lacks_is_refused_beside_what_the_api_lacks() -> None:
    for field, value in (("top_p", 0.5), ("seed", 7)):
        how: dict[str, object] = {"provider_options": {"thinking": {"type": "disabled"}}, field: value}
        with pytest.raises(InvalidRequest) as raised:
            await API.talk(options={"lacks": ["top_p"]}, generation=how)
        assert raised.value.violations[0].field == f"generation.{field}"


@pytest.mark.parametrize("lacks", ["seed", 5, ["sed"], [["seed"]]])
def test_a_list_of_what_it_lacks_that_is_none_is_refused_in_the_same_words_as_elsewhere(lacks: object) -> None:
    said = []
    for api in ("deepseek", "openai-chat"):
        config = AssistantConfig(providers={"mine": NamedProvider(api=api, options={"lacks": lacks})}, environ={})
        with pytest.raises(AssistantConfigError) as raised:
            ProviderRegistry(config, plugins=())
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert "assistants.mine.lacks: must be a list of" in said[0]
