"""How the orchestrator is set up."""

from __future__ import annotations

from dataclasses import dataclass, field

from headwater_server.orchestrator.watchdog import Limits


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
    keep: float = 3600
    """How long an answer is kept once it has ended, in seconds; at least an hour, as its request_id is."""
