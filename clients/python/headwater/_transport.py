"""The blocking connection: grpcio's channel and stubs, with its exceptions turned into ours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import grpc

from headwater._connection import Endpoint
from headwater._exceptions import ClientClosed, HeadwaterError
from headwater._status import CallContext, read_failure, to_exception
from headwater.v1 import answer_service_pb2_grpc, assistant_service_pb2_grpc, retrieval_service_pb2_grpc

Req = TypeVar("Req")
Res = TypeVar("Res")
Res_co = TypeVar("Res_co", covariant=True)


_SENDING_LIMIT = 5.0
_CLOSING_LIMIT = 1.0


class SyncCall(Protocol[Res_co]):
    """The part of grpcio's call that is used here; its own type has no public name."""

    def __iter__(self) -> Iterator[Res_co]: ...

    def cancel(self) -> object:
        """Cancels the call; harmless once it has ended."""


class Transport:
    """A channel to one server, with the stubs of its services.

    Attributes:
        target: The address of the server.
        timeout: Seconds that a unary call may take. None: without limit.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float | None) -> None:
        self.target = endpoint.target
        self.timeout = timeout
        self._metadata = endpoint.metadata
        self._closed = False
        self._sending: set[grpc.Future[Any]] = set()
        self._channel = (
            grpc.insecure_channel(endpoint.target, options=endpoint.options)
            if endpoint.credentials is None
            else grpc.secure_channel(endpoint.target, endpoint.credentials, options=endpoint.options)
        )
        self.answers = answer_service_pb2_grpc.AnswerServiceStub(self._channel)
        self.retrieval = retrieval_service_pb2_grpc.RetrievalServiceStub(self._channel)
        self.assistants = assistant_service_pb2_grpc.AssistantServiceStub(self._channel)

    def unary(self, method: grpc.UnaryUnaryMultiCallable[Req, Res], request: Req) -> Res:
        """Sends a request and waits for its response.

        Raises:
            CallError: The call failed.
            ClientClosed: The client was closed.
        """
        self.check_open()
        try:
            return method(request, timeout=self.timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._exception(error, begun=False) from None

    def stream(
        self, method: grpc.UnaryStreamMultiCallable[Req, Res], request: Req, *, timeout: float | None
    ) -> Generator[Res, None, None]:
        """Sends a request and gives its responses; closing the iterator cancels the call.

        Raises:
            CallError: The call failed.
            ClientClosed: The client was closed.
        """
        self.check_open()
        return self._responses(method(request, timeout=timeout, metadata=self._metadata))

    def upload(
        self, method: grpc.StreamStreamMultiCallable[Req, Res], requests: Iterable[Req], *, timeout: float | None
    ) -> Generator[Res, None, None]:
        """Sends requests and gives the responses that come meanwhile; closing the iterator cancels the call.

        Raises:
            CallError: The call failed.
            ClientClosed: The client was closed.
        """
        self.check_open()
        return self._responses(method(iter(requests), timeout=timeout, metadata=self._metadata))

    def open_stream(
        self, method: grpc.UnaryStreamMultiCallable[Req, Res], request: Req, *, timeout: float | None
    ) -> SyncCall[Res]:
        """Sends a request and gives grpcio's call itself, for a reader that has its own way with failures.

        Raises:
            ClientClosed: The client was closed.
        """
        self.check_open()
        return method(request, timeout=timeout, metadata=self._metadata)

    def send(self, method: grpc.UnaryUnaryMultiCallable[Req, Res], request: Req) -> None:
        """Sends a request without waiting for what comes of it; `close` waits a little for it to have gone out."""
        if self._closed:
            return
        sent = method.future(request, timeout=_SENDING_LIMIT, metadata=self._metadata)
        self._sending.add(sent)
        sent.add_done_callback(self._sending.discard)

    def check_open(self) -> None:
        """Raises `ClientClosed` if `close` was called."""
        if self._closed:
            raise ClientClosed("the client was closed: make a new one")

    def close(self) -> None:
        """Closes the channel, and cancels what runs over it. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            until = time.monotonic() + _CLOSING_LIMIT
            for sent in list(self._sending):
                with contextlib.suppress(grpc.RpcError, grpc.FutureTimeoutError, grpc.FutureCancelledError):
                    sent.result(timeout=max(0.0, until - time.monotonic()))
            self._channel.close()

    def _responses(self, call: SyncCall[Res]) -> Generator[Res, None, None]:
        begun = False
        try:
            for response in call:
                begun = True
                yield response
        except grpc.RpcError as error:
            raise self._exception(error, begun=begun) from None
        finally:
            call.cancel()

    def _exception(self, error: grpc.RpcError, *, begun: bool) -> HeadwaterError:
        if self._closed:
            return ClientClosed("the client was closed while the call was under way")
        return to_exception(read_failure(error), CallContext(target=self.target, begun=begun))
