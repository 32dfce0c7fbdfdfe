"""Errors as statuses, and back again through a real hop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import grpc
import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from headwater.v1 import document_pb2, error_reason_pb2, retrieval_service_pb2
from headwater.v1.retrieval_service_pb2 import GetCorpusRequest, ImportDocumentHeader, ImportDocumentRequest
from headwater_server.errors import (
    AlreadyExists,
    FieldViolation,
    InvalidRequest,
    NotImplementedYet,
    OutOfRange,
    Overloaded,
    PreconditionFailed,
    Reason,
    ResourceNotFound,
    ServiceError,
)
from headwater_server.interfaces import Caller, Retrieval
from headwater_server.runtime.bounds import bounded
from headwater_server.runtime.remote import remote_retrieval
from headwater_server.runtime.server import Server
from headwater_server.runtime.servicers import RETRIEVAL
from headwater_server.runtime.status import CODE_OF_REASON, CallStatus, UnauthenticatedError, status_of
from tests.orchestrator.asking import ME
from tests.runtime.serving import WAIT_SECONDS, connected, settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

REQUEST = GetCorpusRequest(name="corpora/c")


def test_every_reason_of_the_contract_has_a_row() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 (an enum wrapper, no mapping)
    assert names == {reason.value for reason in Reason}
    assert set(CODE_OF_REASON) == set(Reason)


def test_a_defect_has_no_row() -> None:
    assert status_of(ZeroDivisionError("secret")) is None


@given(
    st.sampled_from([reason for reason in Reason if reason is not Reason.INTERNAL]),
    st.text(max_size=3000),
    st.dictionaries(st.text(max_size=10), st.text(max_size=2000), max_size=12),
    st.lists(st.builds(FieldViolation, st.text(max_size=2000), st.text(max_size=2000)), max_size=12),
)
def test_whatever_an_error_says_its_status_fits_into_trailers(
    reason: Reason, message: str, metadata: dict[str, str], violations: list[FieldViolation]
) -> None:
    error = ServiceError(reason, message, metadata=metadata, violations=violations, retry_after=1)
    status = status_of(error, request_id="r")
    assert status is not None
    short = bounded(status)
    assert short.code is CODE_OF_REASON[reason]
    assert len(short.message.encode()) <= 1000
    assert short.proto().ByteSize() < 4500
    (info,) = [item for item in short.details if isinstance(item, error_details_pb2.ErrorInfo)]
    assert info.reason == reason.value
    if len(message.encode()) <= 1000:
        assert short.message == message


def errors() -> list[Exception]:
    """One of each kind."""
    by_reason: list[Exception] = [
        ServiceError(reason, f"because of {reason}", metadata={"answer": "answers/a"}, retry_after=1.5)
        for reason in Reason
        if reason not in {Reason.INTERNAL, Reason.RESOURCE_NOT_FOUND, Reason.INVALID_FIELD}
    ]
    return [
        *by_reason,
        InvalidRequest("retrieval.corpora[0]", "is no name"),
        ServiceError(Reason.INVALID_FIELD, "two", violations=[FieldViolation("a", "b"), FieldViolation("c", "d")]),
        ResourceNotFound("corpora/x"),
        ResourceNotFound("corpora/x", "corpora/x has gone"),
        Overloaded("full", retry_after=2),
        AlreadyExists("corpora/x"),
        AlreadyExists("corpora/x", "corpora/x is taken"),
        OutOfRange("there is nothing after 9"),
        NotImplementedYet("later"),
        PreconditionFailed("corpora/x has documents"),
        UnauthenticatedError("a token, please"),
    ]


class FailingRetrieval:
    """Raises what it is told to, unary or after one message of a stream."""

    def __init__(self) -> None:
        self.error: Exception = ValueError()
        self.callers: list[Caller] = []

    async def get_corpus(self, request: GetCorpusRequest, caller: Caller) -> document_pb2.Corpus:
        del request
        self.callers.append(caller)
        raise self.error

    async def watch_document(
        self, request: retrieval_service_pb2.WatchDocumentRequest, caller: Caller
    ) -> AsyncGenerator[retrieval_service_pb2.WatchDocumentResponse]:
        del request, caller
        yield retrieval_service_pb2.WatchDocumentResponse()
        raise self.error

    async def import_document(
        self, requests: AsyncIterator[ImportDocumentRequest], caller: Caller
    ) -> AsyncGenerator[retrieval_service_pb2.ImportDocumentResponse]:
        del caller
        count = 0
        async for _ in requests:
            count += 1
            yield retrieval_service_pb2.ImportDocumentResponse(committed_bytes=count)


@asynccontextmanager
async def hop(far: object) -> AsyncGenerator[tuple[Retrieval, Server]]:
    """The retrieval service at the other end of a real connection."""
    server = Server(settings(), {RETRIEVAL: far})
    async with connected(await server.start()) as stubs:
        try:
            yield remote_retrieval(stubs.channel), server
        finally:
            await server.stop()


async def raised_by(call: Any) -> Exception:
    try:
        await call
    except Exception as error:  # any: it is what the test looks at
        return error
    pytest.fail("nothing was raised")


async def all_of(stream: Any) -> list[Any]:
    async with aclosing(stream):
        return [message async for message in stream]


async def test_every_error_is_the_same_after_a_hop() -> None:
    far = FailingRetrieval()
    watch = retrieval_service_pb2.WatchDocumentRequest(name="corpora/c/documents/d")
    async with hop(far) as (near, _):
        for error in errors():
            far.error = error
            expected = status_of(error, request_id=ME.request_id)
            for call in (near.get_corpus(REQUEST, ME), all_of(near.watch_document(watch, ME))):
                returned = await raised_by(call)
                status = status_of(returned, request_id=ME.request_id)
                assert status == expected, error
                assert str(returned) == str(error)
                if isinstance(error, ServiceError):
                    assert isinstance(returned, ServiceError)
                    assert returned.reason is error.reason
                    assert returned.retry_after == error.retry_after
                    assert returned.violations == error.violations


async def test_a_defect_stays_the_same_id_after_a_hop() -> None:
    far = FailingRetrieval()
    far.error = ZeroDivisionError("secret")
    async with hop(far) as (near, _):
        status = status_of(await raised_by(near.get_corpus(REQUEST, ME)))
    assert isinstance(status, CallStatus)
    assert status.code is grpc.StatusCode.INTERNAL
    (info,) = status.details
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert info.metadata["error_id"] in status.message


async def test_who_calls_and_under_which_id_goes_along() -> None:
    far = FailingRetrieval()
    far.error = ResourceNotFound("corpora/c")
    server = Server(settings(tokens={"acme": "acme-token-0123456789"}), {RETRIEVAL: far})
    async with connected(await server.start()) as stubs:
        caller = Caller(tenant="ignored", request_id="call-7", credential="acme-token-0123456789")
        await raised_by(remote_retrieval(stubs.channel).get_corpus(REQUEST, caller))
    await server.stop()
    assert far.callers == [Caller(tenant="acme", request_id="call-7", credential="acme-token-0123456789")]


async def test_a_service_that_is_not_there_is_unavailable_with_a_reason() -> None:
    async with hop(FailingRetrieval()) as (near, server):
        await server.stop()
        error = await raised_by(near.get_corpus(REQUEST, ME))
    assert isinstance(error, ServiceError)
    assert error.reason is Reason.PROVIDER_UNAVAILABLE
    assert error.metadata == {"service": "retrieval"}
    assert "retrieval service" in error.message


async def test_a_service_that_goes_away_in_mid_stream_is_unavailable_too() -> None:
    class Hanging(FailingRetrieval):
        async def watch_document(
            self, request: retrieval_service_pb2.WatchDocumentRequest, caller: Caller
        ) -> AsyncGenerator[retrieval_service_pb2.WatchDocumentResponse]:
            del request, caller
            yield retrieval_service_pb2.WatchDocumentResponse()
            await anyio.sleep_forever()

    watch = retrieval_service_pb2.WatchDocumentRequest(name="corpora/c/documents/d")
    async with hop(Hanging()) as (near, server), aclosing(near.watch_document(watch, ME)) as stream:
        await anext(stream)
        await server.stop()
        error = await raised_by(anext(stream))
    assert isinstance(error, ServiceError)
    assert error.reason is Reason.PROVIDER_UNAVAILABLE


async def test_a_failure_of_our_own_callers_requests_comes_back_as_itself() -> None:
    async def requests() -> AsyncGenerator[ImportDocumentRequest]:
        yield ImportDocumentRequest(header=ImportDocumentHeader(parent="corpora/c"))
        raise InvalidRequest("data", "is broken")

    async with hop(FailingRetrieval()) as (near, _):
        with anyio.fail_after(WAIT_SECONDS):
            error = await raised_by(all_of(near.import_document(requests(), ME)))
    assert isinstance(error, InvalidRequest)


async def test_a_rule_broken_in_a_request_stream_comes_back_from_the_far_end() -> None:
    async def requests() -> AsyncGenerator[ImportDocumentRequest]:
        yield ImportDocumentRequest(header=ImportDocumentHeader(parent="nowhere"))

    async with hop(FailingRetrieval()) as (near, _):
        with anyio.fail_after(WAIT_SECONDS):
            error = await raised_by(all_of(near.import_document(requests(), ME)))
    assert isinstance(error, ServiceError)
    assert [violation.field for violation in error.violations] == ["header.parent"]


async def test_closing_a_remote_stream_closes_the_far_end() -> None:
    closed = anyio.Event()

    class Endless(FailingRetrieval):
        async def watch_document(
            self, request: retrieval_service_pb2.WatchDocumentRequest, caller: Caller
        ) -> AsyncGenerator[retrieval_service_pb2.WatchDocumentResponse]:
            del request, caller
            try:
                while True:
                    yield retrieval_service_pb2.WatchDocumentResponse()
                    await anyio.sleep(0.01)
            finally:
                closed.set()

    watch = retrieval_service_pb2.WatchDocumentRequest(name="corpora/c/documents/d")
    async with hop(Endless()) as (near, _):
        async with aclosing(near.watch_document(watch, ME)) as stream:
            await anext(stream)
        with anyio.fail_after(WAIT_SECONDS):
            await closed.wait()


async def test_a_refusal_that_comes_while_more_is_being_sent_keeps_its_status() -> None:
    async def requests() -> AsyncGenerator[ImportDocumentRequest]:
        yield ImportDocumentRequest(header=ImportDocumentHeader(parent="corpora/c"))
        for _ in range(50):
            yield ImportDocumentRequest(data=b"x" * 1000)

    class Refusing(FailingRetrieval):
        async def import_document(
            self, requests: AsyncIterator[ImportDocumentRequest], caller: Caller
        ) -> AsyncGenerator[retrieval_service_pb2.ImportDocumentResponse]:
            del caller
            async for _ in requests:
                raise ResourceNotFound("corpora/c")
            yield retrieval_service_pb2.ImportDocumentResponse()

    async with hop(Refusing()) as (near, _):
        for _ in range(40):
            with anyio.fail_after(WAIT_SECONDS):
                error = await raised_by(all_of(near.import_document(requests(), ME)))
            assert isinstance(error, ResourceNotFound)


async def test_a_limit_of_ones_own_on_a_call_is_a_limit() -> None:
    class Silent:
        async def get_corpus(self, request: GetCorpusRequest, caller: Caller) -> document_pb2.Corpus:
            del request, caller
            await anyio.sleep_forever()
            raise AssertionError

    async with hop(Silent()) as (near, _):
        with anyio.move_on_after(0.05) as scope:
            await near.get_corpus(REQUEST, ME)
    assert scope.cancelled_caught
