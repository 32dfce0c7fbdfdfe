"""What happens around every call: who calls, is the request well-formed, how does it end.

Three interceptors, outermost first: `ErrorInterceptor` turns whatever is raised into a status and logs the call,
`CallerInterceptor` finds out who calls, `ValidationInterceptor` enforces the rules declared in the protos.

grpc decides by inspection whether a streaming handler is an async generator. The inner interceptors hand on plain
functions that return async iterators; the outermost makes coroutines of them that write, so that a message of a stream
passes through one loop and not through three generators.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from functools import partial
from typing import Any, NoReturn, Self, TypeAlias, cast

import grpc
import protovalidate
import structlog
from google.protobuf.message import Message

from headwater_server.errors import FieldViolation, InvalidRequest, Reason, ServiceError
from headwater_server.interfaces import LOCAL_TENANT, Caller
from headwater_server.names import new_id
from headwater_server.orchestrator.turns import LATE_SECONDS, leave_turns
from headwater_server.runtime.activity import Activity
from headwater_server.runtime.bounds import bounded
from headwater_server.runtime.malformed import MANY_PARTS, MAX_PARTS, NO_MESSAGE, Malformed, lenient, parts
from headwater_server.runtime.status import CallStatus, UnauthenticatedError, defect_status, status_of
from headwater_server.runtime.violations import description, field_path

log = structlog.get_logger("headwater.calls")

# In quotes: grpc's classes are generic in their stubs only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Behavior: TypeAlias = "Callable[[Any, Context], Any]"

REQUEST_ID_HEADER = "x-request-id"
INFRASTRUCTURE = "/grpc."
"""Health, reflection and channelz: infrastructure's own calls, which carry no credential of ours."""

_caller: ContextVar[Caller] = ContextVar("headwater_caller")


def current_caller() -> Caller:
    """Who made the call that this task serves."""
    return _caller.get()


def behavior_of(handler: Handler) -> Behavior:
    """What a handler does, of whatever kind it is."""
    behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    return cast("Behavior", behavior)


def with_behavior(handler: Handler, behavior: Behavior) -> Handler:
    """A handler of the same kind, that does something else."""
    if handler.request_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
    else:
        make = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
    return make(behavior, handler.request_deserializer, handler.response_serializer)


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Ends each call that raised with the status its error stands for, and logs each call as one event.

    Args:
        activity: Counts the calls.
        leaves_turns: Whether what writes a stream leaves some turns to others where the event loop is late; the front
            `http2` does so itself.
    """

    def __init__(self, activity: Activity, *, leaves_turns: bool = False) -> None:
        self._activity = activity
        self._leaves_turns = leaves_turns

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps the handler; calls to unknown methods stay as grpc answers them."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(INFRASTRUCTURE):
            return handler
        inner, method = behavior_of(handler), details.method

        async def unary(request: Any, context: Context) -> Any:
            with _CallLog(method) as call:
                try:
                    with self._activity.call(method):
                        return await inner(request, context)
                except Exception as error:
                    status = call.failed(error)
                return await abort(context, status)

        async def stream(request: Any, context: Context) -> None:
            write = partial(_write_and_leave_turns, context) if self._leaves_turns else context.write
            with _CallLog(method) as call:
                try:
                    with self._activity.call(method) as running:
                        async with aclosing(inner(request, context)) as messages:
                            async for message in messages:
                                with running.undisturbed():  # grpc sends no status while it sends the headers
                                    await context.write(message)
                                break
                            async for message in messages:
                                await write(message)
                except grpc.aio.InternalError:
                    call.reader_gone()
                    return
                except Exception as error:
                    status = call.failed(error)
                else:
                    return
                await abort(context, status)

        return with_behavior(handler, stream if handler.response_streaming else unary)


async def abort(context: Context, status: CallStatus) -> NoReturn:
    """Ends a call with a status and its details."""
    await context.abort(status.code, status.message, status.trailing_metadata())


async def _write_and_leave_turns(context: Context, message: Any) -> None:
    before = time.monotonic()
    await context.write(message)
    if time.monotonic() - before > LATE_SECONDS:
        await leave_turns()


class _CallLog:
    """Logs how a call ended, as one event."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._start = time.monotonic()
        self._outcome = "OK"
        self._fields: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def reader_gone(self) -> None:
        """Notes that a message could not be written: nobody is there to read it, or a status."""
        self._outcome = "CANCELLED"

    def failed(self, error: Exception) -> CallStatus:
        """Notes a failure and returns the status it ends the call with."""
        caller = _caller.get(None)
        status = status_of(error, request_id=caller.request_id if caller else "")
        if status is None:
            error_id, status = defect_status()
            log.error("call.defect", method=self._method, error_id=error_id, exc_info=error)
        status = bounded(status)
        self._outcome = status.code.name
        self._fields["message"] = status.message
        if isinstance(error, ServiceError):
            self._fields["reason"] = error.reason.value
        return status

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        outcome = self._outcome
        if kind is not None and outcome == "OK":
            outcome = "CANCELLED"  # what grpc itself raises into a handler: cancellation
        caller = _caller.get(None)
        log.info(
            "call",
            method=self._method,
            status=outcome,
            milliseconds=round((time.monotonic() - self._start) * 1000, 1),
            request_id=caller.request_id if caller else "",
            **self._fields,
        )


