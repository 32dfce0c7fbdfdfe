from __future__ import annotations

import json

import pytest

from headwater.v1 import answer_pb2
from headwater_server.errors import InvalidRequest, Reason
from tests.assistant.asking import a_request
from tests.assistant.cores import KEY, core_at
from tests.assistant.fake_provider import Canned, chat_event, event, said
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio

SAFE = {"hate": {"filtered": False, "severity": "safe"}}
FILTERED = {"hate": {"filtered": True, "severity": "high"}}
API = Api("azure-openai", said("ok"))


async def test_an_answer_is_read_past_the_filters_verdicts() -> None:
    prompt = event({"choices": [], "model": "", "prompt_filter_results": [{"content_filter_results": SAFE}]})
    pieces = [prompt, chat_event(delta={"content": "Hel"}, content_filter_results=SAFE), *said("lo")]
    heard = (await API.talk(pieces)).heard
    assert heard.text == "Hello"
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.answer.model_version == "m-2026-01-01"


async def test_text_that_the_filter_stops_ends_with_its_part() -> None:
    stopped = chat_event(delta={}, finish_reason="content_filter", content_filter_results=FILTERED)
    heard = (await API.talk([chat_event(delta={"content": "part"}), stopped, b"data: [DONE]\n\n"])).heard
    assert heard.text == "part"
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_CONTENT_FILTER


async def test_a_prompt_that_the_filter_refuses_is_an_answer_without_text() -> None:
    error = {"error": {"code": "content_filter", "message": "filtered", "innererror": {}}}
    talk = await API.asked(a_request("?", assistant="fake/d"), Canned([json.dumps(error).encode()], status=400))
    assert talk.heard.text == ""
    assert talk.heard.answer.finish_reason == answer_pb2.FINISH_REASON_CONTENT_FILTER


async def test_a_stream_without_its_end_is_truncated() -> None:
    assert (await API.failure(said("part", done=False))).reason is Reason.PROVIDER_TRUNCATED


async def test_the_request_goes_to_version_1_of_the_api() -> None:
    talk = await API.talk(generation={"max_output_tokens": 5, "seed": 7})
    assert talk.path == "/openai/v1/chat/completions"
    assert talk.headers["api-key"] == KEY
    assert "authorization" not in talk.headers
    assert (talk.body["model"], talk.body["max_completion_tokens"], talk.body["seed"]) == ("m", 5, 7)
    assert talk.body["stream_options"] == {"include_usage": True}


async def test_with_a_version_in_the_settings_the_deployment_stands_in_the_url() -> None:
    options = {"api_version": "2024-10-21", "max_tokens_field": "max_tokens", "include_usage": False}
    request = a_request("?", assistant="fake/my/deployment", generation={"max_output_tokens": 5})
    talk = await API.asked(request, Canned(API.an_answer), options=options)
    assert talk.path == "/openai/deployments/my%2Fdeployment/chat/completions?api-version=2024-10-21"
    assert talk.body["max_tokens"] == 5
    assert "stream_options" not in talk.body
    with pytest.raises(InvalidRequest):
        await API.asked(a_request("?", assistant="fake/.."), Canned(API.an_answer), options=options)


async def test_settings_that_are_none_are_refused() -> None:
    for options, problem in (
        ({"api_version": "2024&x=1"}, "must be a version"),
        ({"deployment": "x"}, "not a setting"),
    ):
        with pytest.raises(ValueError, match=problem):
            await API.talk(options=options)
    with pytest.raises(ValueError, match="base_url"):
        async with core_at("", api="azure-openai"):
            pass
