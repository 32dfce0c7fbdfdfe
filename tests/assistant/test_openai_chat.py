from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import anyio
import pytest

from headwater.v1 import answer_pb2, chat_pb2, generation_pb2
from headwater_server.errors import InvalidRequest, Reason, ServiceError
from tests.assistant.asking import CALLER, Heard, a_request, ask
from tests.assistant.cores import KEY, core_at
from tests.assistant.fake_provider import HANG, Canned, chat_event, event, fake_provider, said

pytestmark = pytest.mark.anyio

ME = "fake/some/model"


async def answer_to(pieces: list[bytes], options: Mapping[str, object] | None = None) -> Heard:
    async with fake_provider() as provider, core_at(provider.url, options=options) as core:
        provider.canned = Canned(pieces)
        return await ask(core, a_request("Hello?", assistant=ME))


async def failure_of(canned: Canned | list[bytes], heard: Heard | None = None) -> ServiceError:
    async with fake_provider() as provider, core_at(provider.url) as core:
        provider.canned = canned if isinstance(canned, Canned) else Canned(canned)
        with pytest.raises(ServiceError) as raised:
            await ask(core, a_request("Hello?", assistant=ME), heard)
    assert raised.value.metadata["provider"] == "fake"
    assert KEY not in repr(vars(raised.value))
    return raised.value


async def body_of(
    generation: generation_pb2.GenerationOptions, options: Mapping[str, object] | None = None
) -> dict[str, object]:
    async with fake_provider() as provider, core_at(provider.url, options=options) as core:
        provider.canned = Canned(said("ok"))
        await ask(core, a_request("Hello?", assistant=ME, generation=generation))
    body = provider.requests[0][2]
    assert isinstance(body, dict)
    return body


