"""A chat over the wire, through a kill -9 and restarts, in one process and in three."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import grpc
import pytest

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import (
    CreateChatRequest,
    GetChatRequest,
    ListChatsRequest,
    ListTurnsRequest,
    StreamAnswerRequest,
)
from headwater.v1.chat_pb2 import Chat, Turn
from headwater.v1.source_pb2 import NoGrounding
from tests.arrangements.model_server import STEADY_WORDS, WORDS, ModelServer
from tests.arrangements.process_tree import kill_tree
from tests.arrangements.processes import OTHER_TOKEN, TOKEN, write_settings
from tests.arrangements.test_answers_survive import answers_of, failure_of, orchestrator, reason_of, said
from tests.serving import TIME_LIMIT_S

if TYPE_CHECKING:  # the stubs know it, and the generated module does not have it
    from headwater.v1.answer_service_pb2_grpc import AnswerServiceAsyncStub

pytestmark = pytest.mark.anyio

MINE: dict[str, Any] = {"metadata": (("authorization", f"Bearer {TOKEN}"),), "timeout": TIME_LIMIT_S}
ANOTHER_S: dict[str, Any] = {"metadata": (("authorization", f"Bearer {OTHER_TOKEN}"),), "timeout": TIME_LIMIT_S}
TEXTS_BEFORE_DEATH = 10


def asking(chat: str, prompt: str, **fields: Any) -> StreamAnswerRequest:
    return StreamAnswerRequest(chat=chat, prompt=prompt, ungrounded=NoGrounding(), **fields)


async def settled_turns(answers: AnswerServiceAsyncStub, chat: str) -> list[Turn]:
    """The turns of a chat, once the server has taken over, or given up, what an earlier one left."""
    with anyio.fail_after(TIME_LIMIT_S):
        while True:
            turns = list((await answers.ListTurns(ListTurnsRequest(parent=chat), **MINE)).turns)
            if all(turn.answer.state != answer_pb2.ANSWER_STATE_RUNNING for turn in turns):
                return turns
            await anyio.sleep(0.05)


@pytest.mark.parametrize("kind", ["one process", "three processes"])
async def test_a_chat_of_three_turns_survives_a_kill_and_goes_on(kind: str, tmp_path: Path, model: ModelServer) -> None:
    write_settings(tmp_path, model)
    text = "".join(WORDS)
    seen: list[AnswerChunk] = []
    with orchestrator(kind, tmp_path) as server:
        async with answers_of(server) as answers:
            settings = Chat(display_name="Größe", assistant="assistants/scripted/echo", labels={"a": "b"})
            chat = (await answers.CreateChat(CreateChatRequest(chat=settings), **MINE)).name
            first = await answers.GenerateAnswer(asking(chat, "What is paid?"), **MINE)
            assert first.text == text
            second = await answers.GenerateAnswer(asking(chat, "And how much?"), **MINE)

            def kill_in_the_middle() -> None:
                if sum(chunk.HasField("text") for chunk in seen) == TEXTS_BEFORE_DEATH:
                    kill_tree(server.process.pid)

            call = answers.StreamAnswer(asking(chat, "For how long?", assistant="scripted/steady"), **MINE)
            await failure_of(call, seen, on_chunk=kill_in_the_middle)
        server.process.wait(timeout=TIME_LIMIT_S)
    model.requests.clear()
    with orchestrator(kind, tmp_path) as server:
        async with answers_of(server) as answers:
            turns = await settled_turns(answers, chat)
            assert [turn.prompt for turn in turns] == ["What is paid?", "And how much?", "For how long?"]
            assert [turn.answer.name for turn in turns] == [first.name, second.name, seen[0].started.answer]
            assert [turn.answer.state for turn in turns][:2] == [answer_pb2.ANSWER_STATE_SUCCEEDED] * 2
            lost = turns[2].answer
            assert lost.state == answer_pb2.ANSWER_STATE_FAILED
            assert lost.text.startswith(said(seen)), "all that was seen is kept"
            assert "".join(STEADY_WORDS).startswith(lost.text), "nothing is invented"
            kept = await answers.GetChat(GetChatRequest(name=chat), **MINE)
            assert (kept.display_name, kept.turn_count, kept.running_answer) == ("Größe", 3, "")
            await answers.GenerateAnswer(asking(chat, "So?"), **MINE)
            conversation = [(message["role"], message["content"]) for message in model.requests[-1]["messages"]]
            assert conversation[-5:] == [
                ("user", "What is paid?"),
                ("assistant", text),
                ("user", "And how much?"),
                ("assistant", text),
                ("user", "So?"),
            ]
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await answers.GetChat(GetChatRequest(name=chat), **ANOTHER_S)
            assert (refused.value.code(), reason_of(refused.value)) == (
                grpc.StatusCode.NOT_FOUND,
                "RESOURCE_NOT_FOUND",
            )
            assert not (await answers.ListChats(ListChatsRequest(), **ANOTHER_S)).chats


async def test_a_second_question_at_once_is_refused_with_the_first_one_s_name(
    tmp_path: Path, model: ModelServer
) -> None:
    write_settings(tmp_path, model)
    with orchestrator("one process", tmp_path) as server:
        async with answers_of(server) as answers:
            chat = (await answers.CreateChat(CreateChatRequest(), **MINE)).name
            call = answers.StreamAnswer(asking(chat, "1", assistant="scripted/hanging"), **MINE)
            name = (await anext(aiter(call))).started.answer
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await answers.GenerateAnswer(asking(chat, "2"), **MINE)
            assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.ABORTED, "CHAT_BUSY")
            assert name in (refused.value.details() or "")
            call.cancel()
