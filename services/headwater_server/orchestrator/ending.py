"""How an answer's record ends."""

from __future__ import annotations

import time

from google.rpc import status_pb2

from headwater.v1 import answer_pb2
from headwater_server.orchestrator.transcript import Transcript


def date_ending(ending: answer_pb2.Answer, *, keep: float) -> None:
    """Notes that an answer has ended now, and will be forgotten `keep` seconds later."""
    now = time.time()
    ending.complete_time.FromMicroseconds(round(now * 1_000_000))
    ending.expire_time.FromMicroseconds(round((now + keep) * 1_000_000))


def failed_ending(transcript: Transcript, status: status_pb2.Status, *, keep: float) -> answer_pb2.Answer:
    """What is kept of an answer that failed: its part, and why."""
    ending = transcript.answer_so_far()
    ending.state = answer_pb2.ANSWER_STATE_FAILED
    ending.error.CopyFrom(status)
    date_ending(ending, keep=keep)
    return ending


def expires_at(ending: answer_pb2.Answer) -> float:
    """When an answer that has ended may be forgotten, in seconds since 1970."""
    return ending.expire_time.ToMicroseconds() / 1_000_000
