from __future__ import annotations

import pytest

from headwater.v1 import answer_pb2, chat_pb2, source_pb2
from headwater_server.errors import Reason
from tests.assistant.asking import Heard, a_request
from tests.assistant.cores import KEY
from tests.assistant.fake_provider import Canned, event
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio


def piece(text: str, kind: str = "output_text", output: int = 0) -> bytes:
    return event({"type": f"response.{kind}.delta", "delta": text, "output_index": output, "content_index": 0})


def item(kind: str) -> bytes:
    return event({"type": "response.output_item.added", "output_index": 0, "item": {"type": kind}})


def ended(kind: str = "completed", **response: object) -> bytes:
    usage = {
        "input_tokens": 11,
        "output_tokens": 9,
        "input_tokens_details": {"cached_tokens": 5},
        "output_tokens_details": {"reasoning_tokens": 6},
    }
    whole = {"status": kind, "model": "r-1", "usage": usage, "error": None, **response}
    return f"event: response.{kind}\n".encode() + event({"type": f"response.{kind}", "response": whole})


API = Api("openai-responses", [piece("ok"), ended()])


async def test_text_reasoning_usage_and_model_are_read() -> None:
    begun = event({"type": "response.created", "response": {"status": "in_progress", "usage": None}})
    thoughts = [piece("Hm. ", "reasoning_summary_text"), piece("Well.", "reasoning_text")]
    talk = await API.talk([begun, item("message"), *thoughts, piece("Hel"), piece("lo"), ended(), b"data: [DONE]\n\n"])
    assert (talk.heard.text, talk.heard.reasoning) == ("Hello", "Hm. Well.")
    answer = talk.heard.answer
    assert answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert answer.model_version == "r-1"
    assert answer.usage == answer_pb2.Usage(
        input_tokens=11,
        output_tokens=9,
        cached_input_tokens=5,
        reasoning_tokens=6,
        origin=answer_pb2.USAGE_ORIGIN_REPORTED,
    )


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (ended(), answer_pb2.FINISH_REASON_STOP),
        (
            ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
            answer_pb2.FINISH_REASON_MAX_TOKENS,
        ),
        (
            ended("incomplete", incomplete_details={"reason": "content_filter"}),
            answer_pb2.FINISH_REASON_CONTENT_FILTER,
        ),
        (ended("incomplete", incomplete_details={"reason": "new"}), answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
        (ended("incomplete"), answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
    ],
)
async def test_endings_are_translated_and_unknown_ones_are_never_a_stop(last: bytes, expected: int) -> None:
    assert (await API.talk([piece("a"), last])).heard.answer.finish_reason == expected


@pytest.mark.parametrize(
    ("limit", "expected"), [(9, answer_pb2.FINISH_REASON_MAX_TOKENS), (10, answer_pb2.FINISH_REASON_STOP)]
)
async def test_an_answer_that_used_up_its_limit_was_ended_by_it(limit: int, expected: int) -> None:
    heard = (await API.talk(generation={"max_output_tokens": limit})).heard
    assert heard.answer.finish_reason == expected


async def test_a_refusal_is_said_and_counts_as_declined() -> None:
    heard = (await API.talk([piece("I can't.", "refusal"), ended()])).heard
    assert heard.text == "I can't."
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_ABSTAINED
    assert heard.answer.abstain_reason == answer_pb2.ABSTAIN_REASON_ASSISTANT_DECLINED