async def test_an_answer_comes_piece_by_piece_and_ends_with_what_the_provider_reported() -> None:
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    pieces = [
        chat_event(delta={"role": "assistant", "content": ""}),
        chat_event(delta={"reasoning_content": "Hm. "}),
        chat_event(delta={"reasoning": "Well."}),
        *said("Hel", "lo ", "you", done=False),
        event({"choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    ]
    heard = await answer_to(pieces)
    assert heard.pieces == ["Hel", "lo ", "you"]
    assert (heard.text, heard.reasoning) == ("Hello you", "Hm. Well.")
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.answer.assistant == "assistants/fake/some/model"
    assert heard.answer.model_version == "m-2026-01-01"
    expected = answer_pb2.Usage(
        input_tokens=11,
        output_tokens=7,
        cached_input_tokens=3,
        reasoning_tokens=2,
        origin=answer_pb2.USAGE_ORIGIN_REPORTED,
    )
    assert heard.answer.usage == expected


async def test_usage_that_is_not_reported_is_estimated_and_says_so() -> None:
    heard = await answer_to(said("twelve bytes", finish="stop"))
    assert heard.answer.usage.origin == answer_pb2.USAGE_ORIGIN_ESTIMATED
    assert heard.answer.usage.output_tokens == 3
    assert heard.answer.usage.input_tokens > 0


async def test_usage_without_the_counts_that_matter_is_estimated_too() -> None:
    heard = await answer_to([event({"choices": [], "usage": {"total_tokens": 12}}), *said("twelve bytes")])
    assert heard.answer.usage.origin == answer_pb2.USAGE_ORIGIN_ESTIMATED
    assert heard.answer.usage.output_tokens == 3
    heard = await answer_to([event({"choices": [], "usage": {"completion_tokens": 7}}), *said("twelve bytes")])
    assert heard.answer.usage == answer_pb2.Usage(output_tokens=7, origin=answer_pb2.USAGE_ORIGIN_REPORTED)


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", answer_pb2.FINISH_REASON_STOP),
        ("length", answer_pb2.FINISH_REASON_MAX_TOKENS),
        ("content_filter", answer_pb2.FINISH_REASON_CONTENT_FILTER),
        ("model_length", answer_pb2.FINISH_REASON_CONTEXT_LIMIT),
        ("something new", answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
        (None, answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN),
    ],
)
async def test_finish_reasons_are_translated_and_unknown_ones_are_never_a_stop(
    finish: str | None, expected: int
) -> None:
    assert (await answer_to(said("a", finish=finish))).answer.finish_reason == expected


async def test_a_stop_sequence_is_told_apart_where_the_server_says_so() -> None:
    pieces = [chat_event(delta={"content": "a"}, finish_reason="stop", stop_reason="END"), b"data: [DONE]\n\n"]
    assert (await answer_to(pieces)).answer.finish_reason == answer_pb2.FINISH_REASON_STOP_SEQUENCE


async def test_a_stream_without_its_end_is_truncated_and_its_part_is_kept() -> None:
    heard = Heard()
    error = await failure_of(said("part [", finish="stop", done=False), heard)
    assert error.reason is Reason.PROVIDER_TRUNCATED
    assert heard.text == "part ["


async def test_a_provider_known_to_omit_the_end_may_end_with_its_finish_reason() -> None:
    options = {"ends_without_done": True}
    heard = await answer_to(said("all", done=False), options=options)
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    with pytest.raises(ServiceError):
        await answer_to(said("all", finish=None, done=False), options=options)


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        (b"data: {not json\n\n", Reason.PROVIDER_PROTOCOL),
        (b"data: \xff\n\n", Reason.PROVIDER_PROTOCOL),
        (b"data: " + b"[" * 100_000 + b"\n\n", Reason.PROVIDER_PROTOCOL),
        (b"data: 5\n\n", Reason.PROVIDER_PROTOCOL),
        (chat_event(delta={"tool_calls": [{"index": 0}]}), Reason.PROVIDER_PROTOCOL),
        (chat_event(delta={}, finish_reason="tool_calls"), Reason.PROVIDER_PROTOCOL),
        (event({"error": {"message": "overloaded", "type": "server_error"}}), Reason.PROVIDER_UNAVAILABLE),
        (event({"error": {"message": "slow down", "code": 429}}), Reason.PROVIDER_RATE_LIMITED),
        (event({"error": {"message": "who?", "code": "invalid_api_key"}}), Reason.PROVIDER_UNAUTHENTICATED),
        (event({"error": "what?"}), Reason.PROVIDER_UNAVAILABLE),
        (event({"error": {"code": "context_length_exceeded"}}), Reason.CONTEXT_TOO_LARGE),
        (b'event: error\ndata: {"message": "bad", "code": 400}\n\n', Reason.PROVIDER_REJECTED),
        (chat_event(delta={}, finish_reason="error") + b"data: [DONE]\n\n", Reason.PROVIDER_TRUNCATED),
        (chat_event(delta={}, error={"code": 502}, finish_reason=None), Reason.PROVIDER_UNAVAILABLE),
        (chat_event(delta={}, error={"code": 401}, finish_reason="error"), Reason.PROVIDER_UNAUTHENTICATED),
        (chat_event(delta={}, error={"code": 429}, finish_reason="error"), Reason.PROVIDER_RATE_LIMITED),
        (event({"object": "error", "message": "bad", "code": 400}), Reason.PROVIDER_REJECTED),
    ],
)
async def test_an_error_in_the_stream_is_an_error_with_its_reason_and_the_part_is_kept(
    piece: bytes, reason: Reason
) -> None:
    heard = Heard()
    error = await failure_of([*said("part", finish=None, done=False), piece], heard)
    assert error.reason is reason
    assert heard.text == "part"


async def test_odd_but_harmless_events_are_read_past() -> None:
    pieces = [
        event({"choices": None}),
        event({"choices": [{"index": 0, "delta": None}]}),
        event({"choices": [{"index": 1, "delta": {"content": "another choice"}}]}),
        event(
            {
                "choices": [{"delta": {"content": None, "refusal": None}}],
                "usage": {"prompt_tokens": -1, "completion_tokens": "many"},
            }
        ),
        *said("ok"),
        chat_event(delta={"content": "after the end"}),
    ]
    heard = await answer_to(pieces)
    assert heard.text == "ok"
    assert heard.answer.usage.origin == answer_pb2.USAGE_ORIGIN_ESTIMATED


