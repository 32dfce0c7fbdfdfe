"""Between the wire's messages and the values that assistants see."""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.protobuf import json_format

from headwater.v1 import answer_pb2, assistant_service_pb2, chat_pb2, generation_pb2, source_pb2
from headwater_server.assistant.grounding import CheckedCitation, TextPiece
from headwater_server.assistant.prefix import Prefix, SaidCitation
from headwater_server.assistant.protocol import (
    AbstainReason,
    Evidence,
    FinishReason,
    Message,
    Model,
    Role,
    Sampling,
    Source,
    Usage,
)
from headwater_server.errors import InvalidRequest

_SOURCE_ID = re.compile(r"[1-9][0-9]{0,3}")
_MAX_COUNT = 2**31 - 1

_FINISH = {
    FinishReason.STOP: answer_pb2.FINISH_REASON_STOP,
    FinishReason.MAX_TOKENS: answer_pb2.FINISH_REASON_MAX_TOKENS,
    FinishReason.STOP_SEQUENCE: answer_pb2.FINISH_REASON_STOP_SEQUENCE,
    FinishReason.CONTEXT_LIMIT: answer_pb2.FINISH_REASON_CONTEXT_LIMIT,
    FinishReason.CONTENT_FILTER: answer_pb2.FINISH_REASON_CONTENT_FILTER,
    FinishReason.ABSTAINED: answer_pb2.FINISH_REASON_ABSTAINED,
    FinishReason.UPSTREAM_UNKNOWN: answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN,
}
_ABSTAIN = {
    None: answer_pb2.ABSTAIN_REASON_UNSPECIFIED,
    AbstainReason.NO_SOURCES: answer_pb2.ABSTAIN_REASON_NO_SOURCES,
    AbstainReason.LOW_RELEVANCE: answer_pb2.ABSTAIN_REASON_LOW_RELEVANCE,
    AbstainReason.ASSISTANT_DECLINED: answer_pb2.ABSTAIN_REASON_ASSISTANT_DECLINED,
}
_ROLES = {chat_pb2.CHAT_ROLE_USER: Role.USER, chat_pb2.CHAT_ROLE_ASSISTANT: Role.ASSISTANT}
_RANGES = {
    "page_range": ("page", "pages"),
    "line_range": ("line", "lines"),
    "paragraph_range": ("paragraph", "paragraphs"),
    "row_range": ("row", "rows"),
}


def sources_of(request: assistant_service_pb2.StreamGenerateRequest) -> list[Source]:
    """The sources of a request.

    Raises:
        InvalidRequest: An id is not a number from 1 to 9999, or comes twice.
    """
    seen: set[str] = set()
    for index, source in enumerate(request.sources):
        if not _SOURCE_ID.fullmatch(source.id):
            raise InvalidRequest(f"sources[{index}].id", "must be a number from 1 to 9999, in decimal digits")
        if source.id in seen:
            raise InvalidRequest(f"sources[{index}].id", f"{source.id} comes twice")
        seen.add(source.id)
    return [_source(source) for source in request.sources]


def _source(source: source_pb2.Source) -> Source:
    return Source(
        id=source.id,
        text=source.content,
        title=source.title,
        uri=source.uri,
        heading=source.heading,
        location=location_words(source.location),
        document=source.document,
        rank=source.rank,
        score=source.score if source.HasField("score") else None,
        cosine=source.cosine if source.HasField("cosine") else None,
    )


def location_words(location: source_pb2.Location) -> str:
    """A location in words, such as "pages 3 to 4". Empty if it is unknown, or bytes, which mean nothing to a reader."""
    kind = location.WhichOneof("position")
    if kind == "slide":
        return f"slide {location.slide}"
    if kind not in _RANGES:
        return ""
    one, several = _RANGES[kind]
    place = getattr(location, kind)
    words = f"{one} {place.first}" if place.first == place.last else f"{several} {place.first} to {place.last}"
    return f"{words} of sheet {place.sheet}" if kind == "row_range" and place.sheet else words


def history_of(request: assistant_service_pb2.StreamGenerateRequest) -> list[Message]:
    """The conversation before the prompt.

    Raises:
        InvalidRequest: A message has a role that is not known.
    """
    for index, message in enumerate(request.history):
        if message.role not in _ROLES:
            raise InvalidRequest(f"history[{index}].role", "must be CHAT_ROLE_USER or CHAT_ROLE_ASSISTANT")
    return [Message(_ROLES[message.role], message.text) for message in request.history]


