"""The index process as its parent sees it: started, asked, and started again when it dies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, Process

from headwater_server.retrieval.store.index.framing import Frames, Message, encode
from headwater_server.retrieval.store.index.sending import Sending
from headwater_server.retrieval.store.index.wire import Plain, dump_query, load_result
from headwater_server.retrieval.store.protocol import CorpusUnknown, Query, SearchResult, StoreError, StoreUnavailable

log = logging.getLogger(__name__)

SEARCH_SECONDS = 30.0
"""How long a search may take, a restart of the process included."""
MOST_IN_FLIGHT = 256
CLOSE_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_SETTLED_SECONDS = 10.0
_DEATHS_UNTIL_ANEW = 3


@dataclass(slots=True, eq=False)
class _Reply:
    """What a search waits for."""

    arrived: anyio.Event = field(default_factory=anyio.Event)
    message: Message | None = None
    """The answer, or None if the process died before it gave one."""


class IndexClient:
    """Keeps one index process running and speaks to it.

    Args:
        database: The truth.
        directory: Where the index is.
        flush_seconds: How long the index must have had nothing to apply before it flushes.
        graph_from: From how many passages on a corpus has a graph.
    """

    def __init__(self, database: Path, directory: Path, *, flush_seconds: float, graph_from: int) -> None:
        self._command = [sys.executable, "-P", "-m", "headwater_server.retrieval.store.index.process"]
        self._arguments = [str(database), str(directory), str(os.getpid())]
        self._arguments += [f"--flush-seconds={flush_seconds}", f"--graph-from={graph_from}"]
        self._process: Process | None = None
        self._outgoing: Sending | None = None
        self._connected = anyio.Event()
        self._progress = anyio.Event()
        self._flushed: dict[int, int] = {}
        self._some_flushed = anyio.Event()
        self._in_flight = anyio.Semaphore(MOST_IN_FLIGHT, fast_acquire=True)
        self._replies: dict[int, _Reply] = {}
        self._number = 0
        self._heard = 0.0
        self._closed = False
        self.applied = 0
        """The version up to which searches see every write."""

    @property
    def pid(self) -> int | None:
        """The process now running."""
        return None if self._process is None else self._process.pid

    async def run(self) -> None:
        """Keeps the process running until cancelled, then closes it."""
        deaths = 0
        try:
            while True:
                started = time.monotonic()
                try:
                    status = await self._serve(anew=deaths == _DEATHS_UNTIL_ANEW)
                except OSError as error:
                    status = None
                    log.error("the index process cannot be started: %s", error)  # noqa: TRY400 (its cause is all there)
                deaths = 1 if time.monotonic() - started > _SETTLED_SECONDS else deaths + 1
                pause = min(_FIRST_PAUSE * 2 ** (deaths - 1), _LONGEST_PAUSE)
                log.warning("the index process ended with status %s; starting it again in %.2f s", status, pause)
                await anyio.sleep(pause)
        finally:
            self._closed = True
            self._connected.set()
            self._advance(self.applied)

    async def search(self, query: Query) -> SearchResult:
        """See `Store.search`; the query has been checked.

        Raises:
            StoreUnavailable: No answer in time.
        """
        asked = dump_query(query)
        with anyio.move_on_after(SEARCH_SECONDS):
            async with self._in_flight:
                while True:
                    message = await self._ask(asked)
                    if message is not None:
                        return _result(message)
        if self._process is not None and time.monotonic() - self._heard >= SEARCH_SECONDS:
            log.error("the index process has said nothing for %.0f s and is ended", SEARCH_SECONDS)
            self._process.kill()
        raise StoreUnavailable(f"the index has not answered within {SEARCH_SECONDS:.0f} s")

    def changed(self) -> None:
        """Tells the process that the truth has changed.

        It need not arrive: a process that is just starting sees for itself, and so does every search.
        """
        if self._outgoing is not None and not self._outgoing.is_full:
            with suppress(OSError):
                self._outgoing.put(encode(("changed",)))

    async def flushed(self) -> list[tuple[int, int]]:
        """Waits for corpora whose changes up to a version the index will never need again."""
        await self._some_flushed.wait()
        flushed, self._flushed = self._flushed, {}
        self._some_flushed = anyio.Event()
        return list(flushed.items())

    async def wait_applied(self, version: int) -> None:
        """See `Store.wait_applied`."""
        while self.applied < version:
            self._check_open()
            await self._progress.wait()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

    def _advance(self, applied: int) -> None:
        self.applied = applied
        self._progress.set()
        self._progress = anyio.Event()

    async def _ask(self, query: Plain) -> Message | None:
        """Sends a search and waits for its answer; None if the process died over it."""
        if self._outgoing is None:
            await self._connected.wait()
        self._check_open()
        if self._outgoing is None:  # it died between
            return None
        self._number += 1
        number, reply = self._number, _Reply()
        self._replies[number] = reply
        try:
            with suppress(OSError):  # it is just dying, which sets all replies
                self._outgoing.put(encode(("search", number, query)))
            await reply.arrived.wait()
        finally:
            self._replies.pop(number, None)
        return reply.message

    async def _serve(self, *, anew: bool) -> int | None:
        """Runs one process until it ends; returns its status."""
        options = ["--anew"] if anew else []
        source, sink = os.pipe()
        outgoing = Sending(sink)
        try:
            # Shielded: a process that was started and not returned would be nobody's to end.
            with anyio.CancelScope(shield=True):
                process = await anyio.open_process(
                    [*self._command, *self._arguments, *options],
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=None,
                    start_new_session=True,  # a Ctrl-C in the terminal goes to the parent alone
                )
        except BaseException:
            outgoing.close()
            raise
        finally:
            os.close(source)
        try:
            await self._converse(process, outgoing)
        finally:
            self._disconnect()
            outgoing.close()
            with anyio.CancelScope(shield=True):
                await _end(process)
        return process.returncode

    async def _converse(self, process: Process, outgoing: Sending) -> None:
        if process.stdout is None:
            raise RuntimeError("the index process was started without a pipe")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outgoing.run)
            self._process, self._outgoing, self._heard = process, outgoing, time.monotonic()
            self._connected.set()
            await self._receive_all(process.stdout)
            tasks.cancel_scope.cancel()

    def _disconnect(self) -> None:
        self._process = self._outgoing = None
        self._connected = anyio.Event()
        self._advance(0)
        for reply in self._replies.values():
            reply.arrived.set()

    async def _receive_all(self, stream: ByteReceiveStream) -> None:
        """Takes what the process says until it ends."""
        frames = Frames()
        try:
            async for data in stream:
                self._heard = time.monotonic()
                for message in frames.feed(data):
                    self._take(message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    def _take(self, message: Message) -> None:
        match message[0]:
            case "result" | "failed":
                if reply := self._replies.get(message[1]):
                    reply.message = message
                    reply.arrived.set()
            case "applied":
                self._advance(message[1])
            case "flushed":
                self._flushed.update(message[1])
                self._some_flushed.set()
            case "log":
                log.log(message[1], "%s", message[2])


_ERRORS: dict[str, type[Exception]] = {error.__name__: error for error in (CorpusUnknown, StoreUnavailable, ValueError)}


def _result(message: Message) -> SearchResult:
    if message[0] == "failed":
        _, _, name, text = message
        raise _ERRORS.get(name, StoreError)(text)
    return load_result(message[2])


async def _end(process: Process) -> None:
    """Ends a process, whose input has ended; by force if that takes too long."""
    with anyio.move_on_after(CLOSE_SECONDS):
        async with anyio.create_task_group() as tasks:
            if process.stdout is not None:
                tasks.start_soon(_drain, process.stdout)  # or it might wait for us to read, and we for it to end
        await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()


async def _drain(stream: ByteReceiveStream) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for _ in stream:
            pass
