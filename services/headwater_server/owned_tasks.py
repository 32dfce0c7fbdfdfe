"""Tasks owned by a block."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def owned_tasks(*, cancel: bool) -> AsyncGenerator[TaskGroup]:
    """Tasks that end with the block.

    An exception of the block comes out as it is; only one of a task's comes out in a group.

    Args:
        cancel: Whether the tasks are cancelled at the end of the block, rather than waited for.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:
            failure = error
        if cancel:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
