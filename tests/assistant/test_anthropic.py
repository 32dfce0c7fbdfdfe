from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.v1 import answer_pb2, assistant_service_pb2, chat_pb2
from headwater_server.assistant.anthropic import message_document
from headwater_server.assistant.budget import estimated_tokens, kept_for_output
from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.protocol import GenerateRequest, Message, Model, Role, Sampling
from headwater_server.assistant.service import open_assistants
from headwater_server.errors import InvalidRequest, Reason
from tests.assistant.asking import CALLER, Heard, a_request, ask
from tests.assistant.cores import KEY, core_at
from tests.assistant.fake_provider import Canned, event, fake_provider
from tests.assistant.talking import Api

pytestmark = pytest.mark.anyio


def started(**usage: int) -> bytes:
    return event({"type": "message_start", "message": {"model": "claude-x-1", "usage": {"input_tokens": 9, **usage}}})


def block(index: int, *deltas: dict[str, object], kind: str = "text") -> list[bytes]:
    return [
        event({"type": "content_block_start", "index": index, "content_block": {"type": kind}}),
        *(event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
        event({"type": "content_block_stop", "index": index}),
    ]


def text(words: str) -> dict[str, object]:
    return {"type": "text_delta", "text": words}


def citing(index: int, words: str) -> dict[str, object]:
    location = {"type": "char_location", "document_index": index, "cited_text": words, "file_id": None}
    return {"type": "citations_delta", "citation": location}


def stopped(reason: str | None = "end_turn", **usage: int) -> list[bytes]:
    return [
        event({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3, **usage}}),
        event({"type": "message_stop"}),
    ]


API = Api("anthropic", [started(), *block(0, text("ok")), *stopped()])


async def test_text_thinking_usage_and_model_are_read() -> None:
    thinking = block(0, {"type": "thinking_delta", "thinking": "Hm. "}, {"type": "signature_delta"}, kind="thinking")
    talk = await API.talk(
        [
            started(cache_read_input_tokens=4, output_tokens=1),
            b'event: ping\ndata: {"type": "ping"}\n\n',
            *thinking,
            *block(1, text("Hel"), text("lo")),
            *stopped(input_tokens=11),
        ]
    )
    assert (talk.heard.text, talk.heard.reasoning) == ("Hello", "Hm. ")
    answer = talk.heard.answer
    assert answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert answer.model_version == "claude-x-1"
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cached_input_tokens) == (11, 3, 4)
    assert answer.usage.origin == answer_pb2.USAGE_ORIGIN_REPORTED


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", answer_pb2.FINISH_REASON_STOP),
        ("stop_sequence", answer_pb2.FINISH_REASON_STOP_SEQUENCE),
        ("max_tokens", answer_pb2.FINISH_REASON_MAX_TOKENS),
        ("model_context_window_exceeded", answer_pb2.FINISH_REASON_CONTEXT_LIMIT),
        ("refusal", answer_pb2.FINISH_REASON_CONTENT_FILTER),
        ("pause_turn", answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
        ("something new", answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
        (None, answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
    ],
)
async def test_stop_reasons_are_translated_and_unknown_ones_are_never_a_stop(reason: str | None, expected: int) -> None:
    talk = await API.talk([started(), *block(0, text("a")), *stopped(reason)])
    assert talk.heard.answer.finish_reason == expected


async def test_only_message_stop_ends_an_answer() -> None:
    heard = Heard()
    error = await API.failure([started(), *block(0, text("part")), stopped()[0]], heard)
    assert error.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "part"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("overloaded_error", Reason.PROVIDER_UNAVAILABLE),
        ("api_error", Reason.PROVIDER_UNAVAILABLE),
        ("rate_limit_error", Reason.PROVIDER_RATE_LIMITED),
        ("authentication_error", Reason.PROVIDER_UNAUTHENTICATED),
        ("invalid_request_error", Reason.PROVIDER_REJECTED),
    ],
)
async def test_an_error_in_mid_stream_has_its_reason_and_the_part_is_kept(kind: str, reason: Reason) -> None:
    heard = Heard()
    body = b"event: error\n" + event({"type": "error", "error": {"type": kind, "message": f"no: {KEY}"}})
    error = await API.failure([started(), *block(0, text("part")), body], heard)
    assert error.reason is reason
    assert heard.text == "part"


async def test_a_prompt_that_is_too_long_says_so() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 2 tokens > 1"}}'
    error = await API.failure(Canned([body], status=400))
    assert error.reason is Reason.CONTEXT_TOO_LARGE


