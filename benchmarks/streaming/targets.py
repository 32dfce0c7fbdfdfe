"""What streaming is to cost, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Target:
    """A figure to reach, and one that would be better still; smaller is better in all of them."""

    what: str
    unit: str
    """As it stands after the figure; empty for a ratio."""
    wanted: float
    stretch: float


@dataclass(frozen=True)
class Found:
    """What was measured of a target."""

    target: Target
    value: float
    beside: Mapping[str, float] = field(default_factory=dict)
    """The same of others, in the same run."""

    def row(self) -> dict[str, object]:
        """As figures are kept."""
        return {**asdict(self.target), "value": self.value, "beside": dict(self.beside)}


@dataclass(frozen=True)
class Outcome:
    """What a part of the benchmark brought."""

    found: Sequence[Found]
    wrong: Sequence[str] = ()
    """What did not work, so that the figures mean nothing."""
    relays: Sequence[Mapping[str, object]] = ()
    """The rows of a table of relays, where the part has one."""
