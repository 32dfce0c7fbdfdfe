"""From a status to an exception: the table, and what is carried over."""

from __future__ import annotations

import copy
import pickle

import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from headwater import CallError, ConnectionFailed, ConnectionLost, InternalError, InvalidRequest, exception_table
from headwater import _exceptions as exceptions
from headwater._status import TABLE, CallContext, Failure, Row, from_status, is_connection_loss, to_exception
from headwater.v1 import error_reason_pb2


def failure(code: str, message: str = "it failed", *details: Message) -> Failure:
    packed = []
    for detail in details:
        each = any_pb2.Any()
        each.Pack(detail)
        packed.append(each)
    return Failure(code, message, status_pb2.Status(message=message, details=packed))


def info(reason: str, domain: str = "headwater", **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata)


def test_every_reason_of_the_wire_has_a_line_in_the_table() -> None:
    names = [name for name, _ in error_reason_pb2.ErrorReason.items()]
    reasons = {name.removeprefix("ERROR_REASON_") for name in names} - {"UNSPECIFIED"}
    assert {row.reason for row in TABLE if row.reason} == reasons


def test_every_status_but_ok_has_a_line_in_the_table() -> None:
    assert {row.code for row in TABLE if not row.reason} == set(code_pb2.Code.keys()) - {"OK"}


def test_every_failure_has_a_line_in_the_table_or_is_a_parent() -> None:
    raised = {row.exception for row in TABLE} | {ConnectionFailed, ConnectionLost}
    calls = {each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, CallError)}
    for exception in calls - raised:
        assert exception.__subclasses__(), f"{exception.__name__} is never raised"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.code}-{row.reason or 'none'}")
def test_a_status_becomes_what_its_line_says(row: Row) -> None:
    details = [info(row.reason)] if row.reason else [info("SOMETHING_NEW")]
    error = to_exception(failure(row.code, "it failed", *details), CallContext(begun=True))
    assert type(error) is row.exception
    assert str(error) == "it failed"


def test_the_reason_decides_where_the_status_is_another() -> None:
    error = to_exception(failure("UNKNOWN", "x", info("CHAT_BUSY", chat="chats/1")), CallContext())
    assert type(error) is exceptions.ChatBusy


def test_reasons_of_another_domain_are_not_ours() -> None:
    error = to_exception(failure("ABORTED", "x", info("CHAT_BUSY", domain="example.com")), CallContext())
    assert type(error) is exceptions.Aborted


def test_everything_in_the_details_is_carried_over() -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="top_k", description="too large")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    error = to_exception(
        failure(
            "INVALID_ARGUMENT",
            "top_k: too large",
            info("INVALID_FIELD", field="top_k", answer="answers/1"),
            error_details_pb2.BadRequest(field_violations=[violation]),
            retry,
            error_details_pb2.ResourceInfo(resource_name="corpora/x"),
        ),
        CallContext(partial="part", request_id="id"),
    )
    assert isinstance(error, InvalidRequest)
    assert (error.code, error.reason, error.metadata["field"]) == ("INVALID_ARGUMENT", "INVALID_FIELD", "top_k")
    assert error.violations == (exceptions.FieldViolation("top_k", "too large"),)
    assert (error.retry_after, error.resource, error.answer) == (1.5, "corpora/x", "answers/1")
    assert (error.partial, error.request_id) == ("part", "id")
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 (our own object)
        assert type(twin) is InvalidRequest
        assert vars(twin) == vars(error)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"])
def test_a_stream_that_breaks_without_our_reason_is_a_lost_connection(code: str) -> None:
    broken = failure(code, "RST_STREAM")
    assert is_connection_loss(broken)
    assert type(to_exception(broken, CallContext(begun=True, target="host:1"))) is ConnectionLost


@pytest.mark.parametrize("said", ["failed to connect to all addresses; last error: refused", "DNS resolution failed"])
def test_a_connection_that_was_never_made_is_a_failed_one(said: str) -> None:
    error = to_exception(failure("UNAVAILABLE", said), CallContext(target="host:1"))
    assert type(error) is ConnectionFailed
    assert "host:1" in str(error)


def test_a_call_that_was_cut_off_before_anything_came_may_have_been_done() -> None:
    for said in ("recvmsg:Connection reset by peer", "no healthy upstream"):
        assert type(to_exception(failure("UNAVAILABLE", said), CallContext())) is ConnectionLost


def test_an_internal_error_has_the_id_of_the_servers_log() -> None:
    error = to_exception(failure("INTERNAL", "a defect", info("INTERNAL", error_id="7c0e")), CallContext())
    assert isinstance(error, InternalError)
    assert error.error_id == "7c0e"


def test_details_that_cannot_be_read_are_left_out() -> None:
    status = status_pb2.Status(
        details=[any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")]
    )
    assert type(to_exception(Failure("NOT_FOUND", "x", status), CallContext())) is exceptions.NotFound


def test_a_status_in_a_message_becomes_the_same_exception() -> None:
    detail = any_pb2.Any()
    detail.Pack(info("DOCUMENT_TOO_LARGE"))
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="too large", details=[detail])
    assert type(from_status(status, resource="corpora/a/documents/b")) is exceptions.DocumentTooLarge
    assert from_status(status_pb2.Status(code=999), resource="x").code == "UNKNOWN"


def test_the_table_is_shown_as_markdown() -> None:
    lines = exception_table().splitlines()
    assert lines[0] == "| status | reason | exception | when |"
    assert len(lines) == 2 + len(TABLE) + 2
    assert all(line.count("|") == 5 for line in lines)
    assert any("`ChatBusy`" in line and "`CHAT_BUSY`" in line for line in lines)
