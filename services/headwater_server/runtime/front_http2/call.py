"""One call as its handler sees it: messages that come, messages that go, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Self

import grpc

from headwater_server.orchestrator.turns import leave_turns
from headwater_server.runtime.front_http2 import fields
from headwater_server.runtime.front_http2.connection import Connection
from headwater_server.runtime.front_http2.fields import Metadata, RequestHead
from headwater_server.runtime.front_http2.kept import Kept
from headwater_server.runtime.front_http2.messages import BadMessage, MessageReader, Packed, prefix
from headwater_server.runtime.front_http2.sending import WRITE_AHEAD_BYTES

Serializer = Callable[[Any], bytes] | None


class Call:
    """A call that is under way. To a handler it is what `grpc.aio.ServicerContext` is.

    Args:
        connection: The connection it came on.
        stream: Its stream.
        head: Its headers.
        reader: Cuts what comes into messages.
        kept: Counts what is not read yet, for all calls of the connection.
        max_sent: How many bytes a message may have that goes to the caller.
        peer: Where it comes from, as gRPC writes it: `ipv4:127.0.0.1:50000`.
        identities: Who the caller is by its certificate: names, in bytes.
    """

    def __init__(
        self,
        connection: Connection,
        stream: int,
        head: RequestHead,
        *,
        reader: MessageReader,
        kept: Kept,
        max_sent: int,
        peer: str,
        identities: Sequence[bytes],
    ) -> None:
        self.head = head
        self.method = head.path.decode("latin-1")
        self.over = False
        """Whether it has its status, or nobody waits for one."""
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._stream = stream
        self._out = connection.outgoing(stream)
        self._max_sent = max_sent
        self._peer = peer
        self._identities = tuple(identities)
        self._reader = reader
        self._messages: deque[bytes] = deque()
        self._kept = kept
        self._kept_here = 0
        self._withheld = 0
        self._all_said = False
        self._news: asyncio.Future[None] | None = None
        self._deadline = None if head.timeout is None else time.monotonic() + head.timeout
        self._headers_sent = False
        self._serializer: Serializer = None
        self._deserializer: Callable[[bytes], Any] | None = None
        self._trailing: Metadata = ()
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._callbacks: list[Callable[[Any], None]] = []

    # What comes

    def received(self, data: bytes) -> None:
        """Takes a part of what the caller says; ends the call where it is no message."""
        if self.over:
            return
        held = bool(self._messages)
        before = self._reader.kept
        try:
            for message in self._reader.read(data):
                self._messages.append(message)
                self._keep(len(message))
        except BadMessage as error:
            self.fail(error.code, error.words)
            return
        self._keep(self._reader.kept - before)
        self._withheld += len(data)
        if not held:  # a message that waits holds up those behind it, or a caller could send without end
            self._give_back()
        self._tell()

    def ended(self) -> None:
        """Notes that the caller has said all."""
        self._all_said = True
        if self._reader.kept and not self.over:
            self.fail(grpc.StatusCode.INTERNAL, "a message is torn")
        self._tell()

    def fail(self, code: grpc.StatusCode, words: str) -> None:
        """Ends the call, and its handler; one that is over is left to tidy up."""
        if self.over:
            return
        self.finish(code, words)
        if self.task is not None:
            self.task.cancel()

    @property
    def kept(self) -> int:
        """How many bytes of what has come are kept until they are read."""
        return self._kept_here

    def _keep(self, size: int) -> None:
        self._kept_here += size
        self._kept.add(size)

    def _give_back(self) -> None:
        self._connection.consumed(self._stream, self._withheld)
        self._withheld = 0

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    @property
    def has_come(self) -> bool:
        """Whether the first message has, or will not."""
        return bool(self._messages) or self._all_said

    def peek(self) -> bytes | None:
        """The first message, which stays; None where there is none, or it is compressed."""
        message = self._messages[0] if self._messages else None
        return None if isinstance(message, Packed) else message

    async def read_message(self) -> bytes | None:
        """The next message, or None where the caller has said all.

        Raises:
            BadMessage: What came is none.
        """
        while not self._messages:
            if self._all_said:
                return None
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        message = self._messages.popleft()
        self._keep(-len(message))
        self._connection.read()
        if not self._messages:
            self._give_back()
        try:
            return self._reader.unpacked(message)
        except BadMessage as error:
            self.fail(error.code, error.words)
            await asyncio.sleep(0)  # where it is cancelled: to its handler it is as if the caller had gone
            raise

    async def read(self) -> Any:
        """The next request of a stream, or `grpc.aio.EOF`."""
        message = await self.read_message()
        if message is None:
            return grpc.aio.EOF
        return self._deserializer(message) if self._deserializer is not None else message

    def speak(self, handler: Any) -> None:
        """Takes how messages are encoded from a handler."""
        self._serializer, self._deserializer = handler.response_serializer, handler.request_deserializer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        request = await self.read()
        if request is grpc.aio.EOF:
            raise StopAsyncIteration
        return request

    # What goes

    async def send_initial_metadata(self, initial_metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Sends the headers now.

        Raises:
            grpc.aio.UsageError: They have been sent.
            grpc.aio.InternalError: Nobody is there to read them.
        """
        if self._headers_sent:
            raise grpc.aio.UsageError("initial metadata has been sent")
        if self.over:
            raise grpc.aio.InternalError("the call is over")
        self._send_headers(fields.metadata_block(initial_metadata))

    async def write(self, message: Any) -> None:
        """Sends a message; waits where the reader, or the connection, takes no more for now.

        Raises:
            grpc.aio.InternalError: Nobody is there to read it, or it is too large for that.
        """
        data = self._serializer(message) if self._serializer is not None else message
        size = len(data)
        if size > self._max_sent and not self.over:
            self.finish(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"Sent message larger than max ({size} vs. {self._max_sent})"
            )
        if self.over:
            raise grpc.aio.InternalError("the call is over")
        if not self._headers_sent:
            self._send_headers()
        self._connection.send_data(self._out, prefix(0, size) + data)
        if len(self._out.waiting) <= WRITE_AHEAD_BYTES:
            await leave_turns()
            return
        await self._out.relieved()
        if self.over:
            raise grpc.aio.InternalError("the call is over")

    def _send_headers(self, metadata: bytes = b"") -> None:
        self._headers_sent = True
        self._connection.send_headers(self._stream, fields.RESPONSE + metadata)

    # How it ends

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """Ends the call with a status that is not OK.

        Raises:
            grpc.aio.AbortError: Always, so that the handler ends too.
        """
        self.finish(code, details, trailing_metadata or self._trailing)
        raise grpc.aio.AbortError

    def finish(self, code: grpc.StatusCode, words: str = "", metadata: Metadata = ()) -> None:
        """Sends the status; nothing where the call has one."""
        if self.over:
            return
        self._code, self._details = code, words
        number: int = code.value[0]
        block = fields.trailers(number, words, metadata or ()) if number or words or metadata else fields.OK
        if not self._headers_sent:
            block = fields.RESPONSE + block
        self._end()
        self._connection.send_end(self._stream, block)

    def turn_away(self, code: grpc.StatusCode, words: str, metadata: Metadata) -> None:
        """Sends the status of a call that is not served, whose message has been looked at."""
        self._connection.read()
        self.finish(code, words, metadata)

    def finish_well(self) -> None:
        """Sends the status that the handler has set, or OK."""
        self.finish(self._code or grpc.StatusCode.OK, self._details, self._trailing)

    def finish_foreign(self, status: int) -> None:
        """Ends what is no gRPC call with a status of HTTP."""
        self._end()
        self._connection.send_end(self._stream, fields.http_error(status))

    def gone(self) -> None:
        """Notes that nobody waits for an answer any more."""
        if self.over:
            return
        self._end()
        if self.task is not None:
            self.task.cancel()

    def _end(self) -> None:
        self.over = True
        self._messages.clear()
        self._reader.forget()
        self._keep(-self._kept_here)
        for callback in self._callbacks:
            callback(self)

    # What a handler may want to know, or say

    def invocation_metadata(self) -> Metadata:
        """What the caller sends along."""
        return self.head.metadata

    def time_remaining(self) -> float | None:
        """How many seconds the caller waits, or None for as long as it takes."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """Sets what goes with the status."""
        self._trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> Metadata:
        """What goes with the status."""
        return self._trailing

    def set_code(self, code: grpc.StatusCode) -> None:
        """Sets the status."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Sets the status's message."""
        self._details = details

    def code(self) -> grpc.StatusCode | None:
        """The status, as far as it is set."""
        return self._code

    def details(self) -> str:
        """The status's message, as far as it is set."""
        return self._details

    def peer(self) -> str:
        """Where the call comes from."""
        return self._peer

    def peer_identities(self) -> Iterator[bytes] | None:
        """Who calls by its certificate; None without one."""
        return iter(self._identities) if self._identities else None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """The same as gRPC has it."""
        return {"x509_subject_alternative_name": self._identities} if self._identities else {}

    def done(self) -> bool:
        """Whether the call is over."""
        return self.over

    def cancelled(self) -> bool:
        """Whether it ended without a status."""
        return self.over and self._code is None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls `callback` with this call when it is over."""
        self._callbacks.append(callback)
