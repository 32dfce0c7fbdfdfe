"""What holds for every API that is spoken over HTTP, whatever its form."""

from __future__ import annotations

import json

import anyio
import pytest

from headwater_server.assistant.registry import HTTP_APIS
from headwater_server.errors import Reason, ServiceError
from tests.assistant.asking import CALLER, Heard, a_request, ask
from tests.assistant.cores import KEY, core_at
from tests.assistant.fake_provider import HANG, Canned, chat_event, event, fake_provider

pytestmark = pytest.mark.anyio

ME = "fake/some-model"
FIRST_PIECE = {
    "anthropic": event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "part"}}),
    "azure-openai": chat_event(delta={"content": "part"}),
    "cohere": event({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "part"}}}}),
    "deepseek": chat_event(delta={"content": "part"}),
    "gemini": event({"candidates": [{"content": {"parts": [{"text": "part"}]}}]}),
    "mistral": chat_event(delta={"content": "part"}),
    "ollama": b'{"message": {"content": "part"}, "done": false}\n',
    "openai-chat": chat_event(delta={"content": "part"}),
    "openai-responses": event({"type": "response.output_text.delta", "delta": "part"}),
    "perplexity": chat_event(delta={"content": "part"}),
}
APIS = sorted(FIRST_PIECE)


async def failure(api: str, canned: Canned, heard: Heard | None = None) -> ServiceError:
    async with fake_provider() as provider, core_at(provider.url, api=api) as core:
        provider.canned = canned
        with pytest.raises(ServiceError) as raised:
            await ask(core, a_request("Hello?", assistant=ME), heard)
        assert len(provider.requests) == 1
    return raised.value


def test_all_apis_are_tried_here() -> None:
    assert set(APIS) == set(HTTP_APIS)


@pytest.mark.parametrize("api", APIS)
async def test_the_key_is_in_no_error_no_log_and_no_representation(
    api: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    said = f"the key {KEY} and the bearer {KEY[:12]}******* at https://user:{KEY}@x/y?key={KEY} are wrong"
    told: list[ServiceError] = []
    for status in (400, 401, 403, 404, 429, 500, 503):
        body = json.dumps({"error": {"message": said, "code": status}, "message": said}).encode()
        told.append(await failure(api, Canned([body], status=status)))
    told.append(await failure(api, Canned([f"<html>{said}</html>".encode()], status=502)))
    in_stream = event({"type": "error", "error": {"message": said, "type": "api_error"}})
    piece = in_stream.removeprefix(b"data: ") if api == "ollama" else in_stream
    told.append(await failure(api, Canned([FIRST_PIECE[api], piece])))
    for error in told:
        assert KEY not in f"{error!r} {vars(error)!r} {error.__cause__!r} {error.__context__!r}"
        assert "https://" not in error.message
    async with core_at("http://127.0.0.1:9", api=api) as core:
        shown = [core, *vars(core).values(), core._registry.provider("fake"), core._registry.assistant(ME)]
        assert KEY not in " ".join(map(repr, shown))
        with pytest.raises(ServiceError) as raised:
            await ask(core, a_request("Hello?", assistant=ME))
        assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE
    written = capfd.readouterr()
    assert KEY not in written.out + written.err + caplog.text


@pytest.mark.parametrize("api", APIS)
async def test_a_redirect_is_not_followed(api: str) -> None:
    async with fake_provider() as elsewhere:
        error = await failure(api, Canned(status=307, headers=[f"location: {elsewhere.url}/elsewhere"]))
        assert error.reason is Reason.PROVIDER_PROTOCOL
        assert not elsewhere.requests


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.PROVIDER_REJECTED),
        (401, Reason.PROVIDER_UNAUTHENTICATED),
        (429, Reason.PROVIDER_RATE_LIMITED),
        (503, Reason.PROVIDER_UNAVAILABLE),
    ],
)
async def test_a_status_has_its_reason_whether_its_body_is_json_or_a_page(
    api: str, status: int, reason: Reason
) -> None:
    for body in (b'{"error": {"message": "no"}}', b"<html><body>no</body></html>", b""):
        error = await failure(api, Canned([body] if body else [], status=status, headers=["retry-after: 7"]))
        assert error.reason is reason
        assert error.retry_after == (7 if status in {429, 503} else None)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "piece", [b"x" * 1_100_000, b"\xff\xfe\n\n", b"data: \xc3\x28\n\n"], ids=["long", "utf", "cut"]
)
async def test_what_is_not_the_protocol_is_an_error_and_the_part_is_kept(api: str, piece: bytes) -> None:
    heard = Heard()
    error = await failure(api, Canned([FIRST_PIECE[api], piece]), heard)
    assert error.reason in {Reason.PROVIDER_PROTOCOL, Reason.PROVIDER_TRUNCATED}
    assert heard.text == "part"