@pytest.mark.parametrize("last", [[], [b"data: [DONE]\n\n"], [event({"type": "response.output_text.done"})]])
async def test_only_the_response_itself_ends_an_answer(last: list[bytes]) -> None:
    heard = Heard()
    error = await API.failure([piece("part"), *last], heard)
    assert error.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "part"


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (ended("failed", error={"code": "server_error", "message": f"no: {KEY}"}), Reason.PROVIDER_UNAVAILABLE),
        (ended("failed", error={"code": "rate_limit_exceeded", "message": ""}), Reason.PROVIDER_RATE_LIMITED),
        (ended("failed", error={"code": "invalid_prompt", "message": "Flagged."}), Reason.PROVIDER_REJECTED),
        (ended("failed"), Reason.PROVIDER_UNAVAILABLE),
        (ended(status="failed"), Reason.PROVIDER_UNAVAILABLE),
        (ended(status="cancelled"), Reason.PROVIDER_UNAVAILABLE),
        (ended(error={"code": "rate_limit_exceeded"}), Reason.PROVIDER_RATE_LIMITED),
        (ended("incomplete", error={"code": "server_error"}), Reason.PROVIDER_UNAVAILABLE),
        (event({"type": "error", "code": "context_length_exceeded", "message": "x"}), Reason.CONTEXT_TOO_LARGE),
        (event({"type": "error", "error": {"code": "invalid_api_key"}}), Reason.PROVIDER_UNAUTHENTICATED),
        (item("function_call"), Reason.PROVIDER_PROTOCOL),
        (b"data: [1]\n\n", Reason.PROVIDER_PROTOCOL),
    ],
)
async def test_an_error_in_mid_stream_has_its_reason_and_the_part_is_kept(last: bytes, reason: Reason) -> None:
    heard = Heard()
    error = await API.failure([piece("part"), last], heard)
    assert error.reason is reason
    assert heard.text == "part"


def message(*texts: str, kind: str = "output_text") -> dict[str, object]:
    field = "text" if kind == "output_text" else kind
    return {"type": "message", "role": "assistant", "content": [{"type": kind, field: text} for text in texts]}


def whole(text: str, kind: str = "output_text", output: int = 0) -> bytes:
    field = "text" if kind == "output_text" else kind
    return event({"type": f"response.{kind}.done", field: text, "output_index": output, "content_index": 0})


@pytest.mark.parametrize(
    "pieces",
    [
        [whole("Möwen fly.")],
        [piece("Möwen"), whole("Möwen fly.")],
        [piece("Möwen"), piece(" fly."), whole("Möwen fly.")],
        [piece("Möwen "), whole("Möwen "), piece("fl", output=1), whole("fly.", output=1)],
        [piece("Möwen fly."), whole("")],
        [piece("Möwen fly."), whole(" Möwen fly.\n")],
        [piece("Möwen fly."), whole("Möwen fly.", output=3)],
        [piece("Möwen "), piece("fly.", output=1), whole("Möwen "), whole("fly.", output=1)],
        [event({"type": "response.content_part.done", "part": {"type": "output_text", "text": "Möwen fly."}})],
        [event({"type": "response.output_item.done", "item": message("Möwen ", "fly.")})],
        [piece("Möwen"), event({"type": "response.output_item.done", "item": message("Möwen fly.")})],
    ],
)
async def test_of_a_block_that_has_ended_only_what_was_not_sent_is_added(pieces: list[bytes]) -> None:
    heard = (await API.talk([*pieces, ended()])).heard
    assert heard.text == "Möwen fly."
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [piece("Möwen ")],
        [piece("Möwen fly.")],
        [piece("Möwen "), piece("fly.", output=1)],
        [whole("Möwen fly.", output=2)],
    ],
)
async def test_of_a_response_that_has_ended_only_what_was_not_sent_is_added(pieces: list[bytes]) -> None:
    output = [{"type": "reasoning"}, message("Möwen "), message("fly.")]
    heard = (await API.talk([*pieces, ended(output=output)])).heard
    assert heard.text == "Möwen fly."
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP


@pytest.mark.parametrize(
    "last",
    [
        whole("abX def"),
        event({"type": "response.content_part.done", "part": {"type": "output_text", "text": "abX def"}}),
        event({"type": "response.output_item.done", "item": message("abX def")}),
        ended(output=[message("abX def")]),
    ],
)
async def test_a_whole_that_is_another_text_than_its_pieces_is_no_end(last: bytes) -> None:
    heard = Heard()
    error = await API.failure([piece("abc"), last, ended()], heard)
    assert error.reason is Reason.PROVIDER_PROTOCOL
    assert heard.text == "abc"


