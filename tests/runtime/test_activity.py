"""Calls under way: one that is ended is ended at once, but where it must not be disturbed."""

from __future__ import annotations

import anyio
import pytest

from headwater_server.runtime.activity import Activity

pytestmark = pytest.mark.anyio

WAIT_SECONDS = 20


class EndedError(Exception):
    """What calls are ended with."""


class Work:
    """A call that writes, which must not be disturbed, and then waits."""

    def __init__(self) -> None:
        self.activity = Activity()
        self.writing = anyio.Event()
        self.go_on = anyio.Event()
        self.written = anyio.Event()
        self.outcome: BaseException | None = None

    async def serve(self) -> None:
        """Serves it, and keeps how it ended."""
        try:
            with self.activity.call("/x/Y") as running:
                with running.undisturbed():
                    self.writing.set()
                    await self.go_on.wait()
                self.written.set()
                await anyio.sleep_forever()
        except EndedError as error:
            self.outcome = error


async def test_what_must_not_be_disturbed_is_waited_for() -> None:
    work = Work()
    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work.serve)
            await work.writing.wait()
            work.activity.end(EndedError())
            await anyio.wait_all_tasks_blocked()
            assert not work.written.is_set()
            work.go_on.set()
            await work.activity.idle()
    assert work.written.is_set()
    assert isinstance(work.outcome, EndedError)


async def test_all_else_is_ended_at_once() -> None:
    work = Work()
    work.go_on.set()
    with anyio.fail_after(WAIT_SECONDS):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work.serve)
            await work.written.wait()
            work.activity.end(EndedError())
            await work.activity.idle()
    assert isinstance(work.outcome, EndedError)
