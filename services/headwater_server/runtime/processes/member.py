"""The main program of one process of several: told what to do on standard input, it reports on standard output."""

from __future__ import annotations

import os
import sys

import anyio

from headwater_server.owned_tasks import owned_tasks
from headwater_server.parent import end_with
from headwater_server.runtime import app, logs
from headwater_server.runtime.loops import backend_options
from headwater_server.runtime.processes.orders import decode
from headwater_server.runtime.processes.place import Place
from headwater_server.runtime.processes.reports import ALIVE_SECONDS, Report, send
from headwater_server.runtime.settings import Settings


def main(parent: int) -> int:
    """Serves until it is asked to stop; returns the exit code.

    Args:
        parent: The process that has started this one, and with which it ends.
    """
    end_with(parent)
    reports = os.dup(1)
    os.dup2(2, 1)  # what is printed is no report
    place, settings = decode(sys.stdin.buffer.readline())
    logs.configure(level=settings.log.level, style=settings.log.format, secrets=settings.secrets(), process=place.name)
    try:
        anyio.run(_serve, place, settings, reports, backend_options=backend_options())
    except BaseException as error:
        cause = _innermost(error)
        send(reports, Report("failed", str(cause), type(cause).__name__))
        if not type(cause).__module__.startswith("headwater_server."):
            raise
        return 1
    return 0


async def _serve(place: Place, settings: Settings, reports: int) -> None:
    async with owned_tasks(cancel=True) as tasks:
        tasks.start_soon(_say_alive, reports)
        tasks.start_soon(_end_with_parent)
        await app.serve(
            settings, place.member, place=place, ready=lambda address: send(reports, Report("ready", address))
        )


async def _say_alive(reports: int) -> None:
    while True:
        send(reports, Report("alive"))
        await anyio.sleep(ALIVE_SECONDS)


async def _end_with_parent() -> None:
    """Where the kernel does not see to it: standard input ends with the parent, which writes nothing more to it."""
    await anyio.wait_readable(sys.stdin.fileno())
    os._exit(1)


def _innermost(error: BaseException) -> BaseException:
    """The cause in a group of one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