@pytest.mark.parametrize("api", APIS)
async def test_a_connection_that_breaks_off_is_truncated_and_the_part_is_kept(api: str) -> None:
    heard = Heard()
    error = await failure(api, Canned([FIRST_PIECE[api]], length=len(FIRST_PIECE[api]) + 9), heard)
    assert error.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "part"


@pytest.mark.parametrize("api", APIS)
async def test_leaving_an_answer_closes_its_connection_at_once(api: str) -> None:
    async with fake_provider() as provider, core_at(provider.url, api=api) as core:
        provider.canned = Canned([FIRST_PIECE[api], HANG])
        chunks = core.stream_generate(a_request("Hello?", assistant=ME), CALLER)
        assert (await anext(chunks)).text.text == "part"
        await chunks.aclose()
        with anyio.fail_after(10):
            await provider.gone.wait()


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", ["tools", "tool_choice"])
async def test_no_caller_offers_tools(api: str, name: str) -> None:
    async with fake_provider() as provider, core_at(provider.url, api=api) as core:
        request = a_request("?", assistant=ME, generation={"provider_options": {name: True}})
        with pytest.raises(ServiceError) as raised:
            await ask(core, request)
        assert raised.value.reason is Reason.INVALID_FIELD
        assert not provider.requests


ROUTING = ["api_base", "base_url", "API-Key", "extra_headers", "headers", "organization", "fallbacks", "vertex_project"]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", [*ROUTING, "custom_llm_provider", "aws_secret_access_key", "user_config"])
async def test_no_caller_says_where_a_request_goes_or_with_which_key(api: str, name: str) -> None:
    async with fake_provider() as provider, core_at(provider.url, api=api) as core:
        request = a_request("?", assistant=ME, generation={"provider_options": {name: "http://elsewhere.example"}})
        with pytest.raises(ServiceError) as raised:
            await ask(core, request)
        assert raised.value.reason is Reason.INVALID_FIELD
        assert raised.value.violations[0].field == f"generation.provider_options.{name}"
        assert not provider.requests


OTHER_NAMES = {
    "anthropic": ("max_tokens", "max_tokens_to_sample"),
    "azure-openai": ("max_completion_tokens", "max_tokens"),
    "cohere": ("max_tokens", "max_output_tokens"),
    "deepseek": ("max_tokens", "max_completion_tokens"),
    "mistral": ("max_tokens", "max_completion_tokens"),
    "openai-chat": ("max_tokens", "max_completion_tokens"),
    "openai-responses": ("max_output_tokens", "max_completion_tokens"),
    "perplexity": ("max_tokens", "max_completion_tokens"),
}


@pytest.mark.parametrize("api", OTHER_NAMES)
async def test_a_limit_that_is_set_is_not_set_again_by_another_name(api: str) -> None:
    for name in OTHER_NAMES[api]:
        async with fake_provider() as provider, core_at(provider.url, api=api) as core:
            generation = {"max_output_tokens": 5, "provider_options": {name: 7}}
            with pytest.raises(ServiceError) as raised:
                await ask(core, a_request("?", assistant=ME, generation=generation))
            assert raised.value.reason is Reason.INVALID_FIELD
            assert not provider.requests


@pytest.mark.parametrize(("api", "field"), [("gemini", "generationConfig"), ("ollama", "options")])
@pytest.mark.parametrize("name", ["top_p", "topP", "max_output_tokens", "num_predict", "maxOutputTokens"])
async def test_nor_is_it_in_a_field_of_the_providers_own(api: str, field: str, name: str) -> None:
    async with fake_provider() as provider, core_at(provider.url, api=api) as core:
        generation = {"max_output_tokens": 5, "top_p": 0.5, "provider_options": {field: {name: 0.7}}}
        with pytest.raises(ServiceError) as raised:
            await ask(core, a_request("?", assistant=ME, generation=generation))
        assert raised.value.reason is Reason.INVALID_FIELD
        assert not provider.requests


