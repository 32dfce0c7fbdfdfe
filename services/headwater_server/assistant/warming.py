"""Connections to providers that are opened before they are needed."""

from __future__ import annotations

from collections import Counter

import structlog
from anyio.abc import TaskGroup

from headwater_server.assistant.registry import BrokenProvider, ProviderRegistry

log = structlog.get_logger("headwater.assistants")

_MOST_AT_ONCE = 4
"""How many connections to one provider are being opened at most: what is more than that comes with the requests."""


class Warming:
    """Has providers open connections, in tasks of its owner."""

    def __init__(self, registry: ProviderRegistry, tasks: TaskGroup | None) -> None:
        """Makes it.

        Args:
            registry: The providers.
            tasks: What owns the tasks. None: nothing is opened.
        """
        self._registry = registry
        self._tasks = tasks
        self._opening: Counter[str] = Counter()

    def begin(self, provider: str) -> None:
        """Has a provider open a connection, unless one is open. Never waits, and no failure comes of it.

        Args:
            provider: Its name; one that does not exist, or has nothing to open, is passed over.
        """
        if self._tasks is None or provider not in self._registry.names or self._opening[provider] >= _MOST_AT_ONCE:
            return
        self._opening[provider] += 1
        self._tasks.start_soon(self._open, provider)

    async def _open(self, provider: str) -> None:
        try:
            warm = getattr(self._registry.provider(provider), "warm", None)
            if warm is not None:
                await warm()
        except BrokenProvider:
            pass  # the registry has said so
        except Exception:
            log.exception("assistant_provider_not_warmed", provider=provider)  # a defect of a plugin, not of a request
        finally:
            self._opening[provider] -= 1
