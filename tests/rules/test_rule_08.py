"""Rule 8: a chat stores its prompts first, has one running answer, and shows the model what was said in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import grpc
import pytest

from headwater import ChatBusy
from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import CancelAnswerRequest, CreateChatRequest, GetChatRequest, ListTurnsRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.chat_pb2 import Turn
from headwater_server.errors import Reason, ServiceError
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from tests.orchestrator.asking import asking
from tests.orchestrator.backends import Script, Services, saying, saying_then_failing, saying_then_hanging
from tests.orchestrator.chats.databases import SqliteDatabase
from tests.orchestrator.events import ended, text
from tests.rules.playing import Heard, hosted, python_client, read, refused, until
from tests.runtime.serving import Stubs, info

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]


@asynccontextmanager
async def chatting(services: Services, folder: Path) -> AsyncIterator[tuple[Stubs, str]]:
    """A server that keeps chats, and the name of a new one."""
    async with hosted(services, open_chats=SqliteDatabase(folder).open) as stubs:
        chat = await stubs.answers.CreateChat(CreateChatRequest())
        yield stubs, chat.name


async def turns_of(stubs: Stubs, chat: str) -> list[Turn]:
    return list((await stubs.answers.ListTurns(ListTurnsRequest(parent=chat))).turns)


async def fallible(call: AsyncIterable[AnswerChunk]) -> AsyncIterator[AnswerChunk]:
    """The chunks of a call, however it ends."""
    with suppress(grpc.aio.AioRpcError):
        async for chunk in call:
            yield chunk


async def test_rule_08_the_prompt_is_stored_before_generation_begins(tmp_path: Path) -> None:
    seen: list[tuple[str, answer_pb2.AnswerState.ValueType]] = []
    services = Services()
    async with chatting(services, tmp_path) as (stubs, chat):

        async def script(_: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
            seen.extend((turn.prompt, turn.answer.state) for turn in await turns_of(stubs, chat))
            yield ended()

        services.assistants.script = script
        await stubs.answers.GenerateAnswer(asking("why?", chat=chat))
    assert seen == [("why?", answer_pb2.ANSWER_STATE_RUNNING)]


async def test_rule_08_a_prompt_outlives_its_server(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path)
    async with EmbeddedAnswerLog.open(tmp_path / "log") as answer_log:
        services = Services(saying_then_hanging(text("a part")))
        async with hosted(services, answer_log=answer_log, open_chats=database.open) as stubs:
            chat = (await stubs.answers.CreateChat(CreateChatRequest())).name
            async with anyio.create_task_group() as tasks:
                heard = Heard()
                tasks.start_soon(heard.listen, stubs.answers.StreamAnswer(asking("why?", chat=chat)))
                await until(lambda: heard.text)
                tasks.cancel_scope.cancel()
        async with hosted(Services(), answer_log=answer_log, open_chats=database.open) as stubs:
            assert [turn.prompt for turn in await turns_of(stubs, chat)] == ["why?"]


async def test_rule_08_a_chat_has_one_running_answer_and_a_second_is_told_its_name(tmp_path: Path) -> None:
    services = Services(saying_then_hanging(text("a")))
    async with chatting(services, tmp_path) as (stubs, chat), anyio.create_task_group() as tasks:
        first = Heard()
        tasks.start_soon(first.listen, stubs.answers.StreamAnswer(asking("one", chat=chat)))
        await until(lambda: first.text)
        assert first.chunks[0].started.chat == chat
        error = await refused(stubs.answers.StreamAnswer(asking("two", chat=chat)))
        assert error.code() is grpc.StatusCode.ABORTED
        assert info(error).reason == "CHAT_BUSY"
        assert info(error).metadata["answer"] == first.name
        assert info(error).metadata["chat"] == chat
        assert (await stubs.answers.GetChat(GetChatRequest(name=chat))).running_answer == first.name
        async with python_client(stubs) as client:
            with pytest.raises(ChatBusy):
                await client.answer("two", chat=chat).content()
        await stubs.answers.CancelAnswer(CancelAnswerRequest(name=first.name))
        await until(lambda: first.ended)
        services.assistants.script = saying(text("b"), ended())
        third = await read(stubs.answers.StreamAnswer(asking("three", chat=chat)))
        assert third.code is grpc.StatusCode.OK, "the chat is free again"
        assert [turn.prompt for turn in await turns_of(stubs, chat)] == ["one", "three"]


async def test_rule_08_failed_turns_are_kept_and_not_shown_and_cancelled_and_truncated_ones_are(
    tmp_path: Path,
) -> None:
    down = ServiceError(Reason.PROVIDER_UNAVAILABLE, "it is down")
    turns: list[tuple[str, Script]] = [
        ("whole?", saying(text("all of it"), ended())),
        ("failed?", saying_then_failing(down, text("a part that failed"))),
        ("truncated?", saying(text("a part that is long"), ended(answer_pb2.FINISH_REASON_MAX_TOKENS))),
        ("cancelled?", saying_then_hanging(text("a part that was stopped"))),
    ]
    services = Services()
    async with chatting(services, tmp_path) as (stubs, chat):
        for prompt, script in turns:
            services.assistants.script = script
            async for chunk in fallible(stubs.answers.StreamAnswer(asking(prompt, chat=chat))):
                if prompt == "cancelled?" and chunk.HasField("text"):
                    running = (await stubs.answers.GetChat(GetChatRequest(name=chat))).running_answer
                    await stubs.answers.CancelAnswer(CancelAnswerRequest(name=running))
        services.assistants.script = saying(ended())
        await stubs.answers.GenerateAnswer(asking("and now?", chat=chat))
        kept = await turns_of(stubs, chat)
    assert [turn.prompt for turn in kept] == [*(prompt for prompt, _ in turns), "and now?"]
    assert kept[1].answer.state == answer_pb2.ANSWER_STATE_FAILED
    assert kept[1].answer.text == "a part that failed"
    assert [message.text for message in services.assistants.requests[-1].history] == [
        "whole?",
        "all of it",
        "truncated?",
        "a part that is long",
        "cancelled?",
        "a part that was stopped",
    ]
    assert services.assistants.requests[-1].prompt == "and now?"
