from __future__ import annotations

import json

import pytest

from headwater.v1 import answer_pb2, chat_pb2
from headwater_server.errors import InvalidRequest, Reason
from tests.assistant.asking import Heard, a_request
from tests.assistant.cores import KEY
from tests.assistant.fake_provider import Canned, event
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio


def response(*parts: dict[str, object], **candidate: object) -> dict[str, object]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **candidate}], "modelVersion": "g-1"}


def said(
    *texts: str, finish: str | None = "STOP", metadata: dict[str, object] | None = None
) -> list[dict[str, object]]:
    last: list[dict[str, object]] = [response(finishReason=finish, **(metadata or {}))] if finish else []
    return [*(response({"text": text}) for text in texts), *last]


def events(documents: list[dict[str, object]]) -> list[bytes]:
    return [event(document) for document in documents]


def array(documents: list[dict[str, object]]) -> list[bytes]:
    return [b"[", *b"\n,\r\n".join(json.dumps(item, indent=2).encode() for item in documents).split(b"\n"), b"]"]


API = Api("gemini", events(said("ok")))


@pytest.mark.parametrize("framed", [events, array])
async def test_text_thoughts_usage_and_model_are_read_from_events_and_from_an_array(framed: object) -> None:
    documents = [
        response({"text": "Hm. ", "thought": True}),
        *said("Hel", finish=None),
        response({"text": "lo"}, {"thoughtSignature": "x"}, {"executableCode": {}}),
        {
            **response(finishReason="STOP"),
            "usageMetadata": {
                "promptTokenCount": 11,
                "candidatesTokenCount": 3,
                "thoughtsTokenCount": 7,
                "cachedContentTokenCount": 5,
            },
        },
    ]
    talk = await API.talk(framed(documents))  # type: ignore[operator]  # one of the two above
    assert (talk.heard.text, talk.heard.reasoning) == ("Hello", "Hm. ")
    answer = talk.heard.answer
    assert answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert answer.model_version == "g-1"
    assert answer.usage == answer_pb2.Usage(
        input_tokens=11,
        output_tokens=3,
        cached_input_tokens=5,
        reasoning_tokens=7,
        origin=answer_pb2.USAGE_ORIGIN_REPORTED,
    )


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("STOP", answer_pb2.FINISH_REASON_STOP),
        ("MAX_TOKENS", answer_pb2.FINISH_REASON_MAX_TOKENS),
        ("SAFETY", answer_pb2.FINISH_REASON_CONTENT_FILTER),
        ("RECITATION", answer_pb2.FINISH_REASON_CONTENT_FILTER),
        ("OTHER", answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
    ],
)
async def test_finish_reasons_are_translated_and_unknown_ones_are_never_a_stop(finish: str, expected: int) -> None:
    assert (await API.talk(events(said("a", finish=finish)))).heard.answer.finish_reason == expected


async def test_a_prompt_that_is_blocked_is_an_answer_without_text() -> None:
    talk = await API.talk(events([{"promptFeedback": {"blockReason": "SAFETY"}}]))
    assert talk.heard.text == ""
    assert talk.heard.answer.finish_reason == answer_pb2.FINISH_REASON_CONTENT_FILTER


@pytest.mark.parametrize("index", [0, None])
async def test_a_candidate_without_its_number_is_the_one_that_was_asked_for(index: int | None) -> None:
    documents = [response({"text": "ok"}, finishReason="STOP", index=index)]
    documents[0]["candidates"] += [{"content": {"parts": [{"text": "no"}]}, "index": 1}]  # type: ignore[operator]  # JSON
    assert (await API.talk(events(documents))).heard.text == "ok"


@pytest.mark.parametrize("framed", [events, array])
@pytest.mark.parametrize("before", [[b"\xef", b"\xbb\xbf", b"\r", b"\n \t"], [b" "] * 1000, [b"\xef\xbb\xbf"]])
async def test_a_mark_and_blanks_before_an_answer_mean_nothing(framed: object, before: list[bytes]) -> None:
    talk = await API.talk([*before, *framed(said("ok"))])  # type: ignore[operator]  # one of the two above
    assert talk.heard.text == "ok"


async def test_blanks_without_end_are_refused_within_bounds() -> None:
    error = await API.failure([b" " * 1000] * 1000)
    assert error.reason is Reason.PROVIDER_PROTOCOL
    assert "blanks" in error.message