class CallerInterceptor(grpc.aio.ServerInterceptor):
    """Finds out from the credential who calls.

    Args:
        tokens: Tenant to bearer token. Empty: nobody needs one, and every caller is the tenant `local`.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = dict(tokens)

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps the handler."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(INFRASTRUCTURE):
            return handler
        inner = behavior_of(handler)

        def behavior(request: Any, context: Context) -> Any:
            _caller.set(self._caller_of(context))  # seen by all that runs in this call's task
            return inner(request, context)

        return with_behavior(handler, behavior)

    def _caller_of(self, context: Context) -> Caller:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        request_id = metadata.get(REQUEST_ID_HEADER, "")[:64] or new_id()
        if not self._tokens:
            return Caller(LOCAL_TENANT, request_id)
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            for tenant, known in self._tokens.items():
                if hmac.compare_digest(known.encode(), token.encode()):
                    return Caller(tenant, request_id, credential=token)
        raise UnauthenticatedError("this server asks for a token: send `authorization: Bearer …`")


class ValidationInterceptor(grpc.aio.ServerInterceptor):
    """Enforces the rules that stand in the protos; each message of a request stream is checked as it comes."""

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Any:
        """Wraps the handler."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(INFRASTRUCTURE):
            return handler
        inner = behavior_of(handler)

        def one(request: Any, context: Context) -> Any:
            check(request)
            return inner(request, context)

        def many(requests: AsyncIterator[Any], context: Context) -> Any:
            return inner(CheckedStream(requests, check), context)

        wrapped = with_behavior(handler, many if handler.request_streaming else one)
        deserializer = lenient(handler.request_deserializer)
        return cast("Any", wrapped)._replace(request_deserializer=deserializer)  # a named tuple, which the stubs hide


class CheckedStream:
    """Requests of a stream, each checked as it is read. Not a generator: those want to be closed.

    Args:
        requests: The requests.
        check: Raises where one is not as it must be.
    """

    def __init__(self, requests: AsyncIterator[Any], check: Callable[[Any], None]) -> None:
        self._requests = aiter(requests)
        self._check = check

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        request = await anext(self._requests)
        self._check(request)
        return request


def check(request: Message | Malformed) -> None:
    """Checks a request against the rules in the protos.

    Raises:
        ServiceError: INVALID_FIELD, with one violation a broken rule; of a request of very many parts, with the first.
    """
    if isinstance(request, Malformed):
        raise InvalidRequest("(request)", NO_MESSAGE)
    count = parts(request)
    if count > MAX_PARTS:
        raise InvalidRequest("(request)", f"has more than {MAX_PARTS} messages within it, in lists or nested")
    violations = [
        FieldViolation(field_path(violation.proto.field) or "(request)", description(violation))
        for violation in protovalidate.collect_violations(request, fail_fast=count > MANY_PARTS)
    ]
    if not violations:
        return
    summary = "; ".join(f"{item.field}: {item.description}" for item in violations[:5])
    raise ServiceError(
        Reason.INVALID_FIELD, summary, metadata={"field": violations[0].field}, violations=violations[:100]
    )
