"""How the gRPC side asks whether one more answer may begin."""

from __future__ import annotations

from typing import Protocol

from headwater_server.errors import Overloaded


class Door(Protocol):
    """Knows whether one more answer may begin."""

    def refusal(self, tenant: str | None = None) -> Overloaded | None:
        """Why none may, or None.

        Args:
            tenant: Who asks; None where nobody knows. One that has less than its share of the answers may be let in
                where others are not.
        """
        ...

    def has_request(self, request_id: str) -> bool:
        """Whether an answer with this request_id runs, whosever it is: asking for it again begins none."""
        ...
