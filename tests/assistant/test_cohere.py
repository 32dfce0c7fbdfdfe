from __future__ import annotations

import pytest

from headwater.v1 import answer_pb2, assistant_service_pb2
from headwater_server.assistant import cohere
from headwater_server.assistant.protocol import GenerateRequest, Message, ProviderSettings, Role
from headwater_server.errors import Reason
from tests.assistant.asking import CALLER, Heard, a_request, ask
from tests.assistant.cores import KEY, core_at
from tests.assistant.fake_provider import Canned, event, fake_provider
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio


def message(kind: str, index: int = 0, **parts: object) -> bytes:
    document = {"type": kind, "index": index, "delta": {"message": parts}}
    return f"event: {kind}\n".encode() + event(document)


def said(*texts: str, index: int = 0) -> list[bytes]:
    return [message("content-delta", index, content={"text": text}) for text in texts]


def cited(start: int, end: int, words: str, *ids: str, index: int = 0, **more: object) -> bytes:
    sources = [{"type": "document", "id": source, "document": {"id": source}} for source in ids]
    where = {"start": start, "end": end, "text": words, "content_index": index, "sources": sources, **more}
    return message("citation-start", citations=where)


def ended(finish: str | None = "COMPLETE", **more: object) -> bytes:
    usage = {"billed_units": {"input_tokens": 1}, "tokens": {"input_tokens": 11, "output_tokens": 3}}
    delta = {"finish_reason": finish, "usage": usage, **more}
    return b"event: message-end\n" + event({"type": "message-end", "delta": delta})


API = Api("cohere", [*said("ok"), ended()])


async def test_text_thinking_and_usage_are_read() -> None:
    start = message("message-start", role="assistant", content=[])
    thought = message("content-delta", content={"type": "thinking", "thinking": "Hm. "})
    begun = message("content-start", 1, content={"type": "text", "text": ""})
    talk = await API.talk([start, thought, begun, *said("Hel", "lo", index=1), ended(), b"data: [DONE]\n\n"])
    assert (talk.heard.text, talk.heard.reasoning) == ("Hello", "Hm. ")
    assert talk.heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert talk.heard.answer.usage == answer_pb2.Usage(
        input_tokens=11, output_tokens=3, origin=answer_pb2.USAGE_ORIGIN_REPORTED
    )


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("COMPLETE", answer_pb2.FINISH_REASON_STOP),
        ("STOP_SEQUENCE", answer_pb2.FINISH_REASON_STOP_SEQUENCE),
        ("MAX_TOKENS", answer_pb2.FINISH_REASON_MAX_TOKENS),
        ("SOMETHING_NEW", answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
        (None, answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
    ],
)
async def test_finish_reasons_are_translated_and_unknown_ones_are_never_a_stop(
    finish: str | None, expected: int
) -> None:
    assert (await API.talk([*said("a"), ended(finish)])).heard.answer.finish_reason == expected


@pytest.mark.parametrize("last", [[], [b"data: [DONE]\n\n"]])
async def test_only_message_end_ends_an_answer(last: list[bytes]) -> None:
    heard = Heard()
    error = await API.failure([*said("part"), *last], heard)
    assert error.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "part"


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        (ended("ERROR"), Reason.PROVIDER_UNAVAILABLE),
        (ended("COMPLETE", error=f"it failed: {KEY}"), Reason.PROVIDER_UNAVAILABLE),
        (ended("TOOL_CALL"), Reason.PROVIDER_PROTOCOL),
        (message("tool-call-start", tool_calls={}), Reason.PROVIDER_PROTOCOL),
        (b"data: {not json\n\n", Reason.PROVIDER_PROTOCOL),
    ],
)
async def test_an_error_in_mid_stream_has_its_reason_and_the_part_is_kept(piece: bytes, reason: Reason) -> None:
    heard = Heard()
    error = await API.failure([*said("part"), piece], heard)
    assert error.reason is reason
    assert heard.text == "part"


async def test_a_prompt_that_is_too_long_and_a_wrong_key_say_so() -> None:
    error = await API.failure(Canned([b'{"message":"too many tokens: size limit exceeded by 2 tokens"}'], status=400))
    assert error.reason is Reason.CONTEXT_TOO_LARGE
    error = await API.failure(Canned([b'{"message":"invalid api token"}'], status=401))
    assert error.reason is Reason.PROVIDER_UNAUTHENTICATED


