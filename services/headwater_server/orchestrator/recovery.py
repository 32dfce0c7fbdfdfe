"""What becomes of answers whose owner died: everything logged is kept, and each is brought to an end."""

from __future__ import annotations

import structlog

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, AnswerLogError, AnswerRecord, AnswerWriter
from headwater_server.orchestrator.ending import expires_at, failed_ending
from headwater_server.orchestrator.failures import DescribeFailure, owner_lost
from headwater_server.orchestrator.transcript import Transcript, header

log = structlog.get_logger("headwater.answers")


async def recover(answer_log: AnswerLog, *, describe: DescribeFailure, keep: float) -> None:
    """Ends every answer that was running when its owner died; called once, before the first answer.

    One whose terminal message was logged has ended as that says. Every other one fails with OWNER_LOST, and keeps what
    was said of it. An answer that cannot be ended is left for the next time.

    Args:
        answer_log: The log.
        describe: Makes a status of a failure.
        keep: How long an answer is kept once it has ended, in seconds.
    """
    for record in await answer_log.unsealed():
        try:
            writer = await answer_log.claim(record.name)
            try:
                transcript = await logged_transcript(answer_log, record)
                await _end(writer, transcript, record, describe=describe, keep=keep)
            finally:
                writer.close()
        except AnswerLogError as error:
            log.warning("answer.unrecovered", answer=record.name, error=str(error))


async def logged_transcript(answer_log: AnswerLog, record: AnswerRecord) -> Transcript:
    """What the log has of an answer that has not ended.

    Raises:
        AnswerLogError: It cannot be read.
    """
    request = StreamAnswerRequest.FromString(record.request)
    transcript = Transcript(
        header(
            name=record.name,
            request_id=record.request_id,
            prompt=request.prompt,
            labels=request.labels,
            created_at=record.created,
        )
    )
    while entries := await answer_log.read(record.name, after=transcript.last_sequence):
        for entry in entries:
            transcript.restore(AnswerChunk.FromString(entry.event))
    return transcript


async def _end(
    writer: AnswerWriter, transcript: Transcript, record: AnswerRecord, *, describe: DescribeFailure, keep: float
) -> None:
    ending = transcript.terminal or failed_ending(transcript, describe(owner_lost(record.name), ""), keep=keep)
    await writer.seal(ending.SerializeToString(), state=ending.state, expires=expires_at(ending))
    log.info(
        "answer.recovered",
        answer=record.name,
        outcome=answer_pb2.AnswerState.Name(ending.state).removeprefix("ANSWER_STATE_"),
        events=transcript.last_sequence,
        text_bytes=transcript.text_bytes,
    )
