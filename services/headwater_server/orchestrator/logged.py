"""What the log has of an answer that has not ended."""

from __future__ import annotations

from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, AnswerRecord
from headwater_server.orchestrator.transcript import Transcript, header_of


async def logged_transcript(answer_log: AnswerLog, record: AnswerRecord, request: StreamAnswerRequest) -> Transcript:
    """What was said of an answer that has not ended.

    Args:
        answer_log: The log.
        record: The answer.
        request: What was asked.

    Raises:
        AnswerLogError: It cannot be read.
    """
    transcript = Transcript(header_of(record.name, request, created=record.created))
    while entries := await answer_log.read(record.name, after=transcript.last_sequence):
        for entry in entries:
            transcript.restore(AnswerChunk.FromString(entry.event))
    return transcript