def prefix_of(request: assistant_service_pb2.StreamGenerateRequest) -> Prefix | None:
    """What has been sent of the answer; None where it starts.

    Raises:
        InvalidRequest: A citation's span is not one of the text.
    """
    if not request.HasField("prefix"):
        return None
    encoded = request.prefix.text.encode()
    if not encoded:
        raise InvalidRequest("prefix.text", "must not be empty")
    for index, citation in enumerate(request.prefix.citations):
        if not _spans(encoded, citation.start_byte, citation.end_byte):
            raise InvalidRequest(f"prefix.citations[{index}]", "is not of whole characters of the text")
    return Prefix(
        request.prefix.text,
        [
            SaidCitation(
                citation.start_byte,
                citation.end_byte,
                [Evidence(item.source_id, item.quote) for item in citation.evidence],
            )
            for citation in request.prefix.citations
        ],
    )


def _spans(text: bytes, start: int, end: int) -> bool:
    return 0 <= start < end <= len(text) and all(
        offset == len(text) or text[offset] & 0xC0 != 0x80 for offset in (start, end)
    )


def sampling_of(generation: generation_pb2.GenerationOptions) -> Sampling:
    """How to generate."""
    return Sampling(
        max_output_tokens=generation.max_output_tokens if generation.HasField("max_output_tokens") else None,
        temperature=generation.temperature if generation.HasField("temperature") else None,
        top_p=generation.top_p if generation.HasField("top_p") else None,
        stop_sequences=tuple(generation.stop_sequences),
        seed=generation.seed if generation.HasField("seed") else None,
        provider_options=_options(generation),
    )


def _options(generation: generation_pb2.GenerationOptions) -> dict[str, object]:
    try:
        document = json_format.MessageToDict(generation.provider_options)
    except ValueError as error:  # an infinite number, which JSON has not
        raise InvalidRequest("generation.provider_options", "holds a value that JSON cannot") from error
    whole = _whole(document)
    return whole if isinstance(whole, dict) else {}


def _whole(value: object) -> object:
    """The value with 5.0 as 5: a Struct knows no whole numbers, and some servers take no others."""
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def text_chunk(piece: TextPiece) -> answer_pb2.AnswerChunk:
    """The chunk of a piece of text."""
    chunk = answer_pb2.AnswerChunk()
    delta = chunk.text  # filled in place, as there is one for each token: made and copied it costs twice as much
    delta.text = piece.text
    delta.offset_bytes = piece.offset_bytes
    return chunk


def reasoning_chunk(text: str) -> answer_pb2.AnswerChunk:
    """The chunk of a piece of reasoning."""
    return answer_pb2.AnswerChunk(reasoning=answer_pb2.ReasoningDelta(text=text))


def citation_chunk(citation: CheckedCitation) -> answer_pb2.AnswerChunk:
    """The chunk of a citation."""
    evidence = [answer_pb2.Evidence(source_id=item.source_id, quote=item.quote) for item in citation.evidence]
    return answer_pb2.AnswerChunk(
        citation=answer_pb2.Citation(start_byte=citation.start_byte, end_byte=citation.end_byte, evidence=evidence)
    )


def finish_value(reason: FinishReason) -> answer_pb2.FinishReason.ValueType:
    """A finish reason on the wire."""
    return _FINISH[reason]


def abstain_value(reason: AbstainReason | None) -> answer_pb2.AbstainReason.ValueType:
    """An abstain reason on the wire."""
    return _ABSTAIN[reason]


def usage_message(usage: Usage, *, reported: bool, partial: bool) -> answer_pb2.Usage:
    """Usage on the wire."""
    origin = answer_pb2.USAGE_ORIGIN_REPORTED if reported else answer_pb2.USAGE_ORIGIN_ESTIMATED
    return answer_pb2.Usage(
        input_tokens=_count(usage.input_tokens),
        output_tokens=_count(usage.output_tokens),
        cached_input_tokens=_count(usage.cached_input_tokens),
        reasoning_tokens=_count(usage.reasoning_tokens),
        origin=origin,
        partial=partial,
    )


def _count(value: int | None) -> int | None:
    return None if value is None else min(max(value, 0), _MAX_COUNT)


def disposed(
    request: assistant_service_pb2.StreamGenerateRequest, *, presented: Sequence[Source], cited: set[str]
) -> list[source_pb2.Source]:
    """The ids of all sources of a request with what became of them."""
    shown = {source.id for source in presented}
    return [
        source_pb2.Source(id=source.id, disposition=_disposition(source.id, shown=shown, cited=cited))
        for source in request.sources
    ]


def _disposition(source_id: str, *, shown: set[str], cited: set[str]) -> source_pb2.SourceDisposition.ValueType:
    if source_id in cited:
        return source_pb2.SOURCE_DISPOSITION_CITED
    if source_id in shown:
        return source_pb2.SOURCE_DISPOSITION_PRESENTED
    return source_pb2.SOURCE_DISPOSITION_RETRIEVED


def assistant_message(name: str, model: Model, *, is_default: bool) -> assistant_service_pb2.Assistant:
    """An assistant on the wire."""
    return assistant_service_pb2.Assistant(
        name=name,
        display_name=model.display_name,
        description=model.description,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        default_assistant=is_default,
        continues_prefix=model.continues_prefix,
    )
