"""The exceptions of the client. Nothing else is raised for a failed call: no `grpc.RpcError` ever reaches a user.

    HeadwaterError
    ├── UsageError                        you used it wrongly
    │   ├── ArgumentError (ValueError)      an argument is not as it must be; nothing was sent
    │   ├── StreamConsumed                  the answer was read to its end; use .content()
    │   ├── AnswerNotFinished               an attribute was asked for before the end
    │   ├── AnswerBusy                      another thread or task is reading the answer
    │   ├── AnswerClosed                    the answer was closed before its end
    │   └── ClientClosed                    the client was closed
    ├── ProtocolError                     the peer broke the protocol
    │   └── DataLoss                        a stream ended OK without the last message that it must have
    └── CallError                         an expected failure of a call, with its status and reason
        ├── ConnectionFailed                no connection could be made; nothing was done
        ├── ConnectionLost                  the connection broke in mid-call
        ├── CallCancelled                   the call was cancelled from outside
        ├── DeadlineExceeded                a limit in time was reached
        │   ├── FirstTokenTimeout             the assistant said nothing within `first_token`
        │   └── StreamStalled                 the assistant stopped talking for longer than `between_tokens`
        ├── InvalidRequest                  a field of the request is not as it must be
        │   ├── RequestIdReused               the request_id belongs to another request, or to one that runs
        │   ├── ContextTooLarge               the prompt does not fit into the model's context
        │   └── OutOfRange                    a position is beyond the end
        ├── NotFound                        the resource does not exist, has expired, or is another's
        ├── AlreadyExists                   the name is taken
        ├── FailedPrecondition              the resource is not in a state that allows this
        ├── Aborted                         something else came first
        │   ├── ChatBusy                      the chat has a running answer already
        │   └── AnswerDiverged                the caller has more of the answer than the server
        ├── AccessDenied                    the server does not let the caller do this
        │   ├── Unauthenticated               there is no token, or it is not known
        │   └── PermissionDenied              the caller may not do this
        ├── ResourceExhausted               a limit was reached
        │   ├── Overloaded                    the server has as much work as it can carry; nothing was done
        │   └── QuotaExceeded                 a limit of the caller's, or the disk, is exhausted
        ├── Unavailable                     the server cannot do it now
        │   ├── ServerDraining                the server is about to stop
        │   └── OwnerLost                     the process that made the answer died
        ├── ProviderError                   the assistant's provider failed
        │   ├── ProviderUnavailable           it cannot be reached, or has a fault
        │   ├── ProviderRateLimited           it refused because of its limits
        │   ├── ProviderRejected              it refused the request itself
        │   ├── ProviderUnauthenticated       it refused the server's key
        │   ├── ProviderTruncated             its stream stopped without its protocol's own end
        │   └── ProviderProtocol              it sent what its protocol does not allow
        ├── DocumentError                   a document cannot be used
        │   ├── DocumentUnreadable            it is damaged, encrypted, or has no text
        │   ├── DocumentTooLarge              it is over a limit
        │   └── DocumentUnsupported           its format cannot be read
        ├── NotImplementedByServer          this server cannot do that
        └── InternalError                   the server has a defect; `error_id` finds it in its log

`headwater.exception_table()` says which status and reason becomes which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a request that is not as it must be."""

    field: str
    """The path of the field, such as `retrieval.corpora[0]`."""
    description: str
    """What is wrong with it."""


class HeadwaterError(Exception):
    """The root of every exception that the client raises on purpose.

    Attributes:
        message: What happened, to what, and what to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(HeadwaterError):
    """The client was used wrongly."""


class ArgumentError(UsageError, ValueError):
    """An argument is not as it must be. Nothing was sent."""


class StreamConsumed(UsageError):
    """The answer was read to its end, so there is nothing left to iterate over; `.content()` has the whole text."""


class AnswerNotFinished(UsageError):
    """An attribute was asked for before it can be known. Attributes never read; `.content()` does."""


class AnswerBusy(UsageError):
    """Another thread or task is reading the answer at this moment."""


class AnswerClosed(UsageError):
    """The answer was closed before its end; `.partial` has what had come."""


class ClientClosed(UsageError):
    """The client was closed, and its connection with it."""


class ProtocolError(HeadwaterError):
    """The peer broke the protocol: what it sent must not be trusted.

    Attributes:
        answer: The answer's name, `answers/{answer}`. Empty if unknown, or if the call was not about an answer.
        partial: The text that had come before.
        request_id: The request_id of the answer. Empty if there is none.
    """

    def __init__(self, message: str, *, answer: str = "", partial: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.answer = answer
        self.partial = partial
        self.request_id = request_id


class DataLoss(ProtocolError):
    """A stream ended with status OK without the last message that it must have, so part of it is missing."""


class CallError(HeadwaterError):
    """An expected failure of a call.

    Attributes:
        code: The name of the gRPC status, such as `NOT_FOUND`.
        reason: The name of the `headwater.v1.ErrorReason` without its prefix. Empty if the server gave none.
        metadata: More facts about the reason, such as `provider`.
        retry_after: Seconds after which to try again. None if nothing is known.
        violations: The fields of the request that are not as they must be.
        resource: The name of the resource this is about. Empty if unknown.
        answer: The answer's name, `answers/{answer}`. Empty if unknown.
        partial: The text of the answer that had come before the failure. The server keeps its part too.
        request_id: The request_id of the answer. Empty if there is none.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        violations: Sequence[FieldViolation] = (),
        resource: str = "",
        answer: str = "",
        partial: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.violations = tuple(violations)
        self.resource = resource
        self.answer = answer
        self.partial = partial
        self.request_id = request_id


