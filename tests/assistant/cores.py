"""Assistant services for tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.failover import FailoverPolicy
from headwater_server.assistant.service import AssistantCore, open_assistants

KEY = "sk-canary-5f1d9b7c3e"


@asynccontextmanager
async def core_at(
    base_url: str, *, api: str = "openai-chat", api_key: str = KEY, options: Mapping[str, object] | None = None
) -> AsyncGenerator[AssistantCore]:
    """A service with one named provider `fake` at a URL, with these further settings."""
    provider = NamedProvider(api=api, base_url=base_url, api_key=api_key, options=options or {})
    policy = FailoverPolicy(retries=0, failures_to_rest=0)  # each failure is looked at by itself
    config = AssistantConfig(
        providers={"fake": provider},
        environ={},
        connect_timeout=5,
        read_timeout=20,
        learn_within=10,
        failover=policy,
    )
    async with open_assistants(config) as core:
        yield core
