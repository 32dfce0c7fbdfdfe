from __future__ import annotations

import json

import pytest

from headwater.v1 import answer_pb2
from headwater_server.assistant.ollama import provider as ollama_provider
from headwater_server.assistant.protocol import ProviderSettings
from headwater_server.errors import Reason, ServiceError
from tests.assistant.asking import Heard, a_request, ask
from tests.assistant.cores import KEY, core_at
from tests.assistant.fake_provider import Canned, fake_provider
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio


def line(document: object) -> bytes:
    return json.dumps(document).encode() + b"\n"


def said(*texts: str) -> list[bytes]:
    return [line({"model": "m:1", "message": {"role": "assistant", "content": text}, "done": False}) for text in texts]


def done(**more: object) -> bytes:
    return line({"model": "m:1", "message": {"content": ""}, "done": True, "done_reason": "stop", **more})


API = Api("ollama", [*said("ok"), done()])


async def test_text_thinking_usage_and_model_are_read() -> None:
    thought = line({"message": {"content": "", "thinking": "Hm. "}, "done": False})
    talk = await API.talk([thought, *said("Hel", "lo\u2028"), b"\n", done(prompt_eval_count=11, eval_count=3)])
    assert (talk.heard.text, talk.heard.reasoning) == ("Hello\u2028", "Hm. ")
    assert talk.heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert talk.heard.answer.model_version == "m:1"
    assert talk.heard.answer.usage == answer_pb2.Usage(
        input_tokens=11, output_tokens=3, origin=answer_pb2.USAGE_ORIGIN_REPORTED
    )


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"done_reason": "stop"}, answer_pb2.FINISH_REASON_STOP),
        ({"done_reason": "length"}, answer_pb2.FINISH_REASON_MAX_TOKENS),
        ({"done_reason": "unload"}, answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
        ({"done_reason": None}, answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
    ],
)
async def test_done_reasons_are_translated_and_unknown_ones_are_never_a_stop(
    last: dict[str, object], expected: int
) -> None:
    assert (await API.talk([*said("a"), done(**last)])).heard.answer.finish_reason == expected


async def test_a_silent_end_is_an_unknown_one_and_its_usage_is_estimated() -> None:
    talk = await API.talk(said("all, or a part?"))
    assert talk.heard.text == "all, or a part?"
    assert talk.heard.answer.finish_reason == answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN
    assert talk.heard.answer.usage.origin == answer_pb2.USAGE_ORIGIN_ESTIMATED


async def test_an_end_in_the_middle_of_a_line_is_truncated_and_the_part_is_kept() -> None:
    heard = Heard()
    error = await API.failure([*said("part"), b'{"message": {"content": "lost'], heard)
    assert error.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "part"


async def test_an_empty_body_is_no_answer() -> None:
    assert (await API.failure([])).reason is Reason.PROVIDER_TRUNCATED


@pytest.mark.parametrize("document", [{"detail": "Not here"}, {"status": "success", "model": "m"}, {}])
async def test_json_that_is_no_part_of_an_answer_is_read_past_and_alone_is_none(document: dict[str, object]) -> None:
    error = await API.failure([line(document), line(document)])
    assert error.reason is Reason.PROVIDER_PROTOCOL
    talk = await API.talk([line(document), *said("ok"), line(document), done(), line(document)])
    assert (talk.heard.text, talk.heard.answer.finish_reason) == ("ok", answer_pb2.FINISH_REASON_STOP)
    cut = await API.talk([*said("part"), line(document)])
    assert cut.heard.answer.finish_reason == answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN
    assert cut.heard.answer.model_version == "m:1"


async def test_a_last_line_that_only_lacks_its_line_end_counts() -> None:
    talk = await API.talk([*said("a"), done().rstrip()])
    assert talk.heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        (line({"error": f"the runner has crashed with {KEY}"}), Reason.PROVIDER_UNAVAILABLE),
        (b"not json\n", Reason.PROVIDER_PROTOCOL),
        (b"[]\n", Reason.PROVIDER_PROTOCOL),
        (b"\xff\n", Reason.PROVIDER_PROTOCOL),
        (line({"message": {"tool_calls": [{}]}}), Reason.PROVIDER_PROTOCOL),
    ],
)
async def test_an_error_in_mid_stream_has_its_reason_and_the_part_is_kept(piece: bytes, reason: Reason) -> None:
    heard = Heard()
    error = await API.failure([*said("part"), piece, done()], heard)
    assert error.reason is reason
    assert heard.text == "part"