async def test_a_refusal_that_comes_at_the_end_alone_is_said_and_counts_as_declined() -> None:
    heard = (await API.talk([ended(output=[message("I can't.", kind="refusal")])])).heard
    assert heard.text == "I can't."
    assert heard.answer.abstain_reason == answer_pb2.ABSTAIN_REASON_ASSISTANT_DECLINED


async def test_a_refusal_that_comes_whole_is_said_and_counts_as_declined() -> None:
    heard = (await API.talk([whole("I can't.", "refusal"), ended()])).heard
    assert heard.text == "I can't."
    assert heard.answer.abstain_reason == answer_pb2.ABSTAIN_REASON_ASSISTANT_DECLINED


async def test_a_last_event_that_repeats_a_long_answer_ends_it() -> None:
    output = [{"type": "web_search_call", "results": "x" * (2 << 20)}]
    heard = (await API.talk([piece("ok"), ended(output=output)])).heard
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP


async def test_what_the_providers_own_tools_do_is_read_past() -> None:
    other = event({"type": "response.code_interpreter_call_code.delta", "delta": "x = 1"})
    assert (await API.talk([item("web_search_call"), other, piece("ok"), ended()])).heard.text == "ok"


async def test_markers_become_citations() -> None:
    heard = (await API.talk([piece("Gulls eat "), piece("fish [1]."), ended()], sources=["Gulls eat fish."])).heard
    assert heard.text == "Gulls eat fish."
    assert heard.spans == [("Gulls eat fish", ["1"])]


async def test_a_page_is_cited_only_where_a_source_is_the_same() -> None:
    annotation = {"type": "url_citation", "start_index": 6, "end_index": 11, "url": "https://x/y"}
    where = {"type": "response.output_text.annotation.added", "output_index": 1, "content_index": 0}
    pieces = [piece("Möwen. "), piece("Wie 😀 Gulls.", output=1), event({**where, "annotation": annotation}), ended()]
    for uri, spans in (("https://x/y", [("Gulls", ["1"])]), ("https://x/z", [])):
        request = a_request(
            "?", assistant="fake/m", grounded=True, sources=[source_pb2.Source(id="1", content="x", uri=uri)]
        )
        assert (await API.asked(request, Canned(pieces))).heard.spans == spans


async def test_a_request_is_as_the_api_wants_it() -> None:
    request = a_request(
        "And now?",
        assistant="fake/m",
        history=[chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_ASSISTANT, text="Hi.")],
        generation={
            "instructions": "Be brief.",
            "max_output_tokens": 5,
            "temperature": 0.5,
            "top_p": 0.25,
            "provider_options": {"reasoning": {"effort": "low"}},
        },
    )
    talk = await API.asked(request, Canned(API.an_answer))
    assert talk.path == "/responses"
    assert talk.headers["authorization"] == f"Bearer {KEY}"
    assert talk.body == {
        "model": "m",
        "input": [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "And now?"}],
        "stream": True,
        "store": False,
        "instructions": "Be brief.",
        "max_output_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.25,
        "reasoning": {"effort": "low"},
    }


@pytest.mark.parametrize(
    ("generation", "field"),
    [
        ({"seed": 1}, "seed"),
        ({"stop_sequences": ["x"]}, "stop_sequences"),
        ({"provider_options": {"tools": []}}, "provider_options.tools"),
        ({"provider_options": {"store": True}}, "provider_options.store"),
        ({"provider_options": {"previous_response_id": "x"}}, "provider_options.previous_response_id"),
    ],
)
async def test_what_the_api_has_not_or_is_not_the_callers_is_refused(generation: dict[str, object], field: str) -> None:
    assert (await API.refusal(**generation)).violations[0].field == f"generation.{field}"


async def test_models_are_listed() -> None:
    assert await API.models({"data": [{"id": "r-1"}, {"id": ""}]}) == [("r-1", "", 0)]