async def test_a_call_of_a_tool_is_refused_and_the_providers_own_tools_are_read_past() -> None:
    error = await API.failure([started(), *block(0, kind="tool_use"), *stopped("tool_use")])
    assert error.reason is Reason.PROVIDER_PROTOCOL
    assert "tool" in error.message
    own = [*block(0, {"type": "input_json_delta"}, kind="server_tool_use"), *block(1, kind="web_search_tool_result")]
    assert (await API.talk([started(), *own, *block(2, text("ok")), *stopped()])).heard.text == "ok"


async def test_sources_go_as_documents_and_come_back_as_citations() -> None:
    talk = await API.talk(
        [
            started(),
            *block(0, text("Möwen: ")),
            *block(1, text("gulls eat "), text("fish. "), citing(1, "Gulls eat fish."), citing(0, "no such words")),
            *block(2, text("Bye.")),
            *stopped(),
        ],
        sources=["Owls eat mice.", "Some say: Gulls eat fish."],
    )
    content = talk.body["messages"][-1]["content"]  # type: ignore[index]  # a JSON document
    assert [part["type"] for part in content] == ["document", "document", "text"]
    assert content[1]["source"]["data"] == "Some say: Gulls eat fish."
    assert content[1]["citations"] == {"enabled": True}
    assert content[2]["text"] == "Hello?"
    assert "[1]" not in str(talk.body["system"])
    assert talk.heard.text == "Möwen: gulls eat fish. Bye."
    assert talk.heard.spans == [("gulls eat fish.", ["2", "1"])]
    assert [item.quote for item in talk.heard.citations[0].evidence] == ["Gulls eat fish.", ""]


async def test_a_web_page_is_cited_only_where_a_source_is_the_same() -> None:
    location: dict[str, object] = {
        "type": "web_search_result_location",
        "url": "https://x/y",
        "cited_text": "Gulls eat...",
    }
    cited: dict[str, object] = {"type": "citations_delta", "citation": location}
    pieces = [started(), *block(0, text("Gulls eat fish."), cited), *stopped()]
    assert (await API.talk(pieces, sources=["Gulls eat fish."])).heard.spans == [("Gulls eat fish.", ["1"])]
    assert (await API.talk(pieces, sources=["Owls eat mice."])).heard.citations == []


async def test_a_server_that_cannot_cite_is_asked_for_markers() -> None:
    pieces = [started(), *block(0, text("Gulls eat fish [1].")), *stopped()]
    talk = await API.talk(pieces, sources=["Gulls eat fish."], options={"native_citations": False})
    assert isinstance(talk.body["messages"][-1]["content"], str)  # type: ignore[index]  # a JSON document
    assert talk.heard.text == "Gulls eat fish."
    assert talk.heard.spans == [("Gulls eat fish", ["1"])]


async def test_a_request_is_as_the_api_wants_it() -> None:
    request = a_request(
        "And now?",
        assistant="fake/m",
        history=[
            chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text="Hello?"),
            chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_ASSISTANT, text="Hi."),
            chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text=" "),
        ],
        generation={
            "instructions": "Be brief.",
            "max_output_tokens": 5,
            "temperature": 0.5,
            "top_p": 0.25,
            "stop_sequences": ["END"],
            "provider_options": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        },
    )
    talk = await API.asked(request, Canned(API.an_answer))
    assert talk.path == "/v1/messages"
    assert talk.headers["x-api-key"] == KEY
    assert "authorization" not in talk.headers
    assert talk.headers["anthropic-version"] == "2023-06-01"
    assert talk.body == {
        "model": "m",
        "stream": True,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Hello?"},
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": "And now?"},
        ],
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.25,
        "stop_sequences": ["END"],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }


@pytest.mark.parametrize(
    ("generation", "field"),
    [
        ({"seed": 1}, "generation.seed"),
        ({"temperature": 1.5}, "generation.temperature"),
        ({"provider_options": {"tools": []}}, "generation.provider_options.tools"),
        ({"provider_options": {"system": "x"}}, "generation.provider_options.system"),
        ({"provider_options": {"stream": False}}, "generation.provider_options.stream"),
        ({"provider_options": {"messages": []}}, "generation.provider_options.messages"),
        ({"provider_options": {"mcp_servers": []}}, "generation.provider_options.mcp_servers"),
    ],
)
async def test_what_the_api_has_not_or_is_not_the_callers_is_refused(generation: dict[str, object], field: str) -> None:
    assert (await API.refusal(**generation)).violations[0].field == field


async def test_models_are_listed() -> None:
    listed = await API.models({"data": [{"id": "claude-x", "display_name": "Claude X", "max_input_tokens": 200_000}]})
    assert listed == [("claude-x", "Claude X", 200_000)]


