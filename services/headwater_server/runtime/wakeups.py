"""gRPC's wake-ups of the event loop, taken all at once.

Of each event, such as a message that was written, grpcio's core tells the loop by a byte in a socket. Its reader works
through all events that there are, but takes one byte a turn. So where much goes on bytes pile up: each is a turn for
nothing, and when the socket is full, at less than 300 of them, core waits for a turn before it tells of each further
event (seen in 1.85). Of 1,000 answers that began at once, nearly all had their first text with the last one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

_MOST = 4096
"""How many may be taken in one turn; the socket holds far fewer."""


def take_at_once(loop: asyncio.AbstractEventLoop) -> None:
    """Lets gRPC, where it is first used after this, take its wake-ups of a loop at once.

    Its reader is none of its public interface. One that is not known, as it may be in another version, stays as it is.
    """
    add_reader = loop.add_reader

    def add(fd: Any, callback: Callable[..., object], *arguments: Any) -> Any:
        if _is_of_grpc(fd, callback):
            callback = partial(_take_all, fd, callback)
        return add_reader(fd, callback, *arguments)

    # Loops in Python, and uvloop's, are objects that take one; its type says which arguments go with which callback.
    loop.add_reader = add  # type: ignore[method-assign, assignment]


def _is_of_grpc(fd: Any, callback: Any) -> bool:
    return (
        isinstance(fd, socket.socket) and getattr(getattr(callback, "func", None), "__name__", "") == "_handle_events"
    )


def _take_all(wakeups: socket.socket, handle_events: Callable[..., object], *arguments: Any) -> None:
    """Takes all wake-ups but one, which gRPC's reader takes; their events were there before them."""
    with suppress(BlockingIOError):  # another loop's reader was quicker
        waiting = len(wakeups.recv(_MOST, socket.MSG_PEEK))
        if waiting > 1:
            wakeups.recv(waiting - 1)
    handle_events(*arguments)
