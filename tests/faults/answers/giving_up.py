"""When a client may give an answer up and leave its caller to ask again: while the server is away, or has nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.answers.model import AnswerModel, Fault

WINDOW_S = 20.0
"""How long the client tries to come back, as its documentation says, in seconds."""
NO_CONNECTION = "no connection to begin with"
"""The client says at once that nothing was sent."""
NO_WAY_BACK = "no way back within the client's 20 s"
NOT_KEPT = "a broken connection to what the full disk did not keep"
"""The server is back, and says that it does not know the answer."""
STOP_UNSENT = "a stop that did not get through"
"""CancelAnswer is one call, and its caller's to repeat."""

_FRONTS = frozenset({"all", "orchestrator"})
_AWAY = frozenset({"kill", "freeze", "refuse", "restart"})
"""Faults during which nobody reaches the front."""
_BREAKING = _AWAY | {"reset", "halfopen"}
"""Faults that break what runs; a new connection may work."""
_NOTICED_S = 4.0
"""Within which a break is noticed, in seconds: three, and some for a driver that is late itself."""
_BACK_OFF_S = 6.5
"""The client's longest wait between two attempts to connect, in seconds: five and a fifth of chance, and as above.

A server that was there for less than that may have been missed.
"""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """One failure that the client left to its caller, without a reason of the server's. Times are `monotonic`'s."""

    exception: str
    what: str
    """`answer`, or `stop`."""
    since: float
    """When the last message had come, or the call began."""
    at: float
    again: bool
    """Whether nothing has come since the one before: the same give-up, of a caller who asked again."""


class Patience:
    """One caller who uses the client, and what the client leaves to it.

    Args:
        model: All that is known of the answer.
    """

    def __init__(self, model: AnswerModel, *, what: str = "answer") -> None:
        self._model = model
        self._what = what
        self._again = False
        self._since = monotonic()

    def asks(self) -> None:
        """Notes that the client is asked, once more."""
        self._since = monotonic()

    def hears(self, at: float | None = None) -> None:
        """Notes that a message came, now or at a time."""
        self._since = monotonic() if at is None else at
        self._again = False

    def is_left_alone(self, error: Exception, at: float | None = None) -> None:
        """Notes that the client gave up."""
        now = monotonic() if at is None else at
        given_up = GivenUp(type(error).__name__, self._what, self._since, now, self._again)
        self._model.given_up.append(given_up)
        self._again = True


def cause(given_up: GivenUp, faults: Collection[Fault], *, forgotten: bool = False) -> str | None:
    """Why the client may have given up, after what was done to the system; None where nothing explains it.

    Args:
        given_up: How it did.
        faults: What was done.
        forgotten: Whether the server has forgotten the answer, which it may where the disk was full: that is checked
            for itself.
    """
    front = [fault for fault in faults if fault.where in _FRONTS]
    breaking = [fault for fault in front if fault.kind in _BREAKING]
    away = [fault for fault in front if fault.kind in _AWAY]
    if given_up.what == "stop":
        met = _meets(breaking, given_up.since, given_up.at, after=_BACK_OFF_S)
        return STOP_UNSENT if met else None
    if given_up.exception == "ConnectionFailed" and _meets(away, given_up.at, given_up.at, after=_BACK_OFF_S):
        return NO_CONNECTION
    if forgotten and given_up.exception == "ConnectionLost" and _meets(breaking, given_up.since, given_up.at, after=0):
        return NOT_KEPT
    tried = given_up.at - given_up.since >= WINDOW_S - 1
    enough = away_seconds(given_up, faults) >= WINDOW_S / 2
    return NO_WAY_BACK if tried and enough and _no_way_through(breaking, given_up.at) else None


def away_seconds(given_up: GivenUp, faults: Collection[Fault]) -> float:
    """For how long of the client's window before it gave up nobody could reach the front."""
    begin = given_up.at - WINDOW_S
    spans = [
        (max(fault.start, begin), min(fault.end, given_up.at))
        for fault in faults
        if fault.where in _FRONTS and fault.kind in _AWAY and fault.end > begin and fault.start < given_up.at
    ]
    return sum(end - start for start, end in _joined(spans, gap=0.0))


def counted(models: Iterable[AnswerModel], faults: Collection[Fault]) -> tuple[dict[str, int], float | None]:
    """How often the client gave up, by cause; and the shortest time the server was away where it came not back."""
    causes: Counter[str] = Counter()
    away: list[float] = []
    for model in models:
        for given_up in (each for each in model.given_up if not each.again):
            why = cause(given_up, faults, forgotten=model.forgotten) or "nothing"
            causes[why] += 1
            if why == NO_WAY_BACK:
                away.append(away_seconds(given_up, faults))
    return dict(sorted(causes.items())), round(min(away), 1) if away else None


def _meets(faults: Collection[Fault], start: float, end: float, *, after: float) -> bool:
    return any(fault.start - 1 <= end and fault.end + after >= start for fault in faults)


def _no_way_through(faults: Collection[Fault], at: float) -> bool:
    """Whether the window before has no gap between faults that the client's own waits do not explain.

    A connection that fell silent is still broken until that is noticed, and so is one that was reset in the meantime.
    """
    broken = [(fault.start, max(fault.end, fault.start + _NOTICED_S)) for fault in faults]
    spans = _joined(broken, gap=_BACK_OFF_S)
    return any(start <= at - WINDOW_S + _NOTICED_S and at - _BACK_OFF_S <= end for start, end in spans)


def _joined(spans: Sequence[tuple[float, float]], *, gap: float) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + gap:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined
