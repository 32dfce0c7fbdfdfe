"""How the gRPC side asks whether one more answer may begin, and a front whether a call is to be served."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from headwater_server.errors import Overloaded
from headwater_server.runtime.status import CallStatus


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


class CallDetails(NamedTuple):
    """What is known of a call before its request; to interceptors and gates it is a `grpc.HandlerCallDetails`."""

    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...]


class Gate(Protocol):
    """Knows calls that are to be refused before anything is done for them, without waiting for anything."""

    def may_refuse(self, method: str) -> bool:
        """Whether there is a call of this method now that it would refuse.

        Args:
            method: `/package.Service/Method`.
        """
        ...

    def refusal(self, details: Any, request: bytes) -> CallStatus | None:
        """What ends a call, or None where it is to be served; it raises nothing.

        Args:
            details: Its method and metadata, a `grpc.HandlerCallDetails`.
            request: The one message of its caller, encoded.
        """
        ...