async def test_a_refusal_is_said_and_counts_as_declined() -> None:
    heard = await answer_to([chat_event(delta={"refusal": "I can't."}), *said()])
    assert heard.text == "I can't."
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_ABSTAINED
    assert heard.answer.abstain_reason == answer_pb2.ABSTAIN_REASON_ASSISTANT_DECLINED


async def test_a_prompt_that_the_filter_refused_is_an_answer_without_text() -> None:
    async with fake_provider() as provider, core_at(provider.url) as core:
        body = json.dumps({"error": {"code": "content_filter", "message": "no"}}).encode()
        provider.canned = Canned([body], status=400, headers=())
        heard = await ask(core, a_request("Hello?", assistant=ME))
    assert (heard.text, heard.answer.finish_reason) == ("", answer_pb2.FINISH_REASON_CONTENT_FILTER)


async def test_a_prompt_that_does_not_fit_the_model_is_too_large() -> None:
    message = "This model's maximum context length is 8192 tokens."
    body = json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()
    error = await failure_of(Canned([body], status=400, headers=()))
    assert error.reason is Reason.CONTEXT_TOO_LARGE
    assert message in error.message


async def test_a_character_cut_between_two_events_comes_out_whole() -> None:
    pieces = [
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ude00!"}}]}\n\n',
    ]
    assert (await answer_to([*pieces, *said()])).text == "😀!"


async def test_think_tags_are_text_unless_the_settings_say_otherwise() -> None:
    pieces = said("<thi", "nk>so</th", "ink>\n\nYes")
    assert (await answer_to(pieces)).text == "<think>so</think>\n\nYes"
    heard = await answer_to(pieces, options={"think_tags": True})
    assert (heard.reasoning, heard.text) == ("so", "Yes")


async def test_content_in_parts_is_text_and_thinking() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    pieces = [chat_event(delta={"content": [thinking, {"type": "text", "text": "Yes"}]}), *said()]
    heard = await answer_to(pieces)
    assert (heard.reasoning, heard.text) == ("Hm.", "Yes")


async def test_sampling_settings_are_passed_on_and_provider_options_added() -> None:
    options = generation_pb2.GenerationOptions(
        max_output_tokens=9, temperature=0.0, top_p=0.5, stop_sequences=["END"], seed=4, instructions="Be brief."
    )
    options.provider_options.update({"top_k": 5, "logit_bias": {"7": -1.5}})
    body = await body_of(options)
    messages = body.pop("messages")
    assert body == {
        "model": "some/model",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["END"],
        "seed": 4,
        "top_k": 5,
        "logit_bias": {"7": -1.5},
    }
    assert messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]


async def test_the_servers_own_ways_are_settings() -> None:
    options = {"include_usage": False, "max_tokens_field": "max_completion_tokens"}
    body = await body_of(generation_pb2.GenerationOptions(max_output_tokens=9), options=options)
    assert "stream_options" not in body
    assert body["max_completion_tokens"] == 9


@pytest.mark.parametrize("name", ["messages", "stream", "model", "n", "tools", "stream_options", "temperature"])
async def test_provider_options_never_replace_what_headwater_sets(name: str) -> None:
    options = generation_pb2.GenerationOptions(temperature=1.0)
    options.provider_options.update({name: "x"})
    with pytest.raises(InvalidRequest) as raised:
        await body_of(options)
    assert raised.value.violations[0].field == f"generation.provider_options.{name}"


