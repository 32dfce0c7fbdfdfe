from __future__ import annotations

import pytest

from headwater.v1 import answer_pb2
from headwater_server.errors import Reason
from tests.assistant.cores import KEY
from tests.assistant.fake_provider import chat_event, said
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio

API = Api("mistral", said("ok"))


async def test_content_may_be_a_string_or_a_list_of_parts() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm. "}]}
    parts = [thinking, {"type": "text", "text": "Hel"}, {"type": "reference", "reference_ids": [1]}]
    heard = (await API.talk([chat_event(delta={"content": parts}), *said("lo")])).heard
    assert (heard.text, heard.reasoning) == ("Hello", "Hm. ")


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", answer_pb2.FINISH_REASON_STOP),
        ("length", answer_pb2.FINISH_REASON_MAX_TOKENS),
        ("model_length", answer_pb2.FINISH_REASON_CONTEXT_LIMIT),
    ],
)
async def test_finish_reasons_are_translated(finish: str, expected: int) -> None:
    assert (await API.talk(said("a", finish=finish))).heard.answer.finish_reason == expected


async def test_an_end_by_an_error_is_no_end() -> None:
    assert (await API.failure(said("a", finish="error"))).reason is Reason.PROVIDER_TRUNCATED


async def test_a_request_is_as_the_api_wants_it() -> None:
    generation = {
        "max_output_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.25,
        "stop_sequences": ["END"],
        "seed": 7,
        "provider_options": {"safe_prompt": True},
    }
    talk = await API.talk(generation=generation)
    assert talk.path == "/v1/chat/completions"
    assert talk.headers["authorization"] == f"Bearer {KEY}"
    assert talk.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.25,
        "stop": ["END"],
        "random_seed": 7,
        "safe_prompt": True,
    }


async def test_models_are_listed() -> None:
    assert await API.models({"data": [{"id": "m-1", "name": "M 1", "max_context_length": 100}]}) == [
        ("m-1", "M 1", 100)
    ]
