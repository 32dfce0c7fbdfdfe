"""A deterministic assistant that goes on with what it has said, and what its answers come to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import anyio
from anyio import wait_all_tasks_blocked

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from tests.orchestrator.asking import answer, asking
from tests.orchestrator.backends import Script, Services
from tests.orchestrator.events import citation, ended, text
from tests.orchestrator.rules import assert_rules

NAME = "answers/one"
WORDS = ("Größe ", "is ", "12%. ", "Leave ", "is ", "paid.")
WHOLE = (text(WORDS[0]), text(WORDS[1]), text(WORDS[2]), citation(0, 12, "2"), *map(text, WORDS[3:]), ended())


def going_on(events: Sequence[AnswerChunk] = WHOLE) -> Script:
    """A deterministic assistant: says these events, without those that a request's prefix has."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        said, cited = request.prefix.text, len(request.prefix.citations)
        offset = 0
        for event in events:
            if event.HasField("text"):
                begin, offset = offset, offset + len(event.text.text.encode())
                if offset <= len(said.encode()):
                    continue
                assert begin >= len(said.encode()), "events are not cut"
                delta = answer_pb2.TextDelta(text=event.text.text, offset_bytes=begin, assistant=event.text.assistant)
                yield AnswerChunk(text=delta)
            elif event.HasField("citation") and cited:
                cited -= 1
            else:
                yield event

    return script


def hanging_after(count: int, events: Sequence[AnswerChunk] = WHOLE) -> Script:
    """A deterministic assistant that says so many events, and then nothing."""

    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        for event in events[:count]:
            yield event
        await anyio.sleep_forever()

    return script


def one_by_one(script: Script) -> Script:
    """The same, so slowly that no two events become one."""

    async def slowly(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        async with aclosing(script(request)) as events:
            async for event in events:
                await wait_all_tasks_blocked()
                yield event

    return slowly


async def uninterrupted(**fields: Any) -> list[AnswerChunk]:
    async with Services(one_by_one(going_on())).orchestrator() as orchestrator:
        return await answer(orchestrator, asking(**fields))


def substance(chunks: Sequence[AnswerChunk]) -> tuple[str, list[answer_pb2.Citation], list[str]]:
    ending = assert_rules(chunks)
    return ending.text, list(ending.citations), [source.content for source in ending.sources]
