"""What callers make of failures: an answer's own end, or something after which to come back."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.rpc import status_pb2

from headwater import (
    CallError,
    HeadwaterError,
    Limits,
    NotFound,
    Overloaded,
    ProtocolError,
    ServerDraining,
)
from tests.faults.answers.giving_up import Patience
from tests.faults.answers.life import info_in
from tests.faults.answers.model import AnswerModel
from tests.faults.answers.plans import Plan
from tests.faults.answers.reading import View

_CUT_OFF = frozenset({"UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"})


class Forgotten(Exception):
    """The server does not know the answer of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


async def bear(error: grpc.aio.AioRpcError, model: AnswerModel, view: View, name: str) -> None:
    """Takes a failure of a call for what it is: the answer's own, or one after which to come back."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            status.ParseFromString(value)
    info = info_in(status)
    reason = info.reason
    if reason == "RESOURCE_NOT_FOUND":
        raise Forgotten(name)
    if reason == "SERVER_DRAINING" or (reason == "OVERLOADED" and not view.last_sequence):
        model.trouble[reason] += 1
        await asyncio.sleep(0.2)
    elif reason:
        view.failed(reason, info.metadata)
    elif error.code().name in _CUT_OFF:
        model.trouble["a call was cut off"] += 1
        await asyncio.sleep(0.3)
    else:
        raise model.broken(f"a call ended with {error.code().name} and no reason: {error.details()}")


async def bear_client(
    error: HeadwaterError, model: AnswerModel, view: View, name: str, patience: Patience, *, at: float | None = None
) -> None:
    """The same for what the client raises; where it has given up, that is noted, to be judged at the end.

    Args:
        error: What was raised.
        model: All that is known of the answer.
        view: What the caller has of it.
        name: The answer's name, where the view does not know it.
        patience: Of the caller.
        at: When it was raised, by `time.monotonic`; None: now.
    """
    match error:
        case Overloaded() if not view.last_sequence:
            model.trouble["OVERLOADED"] += 1
            await asyncio.sleep(error.retry_after or 0.2)
        case NotFound():
            raise Forgotten(view.name or name) from error
        case ProtocolError():
            raise model.broken(f"the client says: {error}") from error
        case CallError() if error.reason and not isinstance(error, ServerDraining):
            view.failed(error.reason, error.metadata)
        case CallError() if error.code in _CUT_OFF:  # no connection, a broken one, a server that stops
            patience.is_left_alone(error, at)
            await asyncio.sleep(0.2)
        case _:
            raise model.broken(f"the client raised {error!r}") from error


def arguments_of(plan: Plan) -> dict[str, Any]:
    """The plan's request, as arguments of the Python client."""
    request = plan.request
    arguments: dict[str, Any] = {
        "prompt": request.prompt,
        "assistant": request.assistant,
        "labels": dict(request.labels),
        "request_id": request.request_id,
        "limits": Limits(
            first_token=request.limits.first_token.ToTimedelta().total_seconds(),
            between_tokens=request.limits.between_tokens.ToTimedelta().total_seconds(),
            total=request.limits.total.ToTimedelta().total_seconds(),
        ),
    }
    match request.WhichOneof("grounding"):
        case "provided":
            arguments["sources"] = list(request.provided.sources)
        case "retrieval":
            arguments["corpora"] = [name.removeprefix("corpora/") for name in request.retrieval.corpora]
        case _:
            arguments["grounded"] = False
    return arguments
