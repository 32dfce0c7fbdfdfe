"""The parent of a server in several processes: it starts them, starts those again that die, and stops all in order.

It takes no calls and keeps nothing but the port and the data folder, so that there is little that could end it. When it
is killed, the others end with it.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import Literal

import anyio
import structlog

from headwater_server.owned_tasks import owned_tasks
from headwater_server.runtime import data_dir, security
from headwater_server.runtime.processes.child import Child, StartFailedError
from headwater_server.runtime.processes.patience import Deaths, Patience
from headwater_server.runtime.processes.place import Place
from headwater_server.runtime.processes.port import kept_port
from headwater_server.runtime.processes.sharing import places_of, shared_out, socket_folder
from headwater_server.runtime.settings import Settings, SettingsError

log = structlog.get_logger("headwater.processes")

Role = Literal["all", "retrieval", "assistant", "orchestrator"]
"""Which services a server serves."""

_LATE_SECONDS = 10.0
"""How much longer than it may drain a process may take to end."""
_AT_ONCE_SECONDS = 5.0


class ProcessDiesError(Exception):
    """A process dies again and again; the message says which."""


async def serve_in_processes(settings: Settings, role: Role, *, ready: Callable[[str], None]) -> signal.Signals:
    """Serves in several processes until SIGTERM or SIGINT, then drains them; a second signal stops at once.

    Args:
        settings: The settings; `process_count` of them share the port.
        role: Which services.
        ready: Called once with the address, as soon as every process takes calls.

    Returns:
        The signal that asked it to stop.

    Raises:
        SettingsError: A setting cannot work, or not with several processes.
        DataDirError: The data folder has another owner, or cannot be used.
        AddressTakenError: The address cannot be listened on.
        StartFailedError: A process could not start for another reason.
        ProcessDiesError: A process was started again as often as is reasonable.
    """
    structlog.contextvars.bind_contextvars(process="parent")
    _require_possible(settings, role)
    security.check_exposure(settings)
    with ExitStack() as stack:
        address = stack.enter_context(kept_port(settings.address))
        held = [stack.enter_context(lock) for lock in _locks(settings, role)]
        sockets = settings.data_dir if role == "assistant" else stack.enter_context(socket_folder(settings.data_dir))
        places = places_of(role, settings.process_count, sockets)
        family = Family(shared_out(settings, address), places, held=held)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            asked = await family.run(signals, ready=lambda: _say_ready(address, role, places, ready))
    log.info("server.stopped")
    return asked


def _say_ready(address: str, role: Role, places: Sequence[Place], ready: Callable[[str], None]) -> None:
    log.info("server.ready", address=address, role=role, processes=[place.name for place in places])
    ready(address)


class Family:
    """The processes of one server.

    Args:
        settings: What each of them is given.
        places: What each of them is; those that others need come first, and are stopped last.
        held: Descriptors of the locks that hold for as long as any of them lives.
        patience: How much is borne with each.
    """

    def __init__(
        self, settings: Settings, places: Sequence[Place], *, held: Sequence[int], patience: Patience | None = None
    ) -> None:
        self._settings = settings
        self._held = held
        self._kept = [_Kept(place, Deaths(patience or Patience())) for place in places]
        self._stopping = anyio.Event()

    async def run(self, signals: AsyncIterator[signal.Signals], *, ready: Callable[[], None]) -> signal.Signals:
        """Keeps all processes running until a signal comes, and then stops them; see `serve_in_processes`."""
        async with owned_tasks(cancel=True) as tasks:
            for kept in self._kept:
                tasks.start_soon(self._keep, kept)
            tasks.start_soon(self._say_when_ready, ready)
            asked = await anext(aiter(signals))
            self._stopping.set()
            tasks.start_soon(self._hasten, signals)
            await self._stop()
        return asked

    async def _say_when_ready(self, ready: Callable[[], None]) -> None:
        for kept in self._kept:
            await kept.ready.wait()
        ready()

    async def _keep(self, kept: _Kept) -> None:
        """Keeps one process running; returns when it has ended as it was asked to."""
        try:
            while not self._stopping.is_set():
                place = replace(kept.place, waits=not kept.ready.is_set())
                child = kept.child = await Child.start(place, self._settings, held=self._held)
                if self._stopping.is_set():  # while it was being started
                    child.kill()
                async with owned_tasks(cancel=True) as tasks:
                    tasks.start_soon(_note_ready, child, kept)
                    status = await child.run()
                kept.child = None
                if self._stopping.is_set():
                    return
                await self._bear(kept, child, status)
        finally:
            kept.child = None
            kept.ended.set()

    async def _bear(self, kept: _Kept, child: Child, status: int) -> None:
        """Waits until a process that has died is started again.

        Raises:
            SettingsError: It could not begin at all: a setting cannot work.
            DataDirError: The same, for the data folder.
            StartFailedError: The same, for another reason.
            ProcessDiesError: It has died often enough.
        """
        if child.failure is not None and not kept.ready.is_set():
            raise _error_of(child.failure)
        pause = kept.deaths.died(served=child.served)
        how = {"name": kept.place.name, "pid": child.pid, "status": _status(status)}
        if child.failure is not None:
            how["error"] = str(child.failure)
        if pause is None:
            log.error("process.given_up", deaths=kept.deaths.in_a_row, **how)
            raise ProcessDiesError(
                f"the process {kept.place.name} has died {kept.deaths.in_a_row} times in a row, the last time with"
                f" {_status(status)}: {child.failure or 'the log says what there is to say'}"
            )
        log.error("process.died", deaths=kept.deaths.in_a_row, again_in_seconds=pause, **how)
        with anyio.move_on_after(pause):
            await self._stopping.wait()

    async def _stop(self) -> None:
        """Stops all processes, those first that the others do not need; returns when they have ended."""
        drain = self._settings.drain_notice + self._settings.drain + _LATE_SECONDS
        log.info("server.draining", seconds=self._settings.drain)
        fronts = [kept for kept in self._kept if kept.place.shares_port]
        rest = [kept for kept in self._kept if not kept.place.shares_port]
        for some in (fronts, rest):
            for kept in some:
                kept.terminate()
            with anyio.move_on_after(drain):
                await _all_ended(some)
            for kept in some:
                kept.kill()
            await _all_ended(some)

    async def _hasten(self, signals: AsyncIterator[signal.Signals]) -> None:
        """Stops all at once when a second signal comes."""
        await anext(aiter(signals))
        log.warning("server.stopped_at_once")
        for _ in range(2):  # one that drains stops at once; one that was not asked yet is asked twice
            for kept in self._kept:
                kept.terminate()
            await anyio.sleep(0.1)
        await anyio.sleep(_AT_ONCE_SECONDS)
        for kept in self._kept:
            kept.kill()


@dataclass(slots=True, eq=False)
class _Kept:
    """One place, and the process that has it now."""

    place: Place
    deaths: Deaths
    child: Child | None = None
    ready: anyio.Event = field(default_factory=anyio.Event)
    """Set once a process in this place has taken calls."""
    ended: anyio.Event = field(default_factory=anyio.Event)
    """Set once there will be none any more."""

    def terminate(self) -> None:
        """Asks the process to stop; one that takes no calls yet has nothing to bring to its end."""
        if self.child is not None and self.child.address:
            self.child.terminate()
        else:
            self.kill()

    def kill(self) -> None:
        """Ends the process."""
        if self.child is not None:
            self.child.kill()


async def _note_ready(child: Child, kept: _Kept) -> None:
    await child.wait_ready()
    if child.address:
        log.info("process.ready", name=kept.place.name, pid=child.pid)
        kept.ready.set()


async def _all_ended(some: Sequence[_Kept]) -> None:
    for kept in some:
        await kept.ended.wait()


def _error_of(failure: StartFailedError) -> Exception:
    """The error that a process ended with, as this one would have raised it."""
    for kind in (SettingsError, data_dir.DataDirError, data_dir.DataDirInUse, data_dir.DataDirNewer):
        if kind.__name__ == failure.kind:
            return kind(str(failure))
    return failure


def _status(status: int) -> str:
    """How a process ended, in words."""
    return f"exit code {status}" if status >= 0 else signal.Signals(-status).name


def _require_possible(settings: Settings, role: Role) -> None:
    if role == "retrieval":
        raise SettingsError(
            "processes: the retrieval service is one process to a data folder: leave the setting out there"
        )
    if role != "assistant" and settings.answers.log != "files":
        raise SettingsError("processes: several share the answers by way of files: set answers.log to `files`")


def _locks(settings: Settings, role: Role) -> Iterator[AbstractContextManager[int]]:
    """The locks of the folders that the processes of a role use."""
    what = f"headwater serve, {settings.address}"
    if role == "all":
        yield data_dir.held(settings.data_dir, what=what)
    if role != "assistant":
        yield data_dir.held(settings.data_dir / "answers", what=what)
        yield data_dir.held(settings.data_dir / "chats", what=what)