async def test_sources_go_as_documents_and_come_back_as_citations() -> None:
    talk = await API.talk(
        [
            *said("Möwen 😀: gulls ", "eat fish. Bye.", index=1),
            cited(9, 24, "gulls eat fish.", "2", "1", index=1),
            cited(9, 14, "other", "1", index=1),
            cited(0, 5, "Möwen", "7", index=1),
            cited(0, 5, "Möwen", "1", index=1, type="PLAN"),
            cited(0, 500, "", "1", index=1),
            ended(),
        ],
        sources=["Owls eat mice.", "Gulls eat fish."],
    )
    assert talk.body["documents"] == [
        {"id": "1", "data": {"snippet": "Owls eat mice."}},
        {"id": "2", "data": {"snippet": "Gulls eat fish."}},
    ]
    assert talk.body["messages"][-1] == {"role": "user", "content": "Hello?"}  # type: ignore[index]  # a JSON document
    assert talk.heard.text == "Möwen 😀: gulls eat fish. Bye."
    assert talk.heard.spans == [("gulls eat fish.", ["2", "1"])]


async def test_characters_are_counted_from_the_beginning_of_their_block() -> None:
    begun = message("content-start", 1, content={"type": "text", "text": ""})
    pieces = [*said("First. "), begun, *said("Gulls eat.", index=1), cited(0, 5, "Gulls", "1", index=1), ended()]
    assert (await API.talk(pieces, sources=["x"])).heard.spans == [("Gulls", ["1"])]


async def test_a_request_is_as_the_api_wants_it() -> None:
    generation = {
        "instructions": "Be brief.",
        "max_output_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.25,
        "stop_sequences": ["END"],
        "seed": 7,
        "provider_options": {"k": 3, "citation_options": {"mode": "FAST"}},
    }
    talk = await API.asked(a_request("Hello?", assistant="fake/m", generation=generation), Canned(API.an_answer))
    assert talk.path == "/v2/chat"
    assert talk.headers["authorization"] == f"Bearer {KEY}"
    assert talk.body == {
        "model": "m",
        "stream": True,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "max_tokens": 5,
        "temperature": 0.5,
        "p": 0.25,
        "stop_sequences": ["END"],
        "seed": 7,
        "k": 3,
        "citation_options": {"mode": "FAST"},
    }


@pytest.mark.parametrize(
    ("generation", "field"),
    [
        ({"top_p": 1.0}, "top_p"),
        ({"stop_sequences": ["a", "b", "c", "d", "e", "f"]}, "stop_sequences"),
        ({"provider_options": {"tools": []}}, "provider_options.tools"),
        ({"provider_options": {"documents": []}}, "provider_options.documents"),
        ({"temperature": 0.5, "provider_options": {"temperature": 1}}, "provider_options.temperature"),
    ],
)
async def test_what_the_api_has_not_or_is_not_the_callers_is_refused(generation: dict[str, object], field: str) -> None:
    assert (await API.refusal(**generation)).violations[0].field == f"generation.{field}"


@pytest.mark.parametrize("version", ["", "/v1", "/v2"])
async def test_a_base_url_may_end_with_either_version(version: str) -> None:
    async with fake_provider() as provider, core_at(provider.url.removesuffix("/v1") + version, api="cohere") as core:
        provider.canned = Canned(API.an_answer)
        await ask(core, a_request("Hello?", assistant="fake/m"))
        provider.canned = Canned([b'{"models": []}'])
        await core.list_assistants(assistant_service_pb2.ListAssistantsRequest(), CALLER)
    paths = [line.split()[1].partition("?")[0] for line, _, _ in provider.requests]
    assert paths == ["/v2/chat", "/v1/models"]


async def test_models_are_listed() -> None:
    assert await API.models({"models": [{"name": "command-x", "context_length": 128_000}]}) == [
        ("command-x", "", 128_000)
    ]


async def test_questions_and_lists_share_connections() -> None:
    async with fake_provider() as server:
        provider = cohere.provider(ProviderSettings("fake", base_url=server.url.removesuffix("/v1")))
        server.canned = Canned(API.an_answer)
        request = GenerateRequest("Hello?", "", [Message(Role.USER, "Hello?")])
        assert [event async for event in provider.assistant("m").generate(request)]
        server.canned = Canned([b'{"models": []}'])
        await provider.models()
        await provider.aclose()
    assert (len(server.requests), server.connections) == (2, 1)