@pytest.mark.parametrize("api", sorted(set(APIS) - {"ollama"}))
@pytest.mark.parametrize("body", [b'{"message": "welcome"}', b"<html>Sign in: here</html>\n"])
async def test_a_document_in_place_of_a_stream_is_a_broken_protocol(api: str, body: bytes) -> None:
    for headers in (["content-type: text/html"], ["content-type: text/event-stream"]):
        assert (await failure(api, Canned([body], headers=headers))).reason is Reason.PROVIDER_PROTOCOL


ERRORS_IN_PLACE = [
    (
        {"error": {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "w"}},
        Reason.PROVIDER_RATE_LIMITED,
    ),
    ({"error": {"code": 429, "message": "w"}}, Reason.PROVIDER_RATE_LIMITED),
    ({"error": {"code": "context_length_exceeded", "message": "w"}}, Reason.CONTEXT_TOO_LARGE),
    ({"error": {"code": "invalid_api_key", "message": ""}}, Reason.PROVIDER_UNAUTHENTICATED),
    ({"error": "w"}, Reason.PROVIDER_UNAVAILABLE),
]


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(("document", "reason"), ERRORS_IN_PLACE)
async def test_an_error_in_place_of_a_stream_is_the_providers_error(
    api: str, document: dict[str, object], reason: Reason
) -> None:
    error = await failure(api, Canned([json.dumps(document).encode()], headers=["content-type: application/json"]))
    assert error.reason is reason
    if reason is not Reason.PROVIDER_UNAUTHENTICATED:
        assert error.message.endswith(": w")


@pytest.mark.parametrize("api", sorted(set(APIS) - {"ollama"}))
async def test_an_error_on_many_lines_is_one_too(api: str) -> None:
    body = json.dumps({"error": {"code": 503, "message": "w"}}, indent=1).encode()
    assert (await failure(api, Canned([body[:9], body[9:]]))).reason is Reason.PROVIDER_UNAVAILABLE


@pytest.mark.parametrize("api", sorted(set(APIS) - {"ollama"}))
@pytest.mark.parametrize(
    "data", [b"the model fell over", b'"the model fell over"', b'{"message": "the model fell over"}']
)
async def test_an_event_of_an_error_may_hold_plain_words(api: str, data: bytes) -> None:
    heard = Heard()
    error = await failure(api, Canned([FIRST_PIECE[api], b"event: error\ndata: " + data + b"\n\n"]), heard)
    assert error.reason is Reason.PROVIDER_UNAVAILABLE
    assert error.message.endswith(": the model fell over")
    assert heard.text == "part"


@pytest.mark.parametrize("api", APIS)
async def test_another_content_type_than_the_right_one_is_read_all_the_same(api: str) -> None:
    heard = Heard()
    canned = Canned([FIRST_PIECE[api], b"x"], headers=["content-type: application/json"])
    await failure(api, canned, heard)
    assert heard.text == "part"


LISTS = {
    "anthropic": {"data": [{"id": "some-model", "max_input_tokens": 1000, "max_tokens": 77}]},
    "cohere": {"models": [{"name": "some-model", "context_length": 1000}]},
    "gemini": {"models": [{"name": "models/some-model", "inputTokenLimit": 1000}]},
    "mistral": {"data": [{"id": "some-model", "max_context_length": 1000}]},
    "openai-chat": {"data": [{"id": "some-model", "context_length": 1000}]},
    "openai-responses": {"data": [{"id": "some-model", "max_model_len": 1000}]},
}


@pytest.mark.parametrize("api", LISTS)
async def test_a_context_that_a_provider_lists_is_kept_to_by_whoever_asks_first(api: str) -> None:
    async with fake_provider() as provider, core_at(provider.url, api=api) as core:
        provider.canned = Canned([json.dumps(LISTS[api]).encode()], headers=["content-type: application/json"])
        for _ in range(2):
            with pytest.raises(ServiceError) as raised:
                await ask(core, a_request("why " * 3000, assistant=ME))
            assert raised.value.reason is Reason.CONTEXT_TOO_LARGE
            assert raised.value.metadata["context_tokens"] == "1000"
        assert [line.split()[0] for line, _, _ in provider.requests] == ["GET"]  # once, and never the prompt
