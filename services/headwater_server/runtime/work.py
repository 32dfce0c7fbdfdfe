"""How a server that stops asks what goes on in it."""

from __future__ import annotations

from typing import Protocol


class Work(Protocol):
    """What goes on in a server without a call."""

    async def idle(self) -> None:
        """Returns when nothing goes on."""
        ...

    def drain(self) -> None:
        """Leaves what goes on to the next server."""
        ...
