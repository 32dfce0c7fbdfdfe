"""Ctrl-C that stops an answer and leaves the program running."""

from __future__ import annotations

import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from headwater._answer import Answer
from headwater._client import Client
from headwater._exceptions import HeadwaterError, NotFound

# The question may not have reached the server when it is to be stopped.
_TRIES = 20
_PAUSE_SECONDS = 0.1


class StopsOnInterrupt:
    """While the context lasts, Ctrl-C stops the answer at the server; a second one raises KeyboardInterrupt.

    The reader of the answer is not interrupted: it goes on to the end that the server then sends, so that no piece is
    lost. Where the server cannot be told, and at the second time, the answer is closed. For the main thread.

    Attributes:
        stopped: Whether Ctrl-C was pressed.
    """

    def __init__(self, client: Client, answer: Answer) -> None:
        self.stopped = False
        self._client = client
        self._answer = answer
        self._over = threading.Event()
        self._pressed = 0
        self._handler: Any = signal.default_int_handler
        self._wakeup = -1
        self._told, self._teller = socket.socketpair()

    def __enter__(self) -> Self:
        # A thread hears of it as it happens. The main one may be about to wait for a chunk, and then would not see to
        # its handlers before one has come.
        self._teller.setblocking(False)
        threading.Thread(target=self._watch, name="headwater-interrupt", daemon=True).start()
        self._wakeup = signal.set_wakeup_fd(self._teller.fileno(), warn_on_full_buffer=False)
        self._handler = signal.signal(signal.SIGINT, self._interrupted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._handler)
        signal.set_wakeup_fd(self._wakeup)
        self._over.set()
        self._teller.close()

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        self._pressed += 1
        if self._pressed > 1:
            raise KeyboardInterrupt

    def _watch(self) -> None:
        with self._told:
            while signals := self._told.recv(16):
                for _ in range(signals.count(signal.SIGINT)):
                    if self.stopped:
                        self._answer.close()
                    else:
                        self.stopped = True
                        threading.Thread(target=self._stop, name="headwater-stop", daemon=True).start()

    def _stop(self) -> None:
        for _ in range(_TRIES):
            try:
                self._cancel()
            except NotFound:
                if self._over.wait(_PAUSE_SECONDS):
                    return
            except HeadwaterError:
                break
            else:
                return
        self._answer.close()

    def _cancel(self) -> None:
        if self._answer.request_id:
            self._client.cancel_answer(request_id=self._answer.request_id)
        else:
            self._client.cancel_answer(self._answer.name)  # it was found by its name
