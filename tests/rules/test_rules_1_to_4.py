"""Rules 1 to 4: how streams end, how they fail, in which order they speak, and what text is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2

from headwater import AsyncClient, DataLoss, HeadwaterError, ProtocolError, render_with_citations
from headwater.v1 import answer_pb2, retrieval_service_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import CancelAnswerRequest, GetAnswerRequest, ResumeAnswerRequest
from headwater.v1.retrieval_service_pb2_grpc import RetrievalServiceStub
from headwater_server.errors import Reason, ServiceError
from tests.orchestrator.asking import REQUEST_ID, asking
from tests.orchestrator.backends import Services, finding, saying, saying_then_failing, saying_then_hanging
from tests.orchestrator.events import citation, ended, reasoning, text
from tests.orchestrator.rules import assert_begins_by_the_rules, assert_rules, crc32c
from tests.rules.playing import hosted, python_client, read, read_some, refused
from tests.runtime.serving import detail, info, status_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

SLOW_DOWN = ServiceError(Reason.PROVIDER_RATE_LIMITED, "slow down", metadata={"provider": "scripted"}, retry_after=2.0)


def terminals(chunks: Sequence[AnswerChunk]) -> list[int]:
    """Where the terminal messages are."""
    return [index for index, chunk in enumerate(chunks) if chunk.HasField("answer")]


async def test_rule_01_ok_if_and_only_if_one_terminal_answer_last() -> None:
    for script, finish in (
        (saying(text("all of it"), ended()), answer_pb2.FINISH_REASON_STOP),
        (saying(text("a part"), ended(answer_pb2.FINISH_REASON_MAX_TOKENS)), answer_pb2.FINISH_REASON_MAX_TOKENS),
        (saying(ended(answer_pb2.FINISH_REASON_ABSTAINED)), answer_pb2.FINISH_REASON_ABSTAINED),
        (saying(text("a"), ended(answer_pb2.FINISH_REASON_CONTENT_FILTER)), answer_pb2.FINISH_REASON_CONTENT_FILTER),
    ):
        async with hosted(Services(script)) as stubs:
            heard = await read(stubs.answers.StreamAnswer(asking()))
        assert heard.code is grpc.StatusCode.OK, "truncation and abstaining are answers"
        assert terminals(heard.chunks) == [len(heard.chunks) - 1]
        assert heard.chunks[-1].answer.finish_reason == finish
        assert heard.chunks[-1].answer.state == answer_pb2.ANSWER_STATE_SUCCEEDED
    async with hosted(Services(saying_then_failing(SLOW_DOWN, text("a")))) as stubs:
        failed = await read(stubs.answers.StreamAnswer(asking()))
    assert failed.code is not grpc.StatusCode.OK
    assert not terminals(failed.chunks)


async def test_rule_01_a_stop_by_the_user_is_an_answer() -> None:
    async with hosted(Services(saying_then_hanging(text("a part")))) as stubs:
        call = stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID))
        chunks = []
        async for chunk in call:
            chunks.append(chunk)
            if chunk.HasField("text"):
                await stubs.answers.CancelAnswer(CancelAnswerRequest(request_id=REQUEST_ID))
    assert await call.code() is grpc.StatusCode.OK
    assert assert_rules(chunks).finish_reason == answer_pb2.FINISH_REASON_CANCELLED


async def test_rule_01_a_client_that_sees_ok_without_the_terminal_raises_data_loss(scripted: str) -> None:
    async with AsyncClient(scripted) as client:
        answer = client.answer("no_terminal")
        with pytest.raises(DataLoss):
            await answer.content()
        assert answer.partial, "what had come is not lost"
        with pytest.raises(ProtocolError):
            await client.answer("two_terminals").content()


async def test_rule_02_a_failure_is_a_status_with_its_reason_and_the_part_is_kept() -> None:
    async with hosted(Services(saying_then_failing(SLOW_DOWN, text("The part")))) as stubs:
        heard = await read(stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID)))
        assert_begins_by_the_rules(heard.chunks)
        assert heard.text == "The part", "never text, and never an event"
        assert heard.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        given = info(heard.failure)
        assert given.reason == "PROVIDER_RATE_LIMITED"
        assert given.domain == "headwater"
        assert given.metadata["provider"] == "scripted"
        assert given.metadata["request_id"]
        assert detail(heard.failure, error_details_pb2.RetryInfo).retry_delay.seconds == 2
        kept = await stubs.answers.GetAnswer(GetAnswerRequest(name=heard.name))
        assert (kept.state, kept.text) == (answer_pb2.ANSWER_STATE_FAILED, "The part")
        # As messages: in bytes, the order of the metadata is anyhow.
        assert json_format.MessageToDict(kept.error) == json_format.MessageToDict(status_of(heard.failure))

        wrong = await refused(stubs.answers.GenerateAnswer(asking(" ")))
        assert wrong.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert [item.field for item in detail(wrong, error_details_pb2.BadRequest).field_violations] == ["prompt"]
        absent = await refused(stubs.answers.GetAnswer(GetAnswerRequest(name="answers/none")))
        assert absent.code() is grpc.StatusCode.NOT_FOUND
        assert detail(absent, error_details_pb2.ResourceInfo).resource_name == "answers/none"
        full = ServiceError(Reason.QUOTA_EXCEEDED, "the disk is full", metadata={"quota": "disk"})
    async with hosted(Services(saying_then_failing(full))) as stubs:
        error = (await read(stubs.answers.StreamAnswer(asking()))).failure
        assert detail(error, error_details_pb2.QuotaFailure).violations[0].subject == "disk"


async def test_rule_03_order_started_retrieved_then_speech_then_answer() -> None:
    script = saying(reasoning("hm"), text("One "), citation(0, 3, "1"), reasoning("hm"), text("two"), ended())
    async with hosted(Services(script, search=finding("a", "b" * 100_000, "c"))) as stubs:
        heard = await read(stubs.answers.StreamAnswer(asking()))
    assert_rules(heard.chunks)
    kinds = [chunk.WhichOneof("event") for chunk in heard.chunks]
    assert kinds[0] == "started"
    assert kinds.count("started") == 1
    assert kinds[1] == "retrieved"
    assert kinds[-1] == "answer"
    assert set(kinds[2:-1]) == {"text", "reasoning", "citation"}
    async with hosted(Services(saying(ended()), search=finding())) as stubs:
        nothing = await read(stubs.answers.StreamAnswer(asking()))
    assert [chunk.WhichOneof("event") for chunk in nothing.chunks] == ["started", "retrieved", "answer"]


async def test_rule_03_every_server_stream_has_a_required_last_message(served: str) -> None:
    async with grpc.aio.insecure_channel(served) as channel:
        retrieval: Any = RetrievalServiceStub(channel)
        listed = await retrieval.ListDocuments(retrieval_service_pb2.ListDocumentsRequest(parent="corpora/default"))
        name = listed.documents[0].name
        options = source_pb2.RetrievalOptions(query="annual leave")
        found = [one async for one in retrieval.Retrieve(retrieval_service_pb2.RetrieveRequest(options=options))]
        assert [one.HasField("statistics") for one in found] == [False] * (len(found) - 1) + [True]
        watched = [one async for one in retrieval.WatchDocument(retrieval_service_pb2.WatchDocumentRequest(name=name))]
        assert [one.HasField("document") for one in watched] == [False] * (len(watched) - 1) + [True]
        request = retrieval_service_pb2.DownloadDocumentRequest(name=name)
        downloaded = [one.WhichOneof("part") async for one in retrieval.DownloadDocument(request)]
        assert downloaded[0] == "document"
        assert downloaded[-1] == "complete"
        assert set(downloaded[1:-1]) <= {"data"}


async def test_rule_04_text_only_grows_and_has_its_checksum_and_offsets_are_bytes() -> None:
    pieces = ("Grüße, ", "世界! ", "👩‍👩‍👧‍👦", " end.")
    at = len("Grüße, ".encode())
    script = saying(*map(text, pieces), citation(at, at + 6, "1"), citation(at + 1, at + 6, "1"), ended())
    async with hosted(Services(script)) as stubs:
        heard = await read(stubs.answers.StreamAnswer(asking()))
        resumed = await read(stubs.answers.ResumeAnswer(ResumeAnswerRequest(name=heard.name)))
    answer = assert_rules(heard.chunks)
    assert answer.text == "".join(pieces) == heard.text
    assert answer.text_crc32c == crc32c("".join(pieces).encode())
    assert resumed.chunks[0].snapshot.text_crc32c == answer.text_crc32c
    (kept,) = answer.citations  # the other begins inside a character
    assert "".join(pieces).encode()[kept.start_byte : kept.end_byte].decode() == "世界"
    placed = [chunk.WhichOneof("event") for chunk in heard.chunks].index("citation")
    before = sum(len(chunk.text.text.encode()) for chunk in heard.chunks[:placed])
    assert before >= kept.end_byte, "a citation comes after all the text it covers"


@pytest.mark.parametrize(
    "case", ["missing_crc", "citation_splits_code_point", "citation_beyond_text", "resumed_with_wrong_snapshot_crc"]
)
async def test_rule_04_clients_check_text_checksum_and_citations(scripted: str, case: str) -> None:
    async with AsyncClient(scripted) as client:
        with pytest.raises(HeadwaterError) as caught:
            await client.answer(case).content()
    assert isinstance(caught.value, ProtocolError)


async def test_rule_04_clients_render_numbers_from_the_citations() -> None:
    async with hosted(Services(saying(text("It is so."), citation(0, 8, "2"), ended()))) as stubs:
        async with python_client(stubs) as client:
            answer = await client.answer("why?")
            assert str(answer) == "It is so."
            assert render_with_citations(answer) == "It is so [2]."
        heard = await read_some(stubs.answers.StreamAnswer(asking()), texts=1)
        assert "[" not in heard.text
