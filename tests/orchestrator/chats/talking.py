"""Short ways to talk to an orchestrator in a chat."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio

from headwater.v1.answer_pb2 import Answer, AnswerChunk
from headwater.v1.answer_service_pb2 import (
    CreateChatRequest,
    GetChatRequest,
    GetTurnRequest,
    ListTurnsRequest,
    StreamAnswerRequest,
)
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.chat_pb2 import Chat, Turn
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.service import Orchestrator
from tests.orchestrator.asking import ME, WAIT_SECONDS
from tests.orchestrator.events import ended, text


async def new_chat(orchestrator: Orchestrator, caller: Caller = ME, **fields: Any) -> str:
    """The name of a new chat."""
    return (await orchestrator.create_chat(CreateChatRequest(chat=Chat(**fields)), caller)).name


async def ask(
    orchestrator: Orchestrator, chat: str, prompt: str = "why?", caller: Caller = ME, **fields: Any
) -> Answer:
    """An answer in a chat."""
    with anyio.fail_after(WAIT_SECONDS):
        return await orchestrator.generate_answer(StreamAnswerRequest(chat=chat, prompt=prompt, **fields), caller)


async def chat_of(orchestrator: Orchestrator, name: str, caller: Caller = ME) -> Chat:
    return await orchestrator.get_chat(GetChatRequest(name=name), caller)


async def turns_of(orchestrator: Orchestrator, chat: str, caller: Caller = ME) -> list[Turn]:
    listed = await orchestrator.list_turns(ListTurnsRequest(parent=chat, page_size=1000), caller)
    assert not listed.next_page_token
    return list(listed.turns)


async def turn_of(orchestrator: Orchestrator, name: str, caller: Caller = ME) -> Turn:
    return await orchestrator.get_turn(GetTurnRequest(name=name), caller)


def history_of(request: StreamGenerateRequest) -> list[str]:
    """What an assistant was given of a conversation."""
    return [message.text for message in request.history]


async def echoing(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
    """A script that answers with the prompt."""
    yield text(f"re: {request.prompt}")
    yield ended()
