"""Short ways to ask an orchestrator."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import Any

import anyio
from google.protobuf.duration_pb2 import Duration

from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import AnswerLimits, StreamAnswerRequest
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.service import Orchestrator

ME = Caller(tenant="acme", request_id="call-1")
STRANGER = Caller(tenant="globex")
WAIT_SECONDS = 20
"""How long a test waits for what must happen, before it fails."""
REQUEST_ID = "4f9619ff-8b86-4d01-b42d-00cf4fc964ff"


def asking(prompt: str = "why?", **fields: Any) -> StreamAnswerRequest:
    return StreamAnswerRequest(prompt=prompt, **fields)


def limits(**seconds: float) -> AnswerLimits:
    """Limits, by name, in seconds."""
    return AnswerLimits(**{name: duration(value) for name, value in seconds.items()})


def duration(seconds: float) -> Duration:
    made = Duration()
    made.FromTimedelta(timedelta(seconds=seconds))
    return made


async def answer(orchestrator: Orchestrator, request: StreamAnswerRequest, caller: Caller = ME) -> list[AnswerChunk]:
    """All chunks of an answer."""
    chunks: list[AnswerChunk] = []
    await answer_into(chunks, orchestrator, request, caller)
    return chunks


async def answer_into(
    chunks: list[AnswerChunk], orchestrator: Orchestrator, request: StreamAnswerRequest, caller: Caller = ME
) -> None:
    """Appends the chunks as they come, so that those before a failure are not lost."""
    with anyio.fail_after(WAIT_SECONDS):
        async with aclosing(orchestrator.stream_answer(request, caller)) as stream:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 (one by one, so that those before a failure are kept)