async def test_without_a_finish_reason_an_answer_has_no_end() -> None:
    heard = Heard()
    error = await API.failure(events(said("part", finish=None)), heard)
    assert error.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "part"


async def test_an_array_without_its_bracket_has_no_end() -> None:
    heard = Heard()
    error = await API.failure(array(said("part"))[:-1], heard)
    assert error.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "part"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"error": {"code": 503, "status": "UNAVAILABLE", "message": f"no: {KEY}"}}, Reason.PROVIDER_UNAVAILABLE),
        ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, Reason.PROVIDER_RATE_LIMITED),
        ({"error": {"code": 400, "status": "INVALID_ARGUMENT"}}, Reason.PROVIDER_REJECTED),
        (response({"functionCall": {"name": "f"}}), Reason.PROVIDER_PROTOCOL),
        (response(finishReason="UNEXPECTED_TOOL_CALL"), Reason.PROVIDER_PROTOCOL),
    ],
)
async def test_an_error_in_mid_stream_has_its_reason_and_the_part_is_kept(
    document: dict[str, object], reason: Reason
) -> None:
    for framed in (events, array):
        heard = Heard()
        error = await API.failure(framed([*said("part", finish=None), document]), heard)
        assert error.reason is reason
        assert heard.text == "part"


async def test_a_key_that_is_wrong_and_a_prompt_that_is_too_long_say_so() -> None:
    info = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
    wrong = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "not valid", "details": [info]}}
    body = [json.dumps([wrong]).encode()]
    assert (await API.failure(Canned(body, status=400))).reason is Reason.PROVIDER_UNAUTHENTICATED
    message = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    long = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": message}}
    error = await API.failure(Canned([json.dumps(long).encode()], status=400))
    assert error.reason is Reason.CONTEXT_TOO_LARGE


def grounded(words: str, start: int, end: int, **context: str) -> dict[str, object]:
    return {
        "groundingMetadata": {
            "groundingChunks": [{"web": {"uri": "https://elsewhere"}}, {"retrievedContext": context}],
            "groundingSupports": [
                {"segment": {"startIndex": start, "endIndex": end, "text": words}, "groundingChunkIndices": [0, 1]}
            ],
        }
    }


@pytest.mark.parametrize(("start", "end"), [(7, 22), (6, 21)], ids=["bytes", "characters"])
async def test_grounding_is_converted_where_it_is_a_presented_source(start: int, end: int) -> None:
    metadata = grounded("gulls eat fish.", start, end, text="Gulls eat fish.")
    talk = await API.talk(
        events(said("Möwe: gulls ", "eat fish. Owls [1] eat mice.", metadata=metadata)),
        sources=["Owls eat mice.", "Some say: Gulls eat fish."],
    )
    assert talk.heard.text == "Möwe: gulls eat fish. Owls eat mice."
    assert ("gulls eat fish.", ["2"]) in talk.heard.spans
    assert len(talk.heard.spans) == 2


async def test_grounding_of_other_words_or_in_other_documents_is_no_citation() -> None:
    for metadata in (grounded("other words", 0, 11, text="Gulls eat fish."), grounded("gulls", 0, 5, text="Owls.")):
        talk = await API.talk(events(said("gulls eat fish.", metadata=metadata)), sources=["Gulls eat fish."])
        assert talk.heard.spans == []


