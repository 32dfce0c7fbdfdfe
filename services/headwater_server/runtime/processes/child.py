"""One process that the parent has started: followed from its start to its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import anyio
import structlog
from anyio.abc import Process

from headwater_server.owned_tasks import owned_tasks
from headwater_server.runtime.processes.orders import encode
from headwater_server.runtime.processes.place import Place
from headwater_server.runtime.processes.reports import Reports
from headwater_server.runtime.settings import Settings

log = structlog.get_logger("headwater.processes")

START_SECONDS = 300.0
"""How long a process may take until it takes calls: an index may have to be caught up with."""

FROZEN_TICKS = 10
"""For how many seconds, while the parent itself is awake, a process may say nothing before it counts as frozen."""

_KILLED_SECONDS = 5.0


class StartFailedError(Exception):
    """A process could not start, and said why."""

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind
        """The name of the error's class."""


class Child:
    """One process; made by `Child.start`.

    Args:
        place: What it is.
        process: The process.
    """

    def __init__(self, place: Place, process: Process) -> None:
        self.place = place
        self._process = process
        self._ready = anyio.Event()
        self._ready_at: float | None = None
        self._heard = True
        self.address = ""
        """Where it takes calls, once it does."""
        self.failure: StartFailedError | None = None
        """Why it could not start, or go on, if it said so."""

    @classmethod
    async def start(cls, place: Place, settings: Settings, *, held: Sequence[int]) -> Child:
        """Starts a process, in a session of its own: Ctrl-C is the parent's to hand on.

        Args:
            place: What it is.
            settings: The settings, with which it is not alone.
            held: Descriptors that it keeps open: locks that hold for as long as it lives.

        Raises:
            OSError: It cannot be started.
        """
        command = [sys.executable, "-P", "-m", "headwater_server.runtime.processes.member", str(os.getpid())]
        process = await anyio.open_process(command, stderr=None, start_new_session=True, pass_fds=held)
        child = cls(place, process)
        if process.stdin is not None:
            with suppress(anyio.BrokenResourceError):  # it has ended already, as will be seen
                await process.stdin.send(encode(place, settings))
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def served(self) -> float:
        """How long it has taken calls, in seconds; 0 where it never did."""
        return 0.0 if self._ready_at is None else time.monotonic() - self._ready_at

    async def wait_ready(self) -> None:
        """Returns when it takes calls, or has ended."""
        await self._ready.wait()

    async def run(self) -> int:
        """Follows it to its end; returns its exit code, negative for a signal. Cancelled, it kills it."""
        try:
            async with owned_tasks(cancel=True) as tasks:
                tasks.start_soon(self._end_if_frozen)
                await self._listen()
                return await self._process.wait()
        finally:
            self._ready.set()
            self.kill()
            with anyio.move_on_after(_KILLED_SECONDS, shield=True):
                await self._process.aclose()

    def terminate(self) -> None:
        """Asks it to stop; a second time, to stop at once."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _listen(self) -> None:
        """Takes its reports, until it closes the pipe as it ends."""
        if self._process.stdout is None:
            raise AssertionError("its standard output is a pipe")
        reports = Reports()
        async for data in self._process.stdout:
            self._heard = True
            for report in reports.feed(data):
                if report.kind == "ready":
                    self.address, self._ready_at = report.text, time.monotonic()
                    self._ready.set()
                elif report.kind == "failed":
                    self.failure = StartFailedError(report.text, kind=report.error)

    async def _end_if_frozen(self) -> None:
        """Ends it when it has said nothing for long. The parent's own sleep is counted once, however long it was."""
        with anyio.move_on_after(START_SECONDS):
            await self._ready.wait()
        if not self._ready.is_set():
            log.error("process.slow", name=self.place.name, pid=self.pid, seconds=START_SECONDS)
            self.kill()
        silent = 0
        while True:
            await anyio.sleep(1)
            silent = 0 if self._heard else silent + 1
            self._heard = False
            if silent >= FROZEN_TICKS:
                log.error("process.frozen", name=self.place.name, pid=self.pid, seconds=silent)
                self.kill()
                return
