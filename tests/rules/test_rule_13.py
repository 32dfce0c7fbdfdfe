"""Rule 13: bounds, each at its limit and beyond it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import pytest

from headwater.v1 import answer_pb2, chat_pb2, filter_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import (
    DISCONNECT_POLICY_CONTINUE,
    GetAnswerRequest,
    ListAnswersRequest,
    ResumeAnswerRequest,
    StreamAnswerRequest,
)
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from tests.orchestrator.asking import asking
from tests.orchestrator.backends import Services, finding, saying
from tests.orchestrator.events import ended, text
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules
from tests.rules.playing import WAIT_SECONDS, hosted, read, refused, until
from tests.runtime.serving import Stubs, info

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

KIB, MIB = 1024, 1024 * 1024
LARGEST_MESSAGE = 4 * MIB
PIECE = "x" * (16 * KIB)


async def answered(stubs: Stubs, request: StreamAnswerRequest | None = None) -> answer_pb2.Answer:
    """The terminal message of an answer whose stream has kept the rules."""
    heard = await read(stubs.answers.StreamAnswer(request or asking()))
    return assert_rules(heard.chunks)


async def assert_invalid(stubs: Stubs, request: StreamAnswerRequest, field: str) -> None:
    error = await refused(stubs.answers.StreamAnswer(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info(error).reason == "INVALID_FIELD"
    assert info(error).metadata["field"] == field


def provided(*sources: source_pb2.Source) -> StreamAnswerRequest:
    return asking(provided=source_pb2.SourceList(sources=sources))


def metadata(size: int) -> dict[str, filter_pb2.MetadataValue]:
    """One value that takes so many bytes with its key."""
    value = filter_pb2.MetadataValue(string_value="")
    for length in range(size):
        value.string_value = "m" * length
        if value.ByteSize() + 1 == size:
            return {"k": value}
    raise AssertionError("no value has this size")


async def test_rule_13_text_has_at_most_1_mib_and_more_ends_with_max_tokens() -> None:
    pieces = [text(PIECE)] * 64
    async with hosted(Services(saying(*pieces, ended()))) as stubs:
        at_the_limit = await answered(stubs)
    assert len(at_the_limit.text) == MIB
    assert at_the_limit.finish_reason == answer_pb2.FINISH_REASON_STOP
    services = Services(saying(*pieces[1:], text("x" * (16 * KIB - 1)), text("é"), text("never said"), ended()))
    async with hosted(services) as stubs:
        beyond = await answered(stubs)
    assert beyond.finish_reason == answer_pb2.FINISH_REASON_MAX_TOKENS
    assert beyond.state == answer_pb2.ANSWER_STATE_SUCCEEDED
    assert beyond.text == "x" * (MIB - 1), "a character is not cut in two"
    assert beyond.usage.partial
    assert services.assistants.closed.is_set()


async def test_rule_13_an_answer_has_at_most_100_sources() -> None:
    async with hosted(Services(search=finding(*["found"] * 100))) as stubs:
        assert len((await answered(stubs)).sources) == 100
        assert len((await answered(stubs, provided(*[source_pb2.Source(content="c")] * 100))).sources) == 100
        await assert_invalid(stubs, provided(*[source_pb2.Source(content="c")] * 101), "provided.sources")
    async with hosted(Services(search=finding(*map(str, range(120))))) as stubs:
        kept = (await answered(stubs)).sources
        assert [source.content for source in kept] == [str(number) for number in range(100)], "the best are kept"


async def test_rule_13_a_source_has_at_most_16_kib_of_content_and_1_kib_of_metadata() -> None:
    async with hosted(Services()) as stubs:
        full = source_pb2.Source(content="é" * (8 * KIB), metadata=metadata(KIB))
        (kept,) = (await answered(stubs, provided(full))).sources
        assert kept.content == full.content
        assert kept.metadata == full.metadata
        await assert_invalid(
            stubs, provided(source_pb2.Source(content="x" * (16 * KIB + 1))), "provided.sources[0].content"
        )
        more = source_pb2.Source(content="c", metadata=metadata(KIB + 1))
        more.metadata["small"].bool_value = True
        (cut,) = (await answered(stubs, provided(more))).sources
        assert set(cut.metadata) == {"small"}, "larger values are left out"


async def test_rule_13_an_answer_has_at_most_1000_pieces_of_evidence_with_quotes_of_512_bytes() -> None:
    def cited(quotes: list[str]) -> AnswerChunk:
        evidence = [answer_pb2.Evidence(source_id="1", quote=quote) for quote in quotes]
        return AnswerChunk(citation=answer_pb2.Citation(start_byte=0, end_byte=1, evidence=evidence))

    quote = "é" * 256
    for count, kept in ((1_000, 1_000), (1_001, 1_000)):
        citations = [cited([quote] * 10) for _ in range(count // 10)] + [cited([quote])] * (count % 10)
        async with hosted(Services(saying(text("a"), *citations, ended()))) as stubs:
            answer = await answered(stubs)
        assert sum(len(citation.evidence) for citation in answer.citations) == kept
    async with hosted(Services(saying(text("a"), cited([quote, quote + "!"]), ended()))) as stubs:
        answer = await answered(stubs)
    assert [item.quote for citation in answer.citations for item in citation.evidence] == [quote]


async def test_rule_13_a_prompt_has_at_most_256_kib() -> None:
    async with hosted(Services()) as stubs:
        assert (await answered(stubs, asking("é" * (128 * KIB)))).prompt == "é" * (128 * KIB)
        await assert_invalid(stubs, asking("é" * (128 * KIB) + "!"), "prompt")


async def test_rule_13_a_request_has_at_most_3_mib() -> None:
    def of_size(size: int) -> StreamAnswerRequest:
        request = asking(history=[chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text="h" * 900_000)] * 3)
        request.history.add(role=chat_pb2.CHAT_ROLE_USER, text="h" * 100_000)
        request.history[-1].text += "h" * (size - request.ByteSize())
        assert request.ByteSize() == size
        return request

    async with hosted(Services()) as stubs:
        await answered(stubs, of_size(3 * MIB))
        await assert_invalid(stubs, of_size(3 * MIB + 1), "(request)")


async def test_rule_13_the_terminal_stays_under_4_mib_and_long_lists_of_sources_are_split() -> None:
    evidence = [answer_pb2.Evidence(source_id=str(number % 100 + 1), quote="q" * 512) for number in range(1_000)]
    citations = [
        AnswerChunk(citation=answer_pb2.Citation(start_byte=0, end_byte=1, evidence=evidence[begin : begin + 100]))
        for begin in range(0, 1_000, 100)
    ]
    largest = source_pb2.Source(
        content="c" * 16 * KIB, metadata=metadata(KIB), title="t" * 500, uri="u" * 500, document="d" * 500
    )
    script = saying(*[text(PIECE)] * 64, *citations, ended())
    async with hosted(Services(script)) as stubs:
        request = provided(*[largest] * 100)
        request.prompt = "p" * 256 * KIB
        request.labels.update({f"{number:064}": "v" * 256 for number in range(64)})
        heard = await read(stubs.answers.StreamAnswer(request))
        kept = await stubs.answers.GetAnswer(GetAnswerRequest(name=heard.name))
        snapshot = await read(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=heard.name)))
    answer = assert_rules(heard.chunks)
    assert (len(answer.sources), len(answer.text)) == (100, MIB)
    assert sum(len(citation.evidence) for citation in answer.citations) == 1_000
    assert kept == answer
    assert snapshot.chunks[-1].answer == answer
    for chunk in (*heard.chunks, *snapshot.chunks):
        assert chunk.ByteSize() < LARGEST_MESSAGE
    batches = [chunk.retrieved for chunk in heard.chunks if chunk.HasField("retrieved")]
    assert len(batches) > 1
    assert [batch.HasField("statistics") for batch in batches] == [False] * (len(batches) - 1) + [True]


async def test_rule_13_pages_end_at_3_mib_and_omit_contents() -> None:
    async with hosted(Services(search=finding("content"))) as stubs:
        names = [(await answered(stubs, asking(f"{number:03}" + "p" * 250 * KIB))).name for number in range(15)]
        listed: list[answer_pb2.Answer] = []
        token = ""
        pages = 0
        while pages == 0 or token:
            page = await stubs.answers.ListAnswers(ListAnswersRequest(page_size=1_000, page_token=token))
            assert page.ByteSize() <= 3 * MIB + KIB
            assert page.answers
            listed += page.answers
            token = page.next_page_token
            pages += 1
    assert pages == 2
    assert [answer.name for answer in listed] == names[::-1], "newest first, each once"
    assert all(len(answer.sources) == 1 and not answer.sources[0].content for answer in listed)
    assert all(answer.prompt for answer in listed)


class Tireless:
    """An assistant that says 32 MiB of reasoning as fast as it may."""

    def __init__(self) -> None:
        self.said = 0

    async def script(self, _: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        for _number in range(512):
            yield AnswerChunk(reasoning=answer_pb2.ReasoningDelta(text="r" * 64 * KIB))
            self.said += 64 * KIB
            await anyio.lowlevel.checkpoint()
        yield ended()


async def test_rule_13_a_slow_reader_slows_the_upstream_down() -> None:
    tireless = Tireless()
    async with hosted(Services(tireless.script)) as stubs:
        call: Any = stubs.answers.StreamAnswer(asking())
        first = await call.read()
        await until(lambda: tireless.said)
        before = -1
        while tireless.said != before:  # until it waits for its reader
            before = tireless.said
            await anyio.sleep(0.3)
        # Most of it is with the client, which takes more ahead on a busy machine.
        assert tireless.said < 16 * MIB, "what is held for a reader who does not read is bounded"
        chunks = [first]
        with anyio.fail_after(WAIT_SECONDS):
            while tireless.said == before:  # the client makes room only once half of what it has is read
                chunks.append(await call.read())
        call.cancel()
    assert_begins_by_the_rules(chunks)


async def test_rule_13_with_continue_a_slow_reader_reads_from_the_log_and_slows_nobody() -> None:
    tireless = Tireless()
    async with hosted(Services(tireless.script)) as stubs:
        stream = aiter(stubs.answers.StreamAnswer(asking(on_disconnect=DISCONNECT_POLICY_CONTINUE)))
        first = await anext(stream)
        await until(lambda: tireless.said == 32 * MIB)
        heard = await read(stream)
    answer = assert_rules([first, *heard.chunks])
    assert answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert sum(len(chunk.reasoning.text) for chunk in heard.chunks) == 32 * MIB
