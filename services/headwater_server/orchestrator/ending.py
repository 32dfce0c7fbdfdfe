"""How an answer's record ends."""

from __future__ import annotations

import time

from google.protobuf.descriptor import EnumDescriptor
from google.rpc import status_pb2

from headwater.v1 import answer_pb2, source_pb2
from headwater_server.names import assistant_name
from headwater_server.orchestrator.transcript import Transcript


def completed_ending(
    ending: answer_pb2.Answer, transcript: Transcript, *, assistant: str, keep: float
) -> answer_pb2.Answer:
    """What only the orchestrator knows, added to what the assistant said of an answer's end; its timings apart.

    Args:
        ending: What the assistant said.
        transcript: The answer up to here.
        assistant: `provider/model` that was asked.
        keep: How long an answer is kept once it has ended, in seconds.
    """
    answer = answer_pb2.Answer()
    answer.CopyFrom(ending)
    if answer.finish_reason == answer_pb2.FINISH_REASON_UNSPECIFIED:
        answer.finish_reason = answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN
    cancelled = answer.finish_reason == answer_pb2.FINISH_REASON_CANCELLED
    answer.state = answer_pb2.ANSWER_STATE_CANCELLED if cancelled else answer_pb2.ANSWER_STATE_SUCCEEDED
    if not answer.assistant:
        answer.assistant = assistant_name(assistant)
    nothing_left = transcript.statistics.below_min_score > 0 and not transcript.sources
    if nothing_left and answer.abstain_reason == answer_pb2.ABSTAIN_REASON_NO_SOURCES:
        answer.abstain_reason = answer_pb2.ABSTAIN_REASON_LOW_RELEVANCE
    date_ending(answer, keep=None if transcript.chat else keep)
    return answer


def cut_off_ending(transcript: Transcript, reason: answer_pb2.FinishReason.ValueType) -> answer_pb2.Answer:
    """What is said of the end of an answer whose assistant did not come to its own."""
    ending = answer_pb2.Answer(finish_reason=reason, usage=transcript.estimated_usage())
    if transcript.spoken:  # then it was shown the sources, though it could not say which
        presented = source_pb2.SOURCE_DISPOSITION_PRESENTED
        ending.sources.extend(source_pb2.Source(id=source.id, disposition=presented) for source in transcript.sources)
    return ending


def failed_ending(transcript: Transcript, status: status_pb2.Status, *, keep: float) -> answer_pb2.Answer:
    """What is kept of an answer that failed: its part, and why."""
    ending = transcript.answer_so_far()
    ending.state = answer_pb2.ANSWER_STATE_FAILED
    ending.error.CopyFrom(status)
    date_ending(ending, keep=None if transcript.chat else keep)
    return ending


def date_ending(ending: answer_pb2.Answer, *, keep: float | None) -> None:
    """Notes that an answer has ended now, and will be forgotten `keep` seconds later; None: with its chat."""
    now = time.time()
    ending.complete_time.FromMicroseconds(round(now * 1_000_000))
    if keep is not None:
        ending.expire_time.FromMicroseconds(round((now + keep) * 1_000_000))


def value_name(kind: EnumDescriptor, value: int) -> str:
    """The name of an enum's value, or its number where a newer program knows more of them than this."""
    known = kind.values_by_number.get(value)
    return str(value) if known is None else known.name


def expires_at(ending: answer_pb2.Answer) -> float | None:
    """When an answer that has ended may be forgotten, in seconds since 1970; None: not by the time."""
    return ending.expire_time.ToMicroseconds() / 1_000_000 if ending.HasField("expire_time") else None