async def test_a_model_that_is_not_there_says_so() -> None:
    error = await API.failure(Canned([b'{"error":"model \'m\' not found"}'], status=404))
    assert error.reason is Reason.PROVIDER_REJECTED
    assert "model 'm' not found" in error.message


async def test_a_request_is_as_the_api_wants_it() -> None:
    generation = {
        "instructions": "Be brief.",
        "max_output_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.25,
        "stop_sequences": ["END"],
        "seed": 7,
        "provider_options": {"think": True, "options": {"top_k": 3}},
    }
    talk = await API.asked(a_request("Hello?", assistant="fake/m:1", generation=generation), Canned(API.an_answer))
    assert talk.path == "/api/chat"
    assert talk.headers["accept"] == "application/x-ndjson"
    assert talk.body == {
        "model": "m:1",
        "stream": True,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "options": {"num_predict": 5, "temperature": 0.5, "top_p": 0.25, "stop": ["END"], "seed": 7, "top_k": 3},
        "think": True,
        "truncate": False,
        "shift": False,
    }


async def test_a_prompt_that_is_too_long_for_the_servers_context_says_so() -> None:
    body = b'{"error":"the input length exceeds the context length"}'
    assert (await API.failure(Canned([body], status=400))).reason is Reason.CONTEXT_TOO_LARGE


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tools": []}, "tools"),
        ({"messages": []}, "messages"),
        ({"system": "x"}, "system"),
        ({"options": 5}, "options"),
        ({"options": {"temperature": 1}}, "options.temperature"),
    ],
)
async def test_fields_that_are_not_the_callers_are_refused(options: dict[str, object], field: str) -> None:
    refusal = await API.refusal(temperature=0.5, provider_options=options)
    assert refusal.violations[0].field == f"generation.provider_options.{field}"


async def test_models_are_listed() -> None:
    assert await API.models({"models": [{"name": "llama3:8b"}, {"name": 5}]}) == [("llama3:8b", "", 0)]


MADE_FOR = {"general.architecture": "llama", "llama.context_length": 131072}


@pytest.mark.parametrize(
    ("shown", "context"),
    [
        ({"model_info": MADE_FOR}, 131072),
        ({"model_info": MADE_FOR, "parameters": 'stop "<|x|>"\nnum_ctx                        8192\ntop_k 3'}, 8192),
        ({"parameters": "num_ctxx 8192"}, 0),
        ({"error": "not found"}, 0),
    ],
)
async def test_a_models_context_is_what_its_file_asks_for_or_what_it_was_made_for(
    shown: dict[str, object], context: int
) -> None:
    document = {"models": [{"name": "llama3:latest", "digest": "5f"}], **shown}  # the answer to both requests
    assert await API.models(document) == [("llama3:latest", "", context)]


async def test_a_context_that_was_learned_is_kept_to_and_not_asked_for() -> None:
    document = {"models": [{"name": "llama3:latest", "digest": "5f"}], "model_info": {"llama.context_length": 6000}}
    async with fake_provider() as provider, core_at(provider.url.removesuffix("/v1"), api="ollama") as core:
        provider.canned = Canned([json.dumps(document).encode()])
        with pytest.raises(ServiceError) as raised:
            await ask(core, a_request("why " * 9000, assistant="fake/llama3"))
        assert raised.value.reason is Reason.CONTEXT_TOO_LARGE
        assert [line.split()[1] for line, _, _ in provider.requests] == ["/api/tags", "/api/show"]
        provider.canned = Canned(API.an_answer)
        await ask(core, a_request("why " * 3000, assistant="fake/llama3"))
    body = provider.requests[2][2]
    assert isinstance(body, dict)
    assert "options" not in body


async def test_a_model_is_looked_at_once_until_it_is_another() -> None:
    shown = {"model_info": {"llama.context_length": 6000}}
    async with fake_provider() as provider:
        made = ollama_provider(ProviderSettings("fake", base_url=provider.url.removesuffix("/v1")))
        for digest in ("5f", "5f", "6a"):
            document = {"models": [{"name": "m", "digest": digest}], **shown}
            provider.canned = Canned([json.dumps(document).encode()])
            assert [model.context_tokens for model in await made.models()] == [6000]
        await made.aclose()
    paths = [line.split()[1] for line, _, _ in provider.requests]
    assert paths == ["/api/tags", "/api/show", "/api/tags", "/api/tags", "/api/show"]