async def test_a_setting_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"assistants\.fake\.citations: not a setting of anthropic"):
        await API.talk(options={"citations": True})
    with pytest.raises(ValueError, match="must be true or false"):
        await API.talk(options={"native_citations": "yes"})


@pytest.mark.parametrize(
    ("model", "continues"),
    [
        ("claude-3-haiku-20240307", True),
        ("claude-3-7-sonnet-latest", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-haiku-4-5", True),
        ("claude-opus-4-6", False),
        ("claude-sonnet-4-50", False),
        ("claude-sonnet-5", False),
        ("another", False),
    ],
)
async def test_only_models_that_take_a_part_of_their_answer_go_on_from_it(model: str, continues: bool) -> None:
    async with core_at("http://127.0.0.1:1", api="anthropic") as core:
        found = await core.get_assistant(assistant_service_pb2.GetAssistantRequest(name=f"fake/{model}"), CALLER)
    assert found.continues_prefix is continues


async def test_a_model_goes_on_from_its_part_with_new_citations_at_their_place() -> None:
    said = "Möwen fly. "
    request = a_request(
        "Hello?",
        assistant="fake/claude-3-haiku",
        sources=["Gulls eat fish."],
        prefix={"text": said, "citations": []},
        generation={"max_output_tokens": 100},
    )
    pieces = [
        started(),
        *block(0, text(" "), text(" Gulls"), text(" eat fish."), citing(0, "Gulls eat fish.")),
        *stopped(),
    ]
    async with fake_provider() as provider, core_at(provider.url, api="anthropic") as core:
        provider.canned = Canned(pieces)
        chunks = [chunk async for chunk in core.stream_generate(request, CALLER)]
    body = provider.requests[0][2]
    assert isinstance(body, dict)
    assert body["messages"][-1] == {"role": "assistant", "content": "Möwen fly."}
    assert body["max_tokens"] == 97
    assert "".join(chunk.text.text for chunk in chunks) == "Gulls eat fish."
    citations = [chunk.citation for chunk in chunks if chunk.HasField("citation")]
    whole = (said + "Gulls eat fish.").encode()
    assert [whole[item.start_byte : item.end_byte] for item in citations] == [b"Gulls eat fish."]


async def test_a_model_that_thinks_first_does_not_go_on() -> None:
    options = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    request = a_request(
        "?", assistant="fake/claude-3-haiku", prefix={"text": "x"}, generation={"provider_options": options}
    )
    with pytest.raises(InvalidRequest, match="prefix"):
        await API.asked(request, Canned(API.an_answer))


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-3-haiku-20240307", 4096),
        ("claude-3-opus-latest", 4096),
        ("claude-3-5-haiku-latest", 8192),
        ("claude-sonnet-4-5", 8192),
    ],
)
async def test_by_default_no_model_is_asked_for_more_than_it_writes(model: str, limit: int) -> None:
    talk = await API.asked(a_request("Hello?", assistant=f"fake/{model}"), Canned(API.an_answer))
    assert talk.body["max_tokens"] == limit


@pytest.mark.parametrize(
    ("context", "most", "limit"),
    [
        (200_000, 64_000, 50_000),
        (200_000, 8_192, 8_192),
        (8_192, None, 2_048),
        (200_000, None, 4_096),
    ],
)
def test_no_more_is_asked_for_than_the_prompt_leaves_room_for(context: int, most: int | None, limit: int) -> None:
    model = Model("claude-sonnet-4-5", context_tokens=context, max_output_tokens=most)
    request = GenerateRequest("?", "", [Message(Role.USER, "?")])
    assert limit <= kept_for_output(model)
    assert message_document(request, model=model, sources=[])["max_tokens"] == limit
    wanted = replace(request, sampling=Sampling(max_output_tokens=limit + 1))
    assert message_document(wanted, model=model, sources=[])["max_tokens"] == limit + 1


async def test_a_prompt_that_fills_its_room_and_the_limit_fit_into_the_context_together() -> None:
    """The largest prompt that is let through leaves as much as is asked for."""
    table = NamedProvider(api="anthropic", api_key="k", context_tokens=8192, options={"native_citations": False})
    async with fake_provider() as provider:
        config = AssistantConfig(
            providers={"fake": replace(table, base_url=provider.url.removesuffix("/v1"))}, environ={}
        )
        provider.canned = Canned(API.an_answer)
        async with open_assistants(config) as core:
            sources = ["Gulls fly. " * 300] * 20
            await ask(core, a_request("Do they?", assistant="fake/claude-sonnet-4-5", sources=sources))
    body = provider.requests[-1][2]
    assert isinstance(body, dict)
    prompt = estimated_tokens(body["system"]) + estimated_tokens(body["messages"][0]["content"])
    assert 4096 < prompt <= 8192 - body["max_tokens"]
