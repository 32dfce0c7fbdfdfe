"""Reads the chunks of one answer from a blocking call."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

import grpc

from headwater._exceptions import AnswerClosed, HeadwaterError
from headwater._reading import STATUS_LIMIT, Arrival, Unreadable, status_is_late, take_chunk, take_end
from headwater._resuming import Resumption
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

    Where the connection breaks, it goes on over another call, as `resumption` says.

    Args:
        open_call: Starts a call that gives what the transcript lacks.
        transcript: What has come so far.
        resumption: When to go on after a failure.
        target: The address of the server.
    """

    def __init__(
        self,
        open_call: Callable[[Transcript], ChunkCall],
        transcript: Transcript,
        *,
        resumption: Resumption,
        target: str,
    ) -> None:
        self._open_call = open_call
        self._transcript = transcript
        self._resumption = resumption
        self._target = target
        self._arrivals = _Arrivals(open_call(transcript))
        self._terminal: answer_pb2.AnswerChunk | None = None
        self._cancelled = threading.Event()

    def read(self) -> answer_pb2.AnswerChunk:
        """Waits for the next chunk. The terminal chunk is given once the call has ended with OK after it.

        Raises:
            CallError: The call failed.
            ProtocolError: The server broke a rule of the stream.
            AnswerClosed: `cancel` was called.
        """
        while True:
            try:
                chunk = self._terminal or take_chunk(self._arrivals.take(), self._transcript, target=self._target)
                if self._transcript.final is not None:
                    self._terminal = chunk  # for who is interrupted while the status is on its way, and reads on
                    take_end(self._arrivals.take(STATUS_LIMIT), self._transcript)
            except TimeoutError:
                self._arrivals.cancel()
                raise status_is_late(self._transcript) from None
            except HeadwaterError as error:
                self._arrivals.cancel()
                self._go_on_after(error)
            else:
                self._resumption.progressed()
                return chunk

    def cancel(self) -> None:
        """Cancels the call, and lets go of what was read ahead."""
        self._cancelled.set()
        self._arrivals.cancel()

    def _go_on_after(self, error: HeadwaterError) -> None:
        """Opens another call, or raises what is final."""
        if self._cancelled.is_set():
            raise AnswerClosed("the answer was closed while it was being read") from None
        pause = self._resumption.pause_after(error, begun=self._transcript.begun)
        if self._cancelled.wait(pause):
            raise AnswerClosed("the answer was closed while it was being read") from None
        self._resumption.require_time()
        self._transcript.resumed()
        self._arrivals = _Arrivals(self._open_call(self._transcript))
        if self._cancelled.is_set():  # in the meantime, when there was the call before to cancel
            self._arrivals.cancel()


class _Arrivals:
    """What one call gives.

    A thread of its own takes the messages off the call, a few ahead: grpcio loses its place when a signal such as
    Ctrl-C interrupts a thread that waits for a message, and a reader must be able to go on after that.
    """

    def __init__(self, call: ChunkCall) -> None:
        self._call = call
        self._waiting: deque[Arrival] = deque()
        self._changed = threading.Condition()
        self._started = False
        self._cancelled = False

    def take(self, limit: float | None = None) -> Arrival:
        """Waits for the next.

        Raises:
            TimeoutError: It did not come within `limit` seconds.
            AnswerClosed: `cancel` was called.
        """
        if not self._started:
            self._started = True
            threading.Thread(target=self._pump, name="headwater-answer", daemon=True).start()
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._cancelled, limit):
                raise TimeoutError
            if self._cancelled:
                raise AnswerClosed("the answer was closed while it was being read")
            arrival = self._waiting.popleft()
            self._changed.notify_all()
            return arrival

    def cancel(self) -> None:
        """Cancels the call, and lets go of what was read ahead."""
        self._cancelled = True
        self._call.cancel()
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()

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
            self._changed.wait_for(lambda: len(self._waiting) < _READ_AHEAD or self._cancelled)
            if not self._cancelled:
                self._waiting.append(arrival)
                self._changed.notify_all()
