from __future__ import annotations

from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from headwater.v1 import answer_service_pb2, chat_pb2, filter_pb2, source_pb2
from tests.orchestrator.asking import asking
from tests.orchestrator.backends import Services
from tests.runtime.serving import detail, exhaust, info, serving

pytestmark = pytest.mark.anyio


async def refusal(call: Any, request: Any) -> grpc.aio.AioRpcError:
    """The failure of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(request)
    return caught.value


async def streamed_refusal(call: Any, request: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await exhaust(call(request))
    return caught.value


def violations(error: grpc.aio.AioRpcError) -> list[str]:
    return [item.field for item in detail(error, error_details_pb2.BadRequest).field_violations]


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (answer_service_pb2.StreamAnswerRequest(prompt=" \n"), ["prompt"]),
        (asking(request_id="no-uuid"), ["request_id"]),
        (asking(retrieval=source_pb2.RetrievalOptions(top_k=101)), ["retrieval.top_k"]),
        (asking(retrieval=source_pb2.RetrievalOptions(corpora=["ok", "not ok"])), ["retrieval.corpora[1]"]),
        (
            asking(
                provided=source_pb2.SourceList(sources=[source_pb2.Source(), source_pb2.Source(content="c" * 16385)])
            ),
            ["provided.sources[1].content"],
        ),
        (asking(labels={"": "v"}), ["labels[]"]),
        (asking(prompt="", request_id="no-uuid"), ["request_id", "prompt"]),
        (asking(chat="chats/c", history=[chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text="q")]), ["(request)"]),
        (
            asking(retrieval=source_pb2.RetrievalOptions(mode=source_pb2.RETRIEVAL_MODE_LEXICAL, min_score=0.5)),
            ["retrieval"],
        ),
        (
            asking(
                retrieval=source_pb2.RetrievalOptions(
                    filter=filter_pb2.Filter(
                        all_of=filter_pb2.FilterList(
                            filters=[
                                filter_pb2.Filter(
                                    comparison=filter_pb2.Comparison(key="k", op=filter_pb2.COMPARISON_OPERATOR_EQ)
                                ),
                                filter_pb2.Filter(
                                    comparison=filter_pb2.Comparison(key="", op=filter_pb2.COMPARISON_OPERATOR_EXISTS)
                                ),
                            ]
                        )
                    )
                )
            ),
            None,
        ),
    ],
    ids=lambda value: "" if isinstance(value, Message) else str(value),
)
async def test_a_broken_rule_names_its_field(request_: Message, fields: list[str] | None) -> None:
    services = Services()
    async with serving(services) as stubs:
        for error in (
            await refusal(stubs.answers.GenerateAnswer, request_),
            await streamed_refusal(stubs.answers.StreamAnswer, request_),
        ):
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert info(error).reason == "INVALID_FIELD"
            if fields is None:
                assert all(field.startswith("retrieval.filter.all_of.filters[") for field in violations(error))
            else:
                assert violations(error) == fields
            assert info(error).metadata["field"] == violations(error)[0]
            assert all(item.description for item in detail(error, error_details_pb2.BadRequest).field_violations)
    assert not services.retrieval.requests


async def test_an_empty_prompt_is_refused_in_words() -> None:
    async with serving(Services()) as stubs:
        error = await refusal(stubs.answers.GenerateAnswer, answer_service_pb2.StreamAnswerRequest())
    assert error.details() == "prompt: must not be empty or only white space"


async def test_a_name_that_is_none_is_refused_in_words() -> None:
    request = answer_service_pb2.StreamAnswerRequest(prompt="x", assistant="none", chat="y")
    request.retrieval.corpora.append("BAD NAME")
    async with serving(Services()) as stubs:
        error = await refusal(stubs.answers.GenerateAnswer, request)
    assert "pattern" not in (error.details() or "")
    assert "retrieval.corpora[0]: must be `corpora/{corpus}`, the corpus 1 to 63 letters" in (error.details() or "")


async def test_a_refusal_of_very_much_still_arrives() -> None:
    labels = {f"€{number}" * 3000: "ü" * 300 for number in range(64)}
    async with serving(Services()) as stubs:
        error = await refusal(stubs.answers.GenerateAnswer, asking(labels=labels))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info(error).reason == "INVALID_FIELD"
    assert violations(error)
    assert all(len(field.encode()) <= 300 for field in violations(error))


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x12\x7f", b"\x12\x02\xff\xfe"])
@pytest.mark.parametrize("method", ["GenerateAnswer", "StreamAnswer"])
async def test_bytes_that_are_no_message_are_the_callers_mistake(garbage: bytes, method: str) -> None:
    async with serving(Services()) as stubs:
        path = f"/headwater.v1.AnswerService/{method}"
        raw = stubs.channel.unary_stream if method == "StreamAnswer" else stubs.channel.unary_unary
        call: Any = raw(path)
        error = await (streamed_refusal if method == "StreamAnswer" else refusal)(call, garbage)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info(error).reason == "INVALID_FIELD"
    assert violations(error) == ["(request)"]


async def test_a_request_over_three_mebibytes_gets_the_contracts_answer_and_one_over_eight_the_transports() -> None:
    message = chat_pb2.ChatMessage(role=chat_pb2.CHAT_ROLE_USER, text="q" * 200_000)
    async with serving(Services()) as stubs:
        error = await refusal(stubs.answers.GenerateAnswer, asking(history=[message] * 25))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert info(error).reason == "INVALID_FIELD"
        assert "3 MiB" in (error.details() or "")
        too_large = await refusal(stubs.answers.GenerateAnswer, asking(history=[message] * 45))
        assert too_large.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_unknown_methods_and_services_are_unimplemented() -> None:
    async with serving(Services()) as stubs:
        for path in ("/headwater.v1.AnswerService/Nothing", "/headwater.v1.Nothing/Get"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await cast("Any", stubs.channel.unary_unary(path))(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


CHATS = {
    "CreateChat": answer_service_pb2.CreateChatRequest(),
    "GetChat": answer_service_pb2.GetChatRequest(name="chats/c"),
    "ListChats": answer_service_pb2.ListChatsRequest(),
    "UpdateChat": answer_service_pb2.UpdateChatRequest(chat=chat_pb2.Chat(name="chats/c")),
    "DeleteChat": answer_service_pb2.DeleteChatRequest(name="chats/c"),
    "GetTurn": answer_service_pb2.GetTurnRequest(name="chats/c/turns/t"),
    "ListTurns": answer_service_pb2.ListTurnsRequest(parent="chats/c"),
}


@pytest.mark.parametrize("method", CHATS)
async def test_a_server_that_keeps_no_chats_says_so(method: str) -> None:
    async with serving(Services()) as stubs:
        error = await refusal(getattr(stubs.answers, method), CHATS[method])
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "this server keeps no chats"


async def test_what_comes_later_is_validated_all_the_same() -> None:
    async with serving(Services()) as stubs:
        error = await refusal(stubs.answers.GetChat, answer_service_pb2.GetChatRequest(name="no chat"))
    assert violations(error) == ["name"]


async def test_the_rest_of_the_contract_has_no_method_that_was_forgotten() -> None:
    done = {"StreamAnswer", "GenerateAnswer", "ResumeAnswer"}
    done |= {"CancelAnswer", "GetAnswer", "ListAnswers", "DeleteAnswer"}
    service = answer_service_pb2.DESCRIPTOR.services_by_name["AnswerService"]
    assert {method.name for method in service.methods} == done | set(CHATS)
