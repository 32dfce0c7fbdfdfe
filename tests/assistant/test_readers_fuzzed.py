"""Whatever a provider sends, a reader makes events of it that keep the rules, or an error that is expected."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater_server.assistant.anthropic import MessageStream
from headwater_server.assistant.cohere import ChatStream as CohereStream
from headwater_server.assistant.gemini import ContentStream
from headwater_server.assistant.ollama import LineStream
from headwater_server.assistant.openai_responses import ResponseStream
from headwater_server.assistant.openai_stream import ChatStream
from headwater_server.assistant.protocol import Cite, Event, Finished, FinishReason, Reasoning, Source, Text
from headwater_server.errors import ServiceError
from headwater_server.outgoing.provider_errors import ProviderErrors
from headwater_server.outgoing.sse import ServerSentEvent

ERRORS = ProviderErrors("fake")
SOURCES = [Source("1", "ab é", uri="https://x"), Source("2", "世😀")]


def of_events(make: Callable[[], Any]) -> Callable[[], tuple[Any, Callable[[bytes], Iterable[Event]]]]:
    def made() -> tuple[Any, Callable[[bytes], Iterable[Event]]]:
        reader = make()
        return reader, lambda data: reader.feed(ServerSentEvent(data))

    return made


def of_bytes(make: Callable[[], Any]) -> Callable[[], tuple[Any, Callable[[bytes], Iterable[Event]]]]:
    def made() -> tuple[Any, Callable[[bytes], Iterable[Event]]]:
        reader = make()
        return reader, reader.feed

    return made


READERS = {
    "anthropic": of_events(lambda: MessageStream(ERRORS, SOURCES)),
    "cohere": of_events(lambda: CohereStream(ERRORS, SOURCES)),
    "gemini": of_bytes(lambda: ContentStream(ERRORS, SOURCES)),
    "ollama": of_bytes(lambda: LineStream(ERRORS)),
    "openai-chat": of_events(lambda: ChatStream(ERRORS, think_tags=True)),
    "openai-responses": of_events(lambda: ResponseStream(ERRORS, SOURCES, max_output_tokens=3)),
}
KEYS = {
    "anthropic": "type index delta content_block text thinking citation cited_text document_index url message usage "
    "stop_reason model error input_tokens",
    "cohere": "type index delta message content text thinking citations start end sources id document content_index "
    "finish_reason usage tokens error",
    "gemini": "candidates content parts text thought finishReason groundingMetadata groundingChunks groundingSupports "
    "segment startIndex endIndex partIndex groundingChunkIndices web uri retrievedContext promptFeedback blockReason "
    "index error usageMetadata functionCall",
    "ollama": "message content thinking response done done_reason error tool_calls model eval_count",
    "openai-chat": "choices delta message content reasoning refusal finish_reason usage error index text type thinking "
    "model stop_reason prompt_tokens_details x_groq",
    "openai-responses": "type delta response annotation start_index end_index url item status usage error output_index "
    "content_index incomplete_details reason text refusal part item output content",
}
WORDS = {
    "anthropic": "content_block_delta content_block_start content_block_stop message_start message_delta message_stop "
    "text_delta thinking_delta citations_delta text end_turn tool_use error ping",
    "cohere": "content-delta content-start citation-start message-end COMPLETE ERROR TEXT_CONTENT 1 2",
    "gemini": "STOP FINISH_REASON_UNSPECIFIED SAFETY MAX_TOKENS https://x",
    "ollama": "stop length",
    "openai-chat": "stop length error text thinking <think> </think>",
    "openai-responses": "response.output_text.delta response.output_text.annotation.added response.completed "
    "response.failed response.incomplete response.output_item.added response.output_text.done response.refusal.done "
    "response.content_part.done response.output_item.done refusal message completed https://x error",
}


def documents(api: str) -> st.SearchStrategy[Any]:
    """Documents in the API's own words, in no order that means anything."""
    keys = st.sampled_from(KEYS[api].split())
    text = st.sampled_from([*WORDS[api].split(), "ab ", "é", "世", "\ud83d", "\ude00", "", "[1]", "\u2028"])
    leaves = text | st.integers(-2, 6) | st.booleans() | st.none() | st.just(1e400) | st.just(2**80)
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=8
    )
    plain = st.dictionaries(keys, values, max_size=6)
    first = st.sampled_from(WORDS[api].split())
    return plain | st.builds(lambda kind, rest: {**rest, "type": kind}, first, plain)


def read(api: str, items: Sequence[bytes]) -> list[Event]:
    """The events of a body, up to its end or an expected error."""
    reader, feed = READERS[api]()
    events: list[Event] = []
    try:
        for item in items:
            events += feed(item)
            if reader.done:
                break
        events += reader.finish()
    except ServiceError:
        pass
    return events


@pytest.mark.parametrize("api", READERS)
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_events_keep_the_rules_whatever_comes(api: str, data: st.DataObject) -> None:
    made = data.draw(st.lists(documents(api), max_size=8))
    events = read(api, [json.dumps(document).encode() for document in made])
    size = 0
    for place, event in enumerate(events):
        match event:
            case Text(text):
                assert text
                size += len(text.encode(errors="surrogatepass"))
            case Reasoning(text):
                assert text
            case Cite(start, end, evidence):
                assert 0 <= start < end <= size
                assert evidence
                assert {item.source_id for item in evidence} <= {"1", "2"}
            case Finished(reason):
                assert place == len(events) - 1
                assert (event.abstain_reason is not None) == (reason is FinishReason.ABSTAINED)


@pytest.mark.parametrize("api", READERS)
@settings(max_examples=50)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=3))
def test_bytes_that_are_no_json_are_an_error(api: str, items: list[bytes]) -> None:
    for event in read(api, items):
        assert isinstance(event, Finished)
        assert event.reason is FinishReason.UPSTREAM_UNKNOWN


@pytest.mark.parametrize("api", READERS)
def test_json_that_is_deeper_than_it_can_be_read_is_an_error(api: str) -> None:
    assert read(api, [b'{"a":' * 100_000]) == []
    assert read(api, [b"[" * 100_000]) == []
