"""How the orchestrator is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from headwater_server.orchestrator.watchdog import Limits


@dataclass(frozen=True, slots=True)
class ChatsConfig:
    """How chats are kept, and what is searched for in them."""

    follow_up: Literal["turns", "assistant", "prompt"] = "turns"
    """What is searched for where a prompt follows others; see `FollowUps`."""
    max_chats: int = 10_000
    """How many chats a tenant may have."""
    max_turns: int = 1_000
    """How many turns a chat may have."""


@dataclass(frozen=True, slots=True)
class OrchestratorConfig:
    """What the orchestrator needs to know."""

    assistant: str = "builtin/extractive"
    """The assistant of requests that name none, `provider/model`."""
    limits: Limits = field(default_factory=lambda: Limits(first_token=60, between_tokens=30, total=600))
    """How long to wait where the request does not say."""
    heartbeat: float = 15
    """The silence after which a reader gets a heartbeat, in seconds."""
    max_answers: int = 256
    """How many answers may run at once."""
    least_answers: int = 64
    """How many may run however late the server is with its work."""
    lateness: float = 0.02
    """How late it may be, in seconds, before it refuses more answers than that; see `Pressure`."""
    buffer_bytes: int = 512 * 1024 * 1024
    """How much of all answers may wait in memory for readers before new ones are refused, in bytes."""
    keep: float = 3600
    """How long an answer is kept once it has ended, in seconds; at least an hour, as its request_id is."""
    chats: ChatsConfig = field(default_factory=ChatsConfig)
    """Chats."""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The token of each tenant, to be shown to the other services for an answer whose caller is not there to show it:
    one that goes on after its owner's death. It is stored nowhere."""
