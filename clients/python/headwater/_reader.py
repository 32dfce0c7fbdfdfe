"""Reads the chunks of one answer from a blocking call."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Protocol

import grpc

from headwater._exceptions import AnswerClosed, HeadwaterError
from headwater._reading import STATUS_LIMIT, Arrival, Unreadable, status_is_late, take_chunk, take_end
from headwater._status import read_failure
from headwater._transcript import Transcript
from headwater.v1 import answer_pb2

_READ_AHEAD = 16


class ChunkCall(Protocol):
    """The part of grpcio's call that a reader needs."""

    def __iter__(self) -> Iterator[answer_pb2.AnswerChunk]: ...

    def cancel(self) -> object:
        """Cancels the call; harmless once it has ended."""


class Reader:
    """Gives the verified chunks of one answer, one at a time, to one thread at a time.

    A thread of its own takes the messages off the call, a few ahead: grpcio loses its place when a signal such as
    Ctrl-C interrupts a thread that waits for a message, and a reader must be able to go on after that.
    """

    def __init__(self, call: ChunkCall, transcript: Transcript, *, target: str) -> None:
        self._call = call
        self._transcript = transcript
        self._target = target
        self._arrivals: deque[Arrival] = deque()
        self._changed = threading.Condition()
        self._started = False
        self._cancelled = False

    def read(self) -> answer_pb2.AnswerChunk:
        """Waits for the next chunk. The terminal chunk is given once the call has ended with OK after it.

        Raises:
            CallError: The call failed.
            ProtocolError: The server broke a rule of the stream.
            AnswerClosed: `cancel` was called.
        """
        try:
            chunk = take_chunk(self._take(), self._transcript, target=self._target)
            if self._transcript.final is not None:
                self._read_end()
        except HeadwaterError:
            self._call.cancel()
            if self._cancelled:
                raise AnswerClosed("the answer was closed while it was being read") from None
            raise
        return chunk

    def cancel(self) -> None:
        """Cancels the call, and lets go of what was read ahead."""
        self._cancelled = True
        self._call.cancel()
        with self._changed:
            self._arrivals.clear()
            self._changed.notify_all()

    def _take(self, limit: float | None = None) -> Arrival:
        if not self._started:
            self._started = True
            threading.Thread(target=self._pump, name="headwater-answer", daemon=True).start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrivals or self._cancelled, limit):
                raise status_is_late(self._transcript)
            if self._cancelled:
                raise AnswerClosed("the answer was closed while it was being read")
            arrival = self._arrivals.popleft()
            self._changed.notify_all()
            return arrival

    def _read_end(self) -> None:
        take_end(self._take(STATUS_LIMIT), self._transcript)

    def _pump(self) -> None:
        end: Arrival = Unreadable()  # if grpcio raises what it should not, the reader must not wait for ever
        try:
            for chunk in self._call:
                self._put(chunk)
            end = None
        except grpc.RpcError as error:
            end = read_failure(error)
        finally:
            self._put(end)

    def _put(self, arrival: Arrival) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._arrivals) < _READ_AHEAD or self._cancelled)
            if not self._cancelled:
                self._arrivals.append(arrival)
                self._changed.notify_all()
