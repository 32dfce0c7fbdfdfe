"""What a reader makes of each thing that a call gives it; shared by the sync and the async reader."""

from __future__ import annotations

from dataclasses import dataclass

from headwater._exceptions import HeadwaterError, ProtocolError
from headwater._status import CallContext, Failure, to_exception
from headwater._transcript import Transcript
from headwater.v1 import answer_pb2

# After the terminal message only the status is missing; a server that does not send it has a defect.
STATUS_LIMIT = 10.0


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The call gave a message that is no protobuf."""


Arrival = answer_pb2.AnswerChunk | Failure | Unreadable | None
"""What a call gives: a message, a status other than OK, a message that cannot be read, or None for its end with OK."""


def take_chunk(arrival: Arrival, transcript: Transcript, *, target: str) -> answer_pb2.AnswerChunk:
    """Takes what came before the terminal message, or that message itself, into the transcript.

    Raises:
        CallError: The call failed.
        ProtocolError: What came breaks a rule of the stream, or the stream ended without a terminal message.
    """
    if isinstance(arrival, Failure):
        raise failed(arrival, transcript, target=target)
    if isinstance(arrival, Unreadable):
        raise transcript.violation("a message cannot be read")
    if arrival is None:
        raise transcript.lost_data()
    return transcript.accept(arrival)


def take_end(arrival: Arrival, transcript: Transcript) -> None:
    """Takes what came after the terminal message, which must be the end.

    The answer is complete and its checksum right, so a connection that breaks before the status has come takes nothing
    away.

    Raises:
        ProtocolError: Something came that must not come there.
    """
    if isinstance(arrival, Failure):
        if arrival.is_ours:
            raise transcript.violation(f"the status {arrival.code} came after the terminal message")
    elif arrival is not None:
        raise transcript.violation("a message came after the terminal message")


def status_is_late(transcript: Transcript) -> ProtocolError:
    """The exception for a server that sends the terminal message and does not end the call."""
    return transcript.violation(f"the call did not end within {STATUS_LIMIT:.0f} s of the terminal message")


def failed(failure: Failure, transcript: Transcript, *, target: str) -> HeadwaterError:
    """The exception for a call that failed."""
    context = CallContext(
        target=target,
        begun=transcript.begun,
        answer=transcript.name,
        partial=transcript.text,
        request_id=transcript.request_id,
    )
    return to_exception(failure, context)