class ConnectionFailed(CallError):
    """No connection could be made. Nothing was done."""


class ConnectionLost(CallError):
    """The connection broke in mid-call. `partial` has the text that had come."""


class CallCancelled(CallError):
    """The call was cancelled by something between this client and the server, or by the server."""


class DeadlineExceeded(CallError):
    """A limit in time was reached: the `timeout` of the call, or one of the server's."""


class FirstTokenTimeout(DeadlineExceeded):
    """The assistant said nothing within the limit `first_token`."""


class StreamStalled(DeadlineExceeded):
    """The assistant began, and then said nothing for longer than `between_tokens`."""


class InvalidRequest(CallError):
    """A field of the request is not as it must be; `violations` names each."""


class RequestIdReused(InvalidRequest):
    """The request_id belongs to a request with other content. Take a new one."""


class ContextTooLarge(InvalidRequest):
    """The prompt alone does not fit into the model's context."""


class OutOfRange(InvalidRequest):
    """A position is beyond the end."""


class NotFound(CallError):
    """The named resource does not exist, has expired, or belongs to another."""


class AlreadyExists(CallError):
    """The name is taken."""


class FailedPrecondition(CallError):
    """The resource is not in a state that allows this, such as a corpus that still has documents."""


class Aborted(CallError):
    """Something else came first."""


class ChatBusy(Aborted):
    """The chat has a running answer already: `answer` names it. Wait for it, or cancel it."""

    @property
    def chat(self) -> str:
        """The name of the chat, `chats/{chat}`. Empty if the server gave none."""
        return self.metadata.get("chat", "")


class AnswerDiverged(Aborted):
    """The caller has more of a running answer than the server. Ask again."""


class AccessDenied(CallError):
    """The server does not let the caller do this."""


class Unauthenticated(AccessDenied):
    """The call had no token, or one that the server does not know."""


class PermissionDenied(AccessDenied):
    """The caller may not do this."""


class ResourceExhausted(CallError):
    """A limit was reached."""


class Overloaded(ResourceExhausted):
    """The server has as much work as it can carry. Nothing was done; `retry_after` says when to try again."""


class QuotaExceeded(ResourceExhausted):
    """A limit of the caller's, or the server's disk, is exhausted."""


class Unavailable(CallError):
    """The server cannot do it now."""


class ServerDraining(Unavailable):
    """The server is about to stop. Connect again."""


class OwnerLost(Unavailable):
    """The process that made the answer died, and the answer cannot go on. The server keeps the part."""


class ProviderError(CallError):
    """The provider of the assistant failed; `metadata["provider"]` names it."""


class ProviderUnavailable(ProviderError):
    """The provider cannot be reached, or has a fault."""


class ProviderRateLimited(ProviderError):
    """The provider refused because of its limits."""


class ProviderRejected(ProviderError):
    """The provider refused the request itself."""


class ProviderUnauthenticated(ProviderError):
    """The provider refused the server's key; the server's operator must set another one."""


class ProviderTruncated(ProviderError):
    """The provider's stream stopped without its protocol's own end, so the answer may be incomplete."""


class ProviderProtocol(ProviderError):
    """The provider sent what its protocol does not allow."""


class DocumentError(CallError):
    """A document cannot be used; `resource` names it."""


class DocumentUnreadable(DocumentError):
    """The document is damaged, encrypted, or has no text."""


class DocumentTooLarge(DocumentError):
    """The document is over a limit: its size, pages, text, or what it unpacks to."""


class DocumentUnsupported(DocumentError):
    """The document's format cannot be read."""


class NotImplementedByServer(CallError):
    """This server cannot do that: a newer one may."""


class InternalError(CallError):
    """The server has a defect."""

    @property
    def error_id(self) -> str:
        """The id under which the server's log has the rest. Empty if the server gave none."""
        return self.metadata.get("error_id", "")