async def test_the_conversation_before_is_sent_as_it_was() -> None:
    async with fake_provider() as provider, core_at(provider.url) as core:
        provider.canned = Canned(said("ok"))
        history = [
            chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text="One?"),
            chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_ASSISTANT, text="One."),
        ]
        await ask(core, a_request("Two?", assistant=ME, history=history))
    body = provider.requests[0][2]
    assert isinstance(body, dict)
    assert [(m["role"], m["content"]) for m in body["messages"]] == [
        ("user", "One?"),
        ("assistant", "One."),
        ("user", "Two?"),
    ]


async def test_a_reader_that_leaves_the_answer_closes_the_providers_connection() -> None:
    async with fake_provider() as provider, core_at(provider.url) as core:
        provider.canned = Canned([*said("a", finish=None, done=False), HANG])
        chunks = core.stream_generate(a_request("Hello?", assistant=ME), CALLER)
        assert (await anext(chunks)).text.text == "a"
        await chunks.aclose()
        with anyio.fail_after(5):
            await provider.gone.wait()


async def test_a_cancelled_answer_closes_the_providers_connection() -> None:
    async with fake_provider() as provider, core_at(provider.url) as core:
        provider.canned = Canned([*said("a", finish=None, done=False), HANG])
        task = asyncio.create_task(ask(core, a_request("Hello?", assistant=ME)))
        await provider.asked.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with anyio.fail_after(5):
            await provider.gone.wait()


async def test_text_beyond_the_limit_ends_the_answer_and_the_providers_connection() -> None:
    async with fake_provider() as provider, core_at(provider.url) as core:
        provider.canned = Canned([*said(*["é" * 50_000] * 12, finish=None, done=False), HANG])
        heard = await ask(core, a_request("Hello?", assistant=ME))
        with anyio.fail_after(5):
            await provider.gone.wait()
    assert len(heard.text.encode()) == 1 << 20
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_MAX_TOKENS
    assert heard.answer.usage.partial


async def test_an_answer_does_not_wait_behind_hundreds_that_stand_still() -> None:
    async with fake_provider() as provider, core_at(provider.url) as core:
        provider.canned = Canned([*said("a", finish=None, done=False), HANG])
        standing = [core.stream_generate(a_request("Hello?", assistant=ME), CALLER) for _ in range(150)]
        with anyio.fail_after(30):
            assert {(await anext(chunks)).text.text for chunks in standing} == {"a"}
            provider.canned = Canned(said("b"))
            assert (await ask(core, a_request("Hello?", assistant=ME))).text == "b"
        for chunks in standing:
            await chunks.aclose()


async def test_answers_at_once_do_not_mix() -> None:
    async with fake_provider() as provider, core_at(provider.url) as core:
        provider.canned = Canned(said("a", "b"))
        heard = await asyncio.gather(*(ask(core, a_request("Hello?", assistant=ME)) for _ in range(100)))
    assert {one.text for one in heard} == {"ab"}


@pytest.mark.parametrize("piece", [b"", event({"detail": "Not here"}), event({"usage": {"prompt_tokens": 1}})])
async def test_an_end_without_an_answer_is_a_broken_protocol(piece: bytes) -> None:
    error = await failure_of([piece + b"data: [DONE]\n\n"])
    assert error.reason is Reason.PROVIDER_PROTOCOL


@pytest.mark.parametrize("index", [0, None])
async def test_a_choice_without_its_number_is_the_one_that_was_asked_for(index: int | None) -> None:
    choices = [{"index": index, "delta": {"content": "ok"}, "finish_reason": "stop"}, {"index": 1, "delta": {}}]
    heard = await answer_to([event({"choices": choices}), b"data: [DONE]\n\n"])
    assert (heard.text, heard.answer.finish_reason) == ("ok", answer_pb2.FINISH_REASON_STOP)


DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [chat_event(message={"content": "Möwen fly."}, finish_reason="stop")],
        [chat_event(message={"content": "Möwen fly."}), chat_event(delta={}, finish_reason="stop")],
        [chat_event(delta={}, message={"content": "Möwen fly."}, finish_reason="stop")],
        [chat_event(message={"role": "assistant"}), *said("Möwen ", "fly.", done=False)],
        [*said("Möwen", finish=None, done=False), chat_event(message={"content": "Möwen fly."}, finish_reason="stop")],
        [*said("Möwen fly.", finish=None), chat_event(message={"content": "Möwen fly."}, finish_reason="stop")],
        [*said("Möwen fly.", done=False), chat_event(message={"content": "Möwen fly."})],
        [*said("Möwen fly.\n", done=False), chat_event(message={"content": "Möwen fly."})],
        [chat_event(text="Möwen "), chat_event(text="fly.", finish_reason="stop")],
        [chat_event(delta={"content": ["Möwen ", {"text": "fly."}]}, finish_reason="stop")],
        [chat_event(delta={"content": {"type": "text", "text": "Möwen fly."}}, finish_reason="stop")],
    ],
)
async def test_text_that_does_not_come_in_pieces_is_read_where_it_is_plain_what_it_is(pieces: list[bytes]) -> None:
    pieces = [piece for piece in pieces if piece != DONE]
    heard = await answer_to([*pieces, DONE])
    assert heard.text.rstrip("\n") == "Möwen fly."
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP


@pytest.mark.parametrize(
    "last",
    [
        [chat_event(message={"content": "other"}, finish_reason="stop")],
        [chat_event(message={"content": "abc def"}), chat_event(message={"content": "abc def"}, finish_reason="stop")],
        [chat_event(message={"content": "abc def"}), chat_event(delta={"content": "more"})],
        [chat_event(delta={"content": 7})],
    ],
)
async def test_text_of_which_nobody_can_say_where_it_belongs_is_no_end(last: list[bytes]) -> None:
    heard = Heard()
    error = await failure_of([*said("abc", finish=None, done=False), *last, DONE], heard)
    assert error.reason is Reason.PROVIDER_PROTOCOL
    assert heard.text.startswith("abc")


async def test_a_message_in_place_of_a_piece_may_hold_reasoning_and_a_refusal_but_no_tool_call() -> None:
    message = {"reasoning_content": "Hm.", "refusal": "I can't."}
    heard = await answer_to([chat_event(message=message, finish_reason="stop"), DONE])
    assert (heard.text, heard.reasoning) == ("I can't.", "Hm.")
    assert heard.answer.abstain_reason == answer_pb2.ABSTAIN_REASON_ASSISTANT_DECLINED
    error = await failure_of([chat_event(message={"tool_calls": [{"id": "x"}]}), DONE])
    assert "tool" in error.message


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", 0), ("stop_sequences", ["x"]), ("temperature", 0.0), ("top_p", 0.0), ("max_output_tokens", 1)],
)
async def test_a_setting_that_a_server_is_said_to_lack_is_refused(field: str, value: object) -> None:
    generation = generation_pb2.GenerationOptions(**{field: value})  # type: ignore[arg-type]  # a field by its name
    with pytest.raises(InvalidRequest) as raised:
        await body_of(generation, {"lacks": [field]})
    assert raised.value.violations[0].field == f"generation.{field}"
    others = {"seed", "temperature", "top_p", "max_output_tokens", "stop_sequences"} - {field}
    assert await body_of(generation, {"lacks": sorted(others)})


async def test_a_router_is_told_to_ask_only_those_that_know_the_settings() -> None:
    options = {"require_parameters": True}
    body = await body_of(generation_pb2.GenerationOptions(seed=7), options)
    assert body["provider"] == {"require_parameters": True}
    more = generation_pb2.GenerationOptions(seed=7)
    more.provider_options.update({"provider": {"order": ["x"]}})
    assert (await body_of(more, options))["provider"] == {"require_parameters": True, "order": ["x"]}
    assert "provider" not in await body_of(generation_pb2.GenerationOptions(), options)
    more.provider_options.update({"provider": {"require_parameters": False}})
    with pytest.raises(InvalidRequest):
        await body_of(more, options)
