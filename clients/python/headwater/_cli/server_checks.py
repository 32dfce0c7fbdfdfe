"""What `headwater doctor` finds out about a server."""

from __future__ import annotations

import os
from collections.abc import Iterator

import grpc
from google.protobuf import wrappers_pb2

from headwater._cli.connecting import Connection
from headwater._cli.failures import behind_hint, describe
from headwater._cli.findings import Finding
from headwater._connection import Endpoint, resolve_endpoint
from headwater._exceptions import (
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    HeadwaterError,
    ProviderUnavailable,
    Unavailable,
)

_SERVICES = ("AnswerService", "RetrievalService", "AssistantService")
_SECONDS = 5.0
_OUT_OF_REACH = (ConnectionFailed, ConnectionLost, DeadlineExceeded, ProviderUnavailable, Unavailable)
_NOT_SERVED = "not served"
_UNWELL = (
    "a service that is not served is asked at its own address; one that is not serving is stopping, or the one behind"
    " it does not answer"
)
_STATUSES = {0: "unknown", 1: "serving", 2: "not serving", 3: "unknown"}


def server_findings(connection: Connection) -> Iterator[Finding]:
    """Asks the server for its health, and its services for an answer: an orchestrator serves what others do for it."""
    endpoint = resolve_endpoint(
        connection.target,
        token=connection.token,
        tls=connection.tls,
        insecure=connection.insecure,
        keepalive=None,
        user_agent="headwater-cli",
    )
    try:
        statuses = _health(endpoint)
    except grpc.RpcError as error:
        named = bool(connection.target or os.environ.get("HEADWATER_TARGET"))
        yield Finding(
            f"server at {endpoint.target}",
            "problem" if named else "note",
            f"does not answer ({error.code().name.lower().replace('_', ' ')})",
            "start one with `headwater serve`, or name another with --target",
        )
        return
    served = ", ".join(f"{name} {status}" for name, status in statuses.items())
    well = all(status == "serving" for status in statuses.values())
    yield Finding(
        f"server at {endpoint.target}",
        "ok" if well else "problem",
        served,
        "" if well else _UNWELL,
    )
    # One that is not serving is asked as well: it says why, such as that the service behind it cannot be reached.
    if statuses["RetrievalService"] != _NOT_SERVED:
        yield _corpora(connection)
    if statuses["AssistantService"] != _NOT_SERVED:
        yield _assistants(connection)


def _health(endpoint: Endpoint) -> dict[str, str]:
    """The status of each service, by `grpc.health.v1.Health/Check`.

    Its request has one field, a string, and its response one, an enumeration; protobuf's wrappers of a string and of an
    integer are the same on the wire, and a client's installation has no other class for them.
    """
    channel = (
        grpc.insecure_channel(endpoint.target, options=endpoint.options)
        if endpoint.credentials is None
        else grpc.secure_channel(endpoint.target, endpoint.credentials, options=endpoint.options)
    )
    statuses = {}
    with channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=wrappers_pb2.StringValue.SerializeToString,
            response_deserializer=wrappers_pb2.Int32Value.FromString,
        )
        for name in _SERVICES:
            request = wrappers_pb2.StringValue(value=f"headwater.v1.{name}")
            try:
                answer = check(request, timeout=_SECONDS, metadata=endpoint.metadata)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                statuses[name] = _NOT_SERVED
            else:
                statuses[name] = _STATUSES.get(answer.value, "unknown")
    return statuses


def _corpora(connection: Connection) -> Finding:
    try:
        with connection.open(timeout=_SECONDS) as client:
            first = next(client.corpora.list(page_size=1), None)
    except HeadwaterError as error:
        return _unanswered("its corpora", error)
    return Finding("its corpora", "ok", "can be listed" if first is not None else "there are none yet")


def _assistants(connection: Connection) -> Finding:
    try:
        with connection.open(timeout=_SECONDS) as client:
            listed = list(client.assistants())
    except HeadwaterError as error:
        return _unanswered("its assistants", error)
    default = next((assistant.name for assistant in listed if assistant.default_assistant), "none")
    return Finding("its assistants", "ok", f"{len(listed)}, by default {default.removeprefix('assistants/')}")


def _unanswered(subject: str, error: HeadwaterError) -> Finding:
    advice = behind_hint(error)
    return Finding(subject, "problem", error.message.rstrip(". ") if advice else describe(error), advice)
