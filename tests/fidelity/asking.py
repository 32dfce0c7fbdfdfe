"""Asks a real server over gRPC, and keeps all that came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import google_crc32c
import grpc
from google.rpc import error_details_pb2, status_pb2

from headwater.v1 import answer_pb2, answer_service_pb2, source_pb2
from headwater.v1.generation_pb2 import GenerationOptions

if TYPE_CHECKING:
    from headwater.v1.answer_service_pb2_grpc import AnswerServiceAsyncStub  # the stubs alone know it

TIME_LIMIT_S = 120


@dataclass
class Heard:
    """One answer, as its caller saw it."""

    text: str = ""
    reasoning: str = ""
    citations: list[answer_pb2.Citation] = field(default_factory=list)
    answer: answer_pb2.Answer | None = None
    """The terminal answer. None: there was none."""
    reason: str = ""
    """The reason of the status; empty where it was OK."""
    kept: answer_pb2.Answer = field(default_factory=answer_pb2.Answer)
    """What the server has of it afterwards."""

    @property
    def evidence(self) -> int:
        """How many pieces of evidence came."""
        return sum(len(citation.evidence) for citation in self.citations)


async def ask(stub: AnswerServiceAsyncStub, assistant: str, sources: list[source_pb2.Source]) -> Heard:
    """Asks an assistant with these sources, or none."""
    request = answer_service_pb2.StreamAnswerRequest(
        prompt="What is it?", assistant=assistant, generation=GenerationOptions(instructions="Be brief.")
    )
    if sources:
        request.provided.sources.extend(sources)
    else:
        request.ungrounded.SetInParent()
    heard = Heard()
    name = ""
    try:
        async for chunk in stub.StreamAnswer(request, timeout=TIME_LIMIT_S):
            assert heard.answer is None, "an event after the terminal one"
            name = name or chunk.started.answer
            heard.text += chunk.text.text
            heard.reasoning += chunk.reasoning.text
            if chunk.HasField("citation"):
                heard.citations.append(chunk.citation)
            heard.answer = chunk.answer if chunk.HasField("answer") else None
    except grpc.aio.AioRpcError as error:
        heard.reason = _reason(error)
        heard.kept = await stub.GetAnswer(answer_service_pb2.GetAnswerRequest(name=name), timeout=TIME_LIMIT_S)
    else:
        heard.kept = heard.answer or heard.kept
    return heard


def checksum(text: str) -> int:
    """The CRC-32C that an answer's text must have."""
    return int(google_crc32c.value(text.encode()))


def _reason(error: grpc.aio.AioRpcError) -> str:
    """The reason in a status's details; its code where there is none."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return str(info.reason)
    return error.code().name
