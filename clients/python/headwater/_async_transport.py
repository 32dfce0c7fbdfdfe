"""The asyncio connection: grpcio's channel and stubs, with its exceptions turned into ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, TypeVar, cast

import grpc
import grpc.aio

from headwater._connection import Endpoint
from headwater._exceptions import ClientClosed, HeadwaterError, UsageError
from headwater._status import CallContext, read_failure, to_exception
from headwater.v1 import (
    answer_service_pb2,
    answer_service_pb2_grpc,
    assistant_service_pb2_grpc,
    retrieval_service_pb2_grpc,
)

if TYPE_CHECKING:
    from headwater.v1.answer_service_pb2_grpc import AnswerServiceAsyncStub
    from headwater.v1.assistant_service_pb2_grpc import AssistantServiceAsyncStub
    from headwater.v1.retrieval_service_pb2_grpc import RetrievalServiceAsyncStub

Req = TypeVar("Req")
Res = TypeVar("Res")

_SENDING_LIMIT = 5.0
_CLOSING_LIMIT = 1.0


class AsyncTransport:
    """A channel to one server, with the stubs of its services, made in the event loop that first uses it.

    Attributes:
        target: The address of the server.
        timeout: Seconds that a unary call may take. None: without limit.
    """

    def __init__(self, endpoint: Endpoint, *, timeout: float | None) -> None:
        self.target = endpoint.target
        self.timeout = timeout
        self._endpoint = endpoint
        self._closed = False
        self._stopping: set[asyncio.Task[None]] = set()
        self._open: _Open | None = None

    @property
    def answers(self) -> AnswerServiceAsyncStub:
        """The stub of AnswerService."""
        return self._connect().answers

    @property
    def retrieval(self) -> RetrievalServiceAsyncStub:
        """The stub of RetrievalService."""
        return self._connect().retrieval

    @property
    def assistants(self) -> AssistantServiceAsyncStub:
        """The stub of AssistantService."""
        return self._connect().assistants

    async def unary(self, method: grpc.aio.UnaryUnaryMultiCallable[Req, Res], request: Req) -> Res:
        """Sends a request and waits for its response.

        Raises:
            CallError: The call failed.
        """
        try:
            return await method(request, timeout=self.timeout, metadata=self._endpoint.metadata)
        except grpc.RpcError as error:
            raise self._exception(error, begun=False) from None

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Req, Res],
        request: Req,
        *,
        timeout: float | None,  # noqa: ASYNC109 (it goes with the call, as its deadline)
    ) -> AsyncGenerator[Res, None]:
        """Sends a request and gives its responses; closing the iterator cancels the call.

        Raises:
            CallError: The call failed.
        """
        call = method(request, timeout=timeout, metadata=self._endpoint.metadata)
        begun = False
        try:
            async for response in call:
                begun = True
                yield response
        except grpc.RpcError as error:
            raise self._exception(error, begun=begun) from None
        finally:
            call.cancel()

    async def upload(
        self,
        method: grpc.aio.StreamStreamMultiCallable[Req, Res],
        requests: AsyncGenerator[Req, None],
        *,
        timeout: float | None,  # noqa: ASYNC109 (it goes with the call, as its deadline)
    ) -> AsyncGenerator[Res, None]:
        """Sends requests and gives the responses that come meanwhile; closing the iterator cancels the call.

        The requests are sent by a task of this method's: grpcio's own is left behind where a call fails.

        Raises:
            CallError: The call failed.
        """
        call = method(timeout=timeout, metadata=self._endpoint.metadata)
        sending = asyncio.create_task(_send(call, requests), name="headwater upload")
        begun = False
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                begun = True
                yield cast("Res", response)
        except grpc.RpcError as error:
            raise self._exception(error, begun=begun) from None
        except asyncio.CancelledError:
            if sending.done() and not sending.cancelled() and (failure := sending.exception()) is not None:
                raise failure from None  # the call was cancelled because there is nothing more to send
            raise
        finally:
            call.cancel()
            sending.cancel()
            await asyncio.wait([sending])

    def open_stream(
        self, method: grpc.aio.UnaryStreamMultiCallable[Req, Res], request: Req, *, timeout: float | None
    ) -> grpc.aio.UnaryStreamCall[Req, Res]:
        """Sends a request and gives grpcio's call itself, for a reader that has its own way with failures."""
        return method(request, timeout=timeout, metadata=self._endpoint.metadata)

    def stop_answer(self, request: answer_service_pb2.CancelAnswerRequest) -> None:
        """Sends a CancelAnswer without waiting for what comes of it; `close` waits a little for it to have gone out.

        Also works from another thread, or with no loop running, as garbage collection needs it.
        """
        if self._closed or self._open is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the connection with it
            self._open.loop.call_soon_threadsafe(self._send_stop, request, self._open.answers)

    def _send_stop(self, request: answer_service_pb2.CancelAnswerRequest, answers: AnswerServiceAsyncStub) -> None:
        if not self._closed:
            task = asyncio.create_task(self._stop(request, answers), name="headwater stop")
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def _stop(self, request: answer_service_pb2.CancelAnswerRequest, answers: AnswerServiceAsyncStub) -> None:
        with contextlib.suppress(grpc.RpcError):
            await answers.CancelAnswer(request, timeout=_SENDING_LIMIT, metadata=self._endpoint.metadata)

    def check_open(self) -> None:
        """Raises `ClientClosed` if `close` was called."""
        if self._closed:
            raise ClientClosed("the client was closed: make a new one")

    async def close(self) -> None:
        """Closes the channel, and cancels what runs over it. Closing twice is fine."""
        if not self._closed:
            if self._open is not None:
                await asyncio.sleep(0)  # what `stop_answer` was asked for has become a task then
            self._closed = True
            if self._stopping:
                await asyncio.wait(list(self._stopping), timeout=_CLOSING_LIMIT)
            if self._open is not None:
                await self._open.channel.close()

    def _connect(self) -> _Open:
        self.check_open()
        if self._open is None:
            self._open = _Open(self._endpoint)
        if self._open.loop is not asyncio.get_running_loop():
            raise UsageError("an AsyncClient belongs to the event loop that first used it: make one in each loop")
        return self._open

    def _exception(self, error: grpc.RpcError, *, begun: bool) -> HeadwaterError:
        if self._closed:
            return ClientClosed("the client was closed while the call was under way")
        return to_exception(read_failure(error), CallContext(target=self.target, begun=begun))


async def _send(call: grpc.aio.StreamStreamCall[Req, Res], requests: AsyncGenerator[Req, None]) -> None:
    try:
        async with contextlib.aclosing(requests):
            async for request in requests:
                await call.write(request)
        await call.done_writing()
    except (grpc.RpcError, asyncio.InvalidStateError):
        pass  # the call has ended, which its reader is told
    except BaseException:
        call.cancel()
        raise


class _Open:
    """A channel, its loop, and the stubs over it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.loop = asyncio.get_running_loop()
        self.channel = (
            grpc.aio.insecure_channel(endpoint.target, options=endpoint.options)
            if endpoint.credentials is None
            else grpc.aio.secure_channel(endpoint.target, endpoint.credentials, options=endpoint.options)
        )
        # The stubs for asyncio are classes of their own in the type stubs only.
        self.answers = cast("AnswerServiceAsyncStub", answer_service_pb2_grpc.AnswerServiceStub(self.channel))
        self.retrieval = cast(
            "RetrievalServiceAsyncStub", retrieval_service_pb2_grpc.RetrievalServiceStub(self.channel)
        )
        self.assistants = cast(
            "AssistantServiceAsyncStub", assistant_service_pb2_grpc.AssistantServiceStub(self.channel)
        )
