"""tonic through PyO3: Rust has the sockets, on a thread of its own; Python hands it what a turn of its loop brings."""

from __future__ import annotations

import asyncio
from typing import Any

import front_tonic  # type: ignore[import-not-found]  # built from ../rust into a venv of its own

from benchmarks.fronts.answers import Answer

_AGAIN_SECONDS = 0.005


class _Batch:
    """What waits to be handed over. A prototype: what waits for a reader who does not read has no bound."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Any, bytes]] = []

    def send(self, call: Any, message: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._hand_over)
        self._waiting.append((call, message))

    def _hand_over(self) -> None:
        refused = front_tonic.send_all(self._waiting)
        self._waiting = [self._waiting[position] for position in refused]
        if refused:
            self._loop.call_later(_AGAIN_SECONDS, self._hand_over)


async def serve(answer: Answer, *, batched: bool) -> int:
    """Begins to serve; returns the port."""
    loop = asyncio.get_running_loop()
    batch = _Batch()
    running: set[asyncio.Task[None]] = set()

    async def run_batched(request: bytes, call: Any) -> None:
        async for chunk in answer(request):
            batch.send(call, chunk)

    async def run(request: bytes, call: Any) -> None:
        async for chunk in answer(request):
            while not call.send(chunk):  # noqa: ASYNC110 (the prototype has no event for it)
                await asyncio.sleep(_AGAIN_SECONDS)

    def begin(request: bytes, call: Any) -> None:
        task = loop.create_task((run_batched if batched else run)(request, call))
        running.add(task)
        task.add_done_callback(running.discard)

    port: int = front_tonic.serve(loop, begin)
    return port


async def serve_paced() -> int:
    """Begins to serve what Rust makes itself; returns the port."""
    port: int = front_tonic.serve_paced()
    return port