async def test_a_request_is_as_the_api_wants_it() -> None:
    request = a_request(
        "And now?",
        assistant="fake/gemini-x",
        history=[
            chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text="Hello?"),
            chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_ASSISTANT, text="Hi."),
        ],
        generation={
            "instructions": "Be brief.",
            "max_output_tokens": 5,
            "temperature": 0.5,
            "top_p": 0.25,
            "stop_sequences": ["END"],
            "seed": 7,
            "provider_options": {"generationConfig": {"topK": 3}, "safetySettings": []},
        },
    )
    talk = await API.asked(request, Canned(API.an_answer))
    assert talk.path == "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
    assert talk.headers["x-goog-api-key"] == KEY
    assert "authorization" not in talk.headers
    assert talk.body == {
        "contents": [
            {"role": "user", "parts": [{"text": "Hello?"}]},
            {"role": "model", "parts": [{"text": "Hi."}]},
            {"role": "user", "parts": [{"text": "And now?"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {
            "maxOutputTokens": 5,
            "temperature": 0.5,
            "topP": 0.25,
            "stopSequences": ["END"],
            "seed": 7,
            "topK": 3,
        },
        "safetySettings": [],
    }


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("tunedModels/x", "/v1beta/tunedModels/x"),
        ("x?key#", "/v1beta/models/x%3Fkey%23"),
        ("a/b/c", "/v1beta/a%2Fb/c"),
    ],
)
async def test_a_models_name_cannot_leave_its_place_in_the_url(model: str, path: str) -> None:
    talk = await API.asked(a_request("?", assistant=f"fake/{model}"), Canned(API.an_answer))
    assert talk.path == f"{path}:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("model", ["..", "../x", "x/.."])
async def test_a_models_name_that_leads_elsewhere_is_refused(model: str) -> None:
    with pytest.raises(InvalidRequest):
        await API.asked(a_request("?", assistant=f"fake/{model}"), Canned(API.an_answer))


@pytest.mark.parametrize("name", ["tools", "contents", "systemInstruction", "toolConfig"])
async def test_fields_that_are_not_the_callers_are_refused(name: str) -> None:
    refusal = await API.refusal(instructions="x", provider_options={name: {}})
    assert refusal.violations[0].field == f"generation.provider_options.{name}"
    for setting in ("temperature", "candidateCount"):
        nested = await API.refusal(temperature=1, provider_options={"generationConfig": {setting: 2}})
        assert nested.violations[0].field == f"generation.provider_options.generationConfig.{setting}"


async def test_models_that_write_are_listed() -> None:
    entry = {"name": "models/g-1", "displayName": "G 1", "inputTokenLimit": 100}
    embedder = {"name": "models/e-1", "supportedGenerationMethods": ["embedContent"]}
    assert await API.models({"models": [entry, embedder]}) == [("g-1", "G 1", 100)]


async def test_an_unspecified_finish_reason_is_none() -> None:
    unspecified = event(response({"text": "part"}, finishReason="FINISH_REASON_UNSPECIFIED"))
    heard = Heard()
    error = await API.failure([unspecified], heard)
    assert error.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "part"
    talk = await API.talk([unspecified, *events(said(" end"))])
    assert talk.heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP


def support(words: str, start: int, *, chunk: int = 0, part: int | None = None) -> dict[str, object]:
    segment = {"startIndex": start, "endIndex": start + len(words.encode()), "text": words}
    return {"segment": segment | ({} if part is None else {"partIndex": part}), "groundingChunkIndices": [chunk]}


GULLS, OWLS = [{"retrievedContext": {"text": words}} for words in ("Gulls eat fish.", "Owls eat mice.")]


async def test_each_grounding_counts_once_however_many_there_are() -> None:
    first = {"groundingChunks": [GULLS], "groundingSupports": [support("Gulls.", 0)]}
    second = {
        "groundingChunks": [GULLS, OWLS],
        "groundingSupports": [support("Gulls.", 0), support("Owls.", 7, chunk=1)],
    }
    third = {"groundingSupports": [support("Owls", 7, chunk=1)]}
    pieces = [
        event(response({"text": "Gulls. "}, groundingMetadata=first)),
        event(response({"text": "Owls."}, groundingMetadata=second)),
        event(response(groundingMetadata=third, finishReason="STOP")),
    ]
    talk = await API.talk(pieces, sources=["Gulls eat fish.", "Owls eat mice."])
    assert sorted(talk.heard.spans) == [("Gulls.", ["1"]), ("Owls", ["2"]), ("Owls.", ["2"])]


@pytest.mark.parametrize(
    "supports",
    [
        [support("fish", 6, part=1), support("fish", 5, part=3)],  # in its part
        [support("fish", 6, part=0), support("fish", 16, part=0)],  # in all of the text
    ],
)
async def test_a_segment_is_found_in_its_part(supports: list[dict[str, object]]) -> None:
    grounding = {"groundingChunks": [GULLS], "groundingSupports": supports}
    thought: dict[str, object] = {"text": "Hm.", "thought": True}
    pieces = events(
        [
            response(thought),
            response({"text": "Gulls "}),
            response({"text": "fish."}, thought, {"text": "Owls "}),
            response({"text": "fish."}, groundingMetadata=grounding),
            response(finishReason="STOP"),
        ]
    )
    heard = (await API.talk(pieces, sources=["Gulls eat fish."])).heard
    assert heard.text == "Gulls fish.Owls fish."
    assert [(citation.start_byte, citation.end_byte) for citation in heard.citations] == [(6, 10), (16, 20)]
