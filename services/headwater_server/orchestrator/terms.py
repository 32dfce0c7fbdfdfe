"""On what terms an answer is made: what its request says, and the settings where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from headwater.v1 import answer_service_pb2
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.interfaces import Assistants, Retrieval
from headwater_server.names import assistant_id
from headwater_server.orchestrator.config import OrchestratorConfig
from headwater_server.orchestrator.watchdog import Limits


@dataclass(frozen=True, slots=True)
class Backends:
    """The services an answer is made with."""

    retrieval: Retrieval
    assistants: Assistants
    expect: Callable[[str], None] = lambda _: None
    """Told, before a search, which assistant will be asked after it; never waits. Nothing, where the assistants stand
    apart: what such a service opens beforehand it opens at its start."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Who is asked, how long is waited, and for whom."""

    assistant: str
    """`provider/model` that is asked."""
    limits: Limits
    """How long to wait."""
    goes_on: bool
    """Whether the answer comes to its end without readers (`on_disconnect: CONTINUE`)."""
    resume_window: float
    """How long, in seconds, the last reader may be gone before it is stopped; where it does not go on anyway."""
    keep: float
    """How long it is kept once it has ended, in seconds."""


def terms_of(request: StreamAnswerRequest, config: OrchestratorConfig, *, assistant: str = "") -> Terms:
    """The terms of a request.

    Args:
        request: What is asked.
        config: The settings.
        assistant: The assistant that an answer begun earlier was asked of; empty: as request and settings say.
    """
    wanted, default = request.limits, config.limits
    return Terms(
        assistant=assistant_id(assistant) or assistant_id(request.assistant) or config.assistant,
        limits=Limits(
            first_token=_seconds(wanted, "first_token", default.first_token),
            between_tokens=_seconds(wanted, "between_tokens", default.between_tokens),
            total=_seconds(wanted, "total", default.total),
        ),
        goes_on=request.on_disconnect == answer_service_pb2.DISCONNECT_POLICY_CONTINUE,
        resume_window=request.resume_window.ToTimedelta().total_seconds(),
        keep=config.keep,
    )


def _seconds(limits: answer_service_pb2.AnswerLimits, name: str, default: float) -> float:
    if not limits.HasField(name):  # type: ignore[arg-type]  # the stubs want a literal
        return default
    duration: Duration = getattr(limits, name)
    return duration.ToTimedelta().total_seconds()
