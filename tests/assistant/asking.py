"""Asks the assistant service, and checks the stream's rules on the way."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from headwater.v1 import answer_pb2, assistant_service_pb2, source_pb2
from headwater_server.assistant.service import AssistantCore
from headwater_server.interfaces import Caller

CALLER = Caller()


@dataclass
class Heard:
    """A stream, put together."""

    text: str = ""
    reasoning: str = ""
    pieces: list[str] = field(default_factory=list)
    citations: list[answer_pb2.Citation] = field(default_factory=list)
    answer: answer_pb2.Answer = field(default_factory=answer_pb2.Answer)

    @property
    def spans(self) -> list[tuple[str, list[str]]]:
        """The cited words with the ids of their sources."""
        encoded = self.text.encode()
        return [
            (encoded[citation.start_byte : citation.end_byte].decode(), [item.source_id for item in citation.evidence])
            for citation in self.citations
        ]


def a_request(
    prompt: str,
    *,
    assistant: str = "",
    sources: Sequence[str | source_pb2.Source] = (),
    grounded: bool | None = None,
    **more: object,
) -> assistant_service_pb2.StreamGenerateRequest:
    """A request; sources given as strings get the ids "1", "2", …"""
    made = [
        source_pb2.Source(id=str(number), content=source, rank=number) if isinstance(source, str) else source
        for number, source in enumerate(sources, start=1)
    ]
    request = assistant_service_pb2.StreamGenerateRequest(
        prompt=prompt, assistant=assistant, sources=made, grounded=bool(made) if grounded is None else grounded
    )
    request.MergeFrom(assistant_service_pb2.StreamGenerateRequest(**more))  # type: ignore[arg-type]  # fields by name
    return request


async def ask(
    core: AssistantCore, request: assistant_service_pb2.StreamGenerateRequest, into: Heard | None = None
) -> Heard:
    """Reads a whole stream and checks its rules. `into` keeps what came before an error."""
    heard = Heard() if into is None else into
    ended = False
    async with aclosing(core.stream_generate(request, CALLER)) as chunks:
        async for chunk in chunks:
            assert not ended, "an event after the terminal one"
            assert chunk.sequence == 0
            kind = chunk.WhichOneof("event")
            if kind == "text":
                assert chunk.text.text
                assert chunk.text.offset_bytes == len(heard.text.encode())
                heard.text += chunk.text.text
                heard.pieces.append(chunk.text.text)
            elif kind == "reasoning":
                assert chunk.reasoning.text
                heard.reasoning += chunk.reasoning.text
            elif kind == "citation":
                _check(chunk.citation, heard.text.encode(), {source.id for source in request.sources})
                heard.citations.append(chunk.citation)
            else:
                assert kind == "answer"
                heard.answer.CopyFrom(chunk.answer)
                ended = True
    assert ended, "no terminal event"
    return heard


def _check(citation: answer_pb2.Citation, text: bytes, sources: set[str]) -> None:
    assert 0 <= citation.start_byte < citation.end_byte <= len(text)
    text[: citation.start_byte].decode()
    text[: citation.end_byte].decode()
    assert citation.evidence
    for evidence in citation.evidence:
        assert evidence.source_id in sources
        assert len(evidence.quote.encode()) <= 512
