"""How much of what is allowed one by one a peer may do, so that it cannot keep us busy with it.

PINGs, SETTINGS, resets, empty frames and the like cost the peer next to nothing, and us an answer or a call that is
begun and taken back (CVE-2019-9512 to 9518, CVE-2023-44487). Each spends of an allowance that time gives back, and
so does work done in earnest: a client that reads an answer sends WINDOW_UPDATEs and PINGs in proportion to it.
"""

from __future__ import annotations

from collections.abc import Callable

from headwater_server.runtime.front_http2.frames import ConnectionBroken, ErrorCode

ALLOWANCE = 4_000.0
"""What a peer may spend at once: enough to take back a thousand calls."""
PER_SECOND = 200.0
"""What time gives back."""


class Budget:
    """The allowance of one connection.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = ALLOWANCE
        self._seen = clock()

    def spend(self, cost: float) -> None:
        """Takes of what is left.

        Raises:
            ConnectionBroken: Nothing is.
        """
        if self._left < cost:
            now = self._clock()
            self._left = min(ALLOWANCE, self._left + (now - self._seen) * PER_SECOND)
            self._seen = now
        self._left -= cost
        if self._left < 0:
            raise ConnectionBroken(ErrorCode.ENHANCE_YOUR_CALM, "too much that asks for nothing")

    def earn(self, amount: float) -> None:
        """Gives back for work done in earnest; of much that was done at once, no more than there is to spend."""
        if self._left < ALLOWANCE:
            self._left += min(amount, ALLOWANCE)
