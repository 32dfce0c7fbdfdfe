"""How often, and when, a process that has died is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How much is borne with one process."""

    first_pause: float = 0.1
    """Before it is started again, in seconds; twice as long after each further death in a row."""
    longest_pause: float = 5.0
    """How long that becomes at most, in seconds."""
    settled: float = 10.0
    """How long it has to have taken calls, in seconds, for its death not to count as one more in a row."""
    most_deaths: int = 8
    """How many in a row are borne."""


class Deaths:
    """Counts the deaths of one process, and of those started in its place.

    Args:
        patience: How much is borne.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.in_a_row = 0
        """How many there were since it was last settled."""

    def died(self, *, served: float) -> float | None:
        """Counts one.

        Args:
            served: How long it had taken calls, in seconds; 0 where it never did.

        Returns:
            How long to wait before it is started again, in seconds; None: not at all.
        """
        patience = self._patience
        self.in_a_row = 1 if served >= patience.settled else self.in_a_row + 1
        if self.in_a_row > patience.most_deaths:
            return None
        return min(patience.first_pause * 2.0 ** (self.in_a_row - 1), patience.longest_pause)
