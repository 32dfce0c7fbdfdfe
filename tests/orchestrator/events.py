"""Short ways to make the events of an assistant."""

from __future__ import annotations

from headwater.v1 import answer_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk

STOP = answer_pb2.FINISH_REASON_STOP
HEARTBEAT = AnswerChunk(heartbeat=answer_pb2.Heartbeat())


def text(said: str) -> AnswerChunk:
    return AnswerChunk(text=answer_pb2.TextDelta(text=said))


def reasoning(thought: str) -> AnswerChunk:
    return AnswerChunk(reasoning=answer_pb2.ReasoningDelta(text=thought))


def citation(start: int, end: int, *source_ids: str) -> AnswerChunk:
    evidence = [answer_pb2.Evidence(source_id=source_id) for source_id in source_ids]
    return AnswerChunk(citation=answer_pb2.Citation(start_byte=start, end_byte=end, evidence=evidence))


def ended(
    reason: answer_pb2.FinishReason.ValueType = STOP,
    *,
    presented: tuple[str, ...] = (),
    output_tokens: int = 5,
    assistant: str = "assistants/scripted/model",
) -> AnswerChunk:
    disposition = source_pb2.SOURCE_DISPOSITION_PRESENTED
    return AnswerChunk(
        answer=answer_pb2.Answer(
            assistant=assistant,
            model_version="v1",
            finish_reason=reason,
            usage=answer_pb2.Usage(output_tokens=output_tokens, origin=answer_pb2.USAGE_ORIGIN_REPORTED),
            sources=[source_pb2.Source(id=source_id, disposition=disposition) for source_id in presented],
        )
    )
