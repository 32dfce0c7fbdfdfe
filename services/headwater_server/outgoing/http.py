"""HTTP to providers of models, embedders and rerankers: with `transport`, the only module that knows an HTTP library.

The client is httpx's with aiohttp underneath (`httpx-aiohttp`), which costs a third of httpx's own transport for each
piece of a stream. None of their types and none of their exceptions leave the two modules: failures are `ServiceError`s
that name the provider, and hold neither URL nor key. They are raised without their cause, because the libraries'
exceptions carry the request with its headers, and a log that prints what they hold would print the key.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Protocol, TypeVar

import aiohttp
import anyio
import httpx

from headwater_server.errors import ServiceError
from headwater_server.outgoing.framing import BodyParser, CutOff, FramingError
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors
from headwater_server.outgoing.sse import EventParser, ServerSentEvent
from headwater_server.outgoing.transport import BENEATH, Transports

MAX_STREAM_BYTES = 64 << 20
MAX_DOCUMENT_BYTES = 8 << 20
MAX_ERROR_BYTES = 64 << 10

_PIECE_BYTES = 16 << 10
"""How much of a body is taken at once. What is parsed takes several times as much memory as what it was, for as long as
its reader does not read."""
_DRAIN_SECONDS = 0.05
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, TimeoutError)


ItemT = TypeVar("ItemT")


class BodyStream:
    """The body of one response. Read it, then `finish` it where the protocol has said that it has ended."""

    def __init__(self, pieces: _Pieces, errors: ProviderErrors) -> None:
        self._pieces = pieces
        self._errors = errors
        self._size = 0

    def events(self) -> AsyncGenerator[ServerSentEvent]:
        """Server-sent events as they come; see `items`."""
        return self.items(EventParser())

    async def items(self, parser: BodyParser[ItemT]) -> AsyncGenerator[ItemT]:
        """What a parser makes of the body, as it comes. Ends where the body ends, which is not yet an answer's end.

        Raises:
            ServiceError: The connection broke (PROVIDER_TRUNCATED), or the body is not as its format demands, or a
                bound was passed (PROVIDER_PROTOCOL), or the body is a document that tells of an error (its reason).
        """
        ended = False
        beginning: bytearray | None = bytearray()  # of a body in which nothing was found yet
        while not ended:
            piece = await self._next_piece()
            ended = piece is None
            if piece and beginning is not None and len(beginning) < MAX_ERROR_BYTES:
                beginning += piece
            try:
                items = parser.finish() if piece is None else parser.feed(piece)
            except FramingError as error:
                raise self._not_framed(error, bytes(beginning or b"")) from error
            beginning = None if items else beginning
            for item in items:
                yield item

    async def finish(self) -> None:
        """Reads what is left of the body, for a moment at most, so that the connection can be used again."""
        with anyio.move_on_after(_DRAIN_SECONDS):
            try:
                while await self._next_piece() is not None:
                    pass
            except ServiceError:
                return  # the answer is complete; only the connection is lost

    def _not_framed(self, error: FramingError, beginning: bytes) -> ServiceError:
        told = ErrorBody.told_in(beginning)
        if told is not None:
            return self._errors.in_stream(told)
        return self._errors.truncated(str(error)) if isinstance(error, CutOff) else self._errors.protocol(str(error))

    async def _next_piece(self) -> bytes | None:
        try:
            piece = await self._pieces.next()
        except _FAILURES as error:
            raise self._errors.truncated(_kind(error)) from None
        if piece is None:
            return None
        self._size += len(piece)
        if self._size > MAX_STREAM_BYTES:
            raise self._errors.protocol(f"a stream of more than {MAX_STREAM_BYTES} bytes")
        return piece


class _Pieces(Protocol):
    """The pieces of a body."""

    async def next(self) -> bytes | None:
        """The next piece; None where the body has ended."""
        ...

    def close(self) -> None:
        """Notes that no more are wanted."""
        ...


class _DecodedPieces:
    """The pieces of any body, as httpx gives them."""

    def __init__(self, response: httpx.Response) -> None:
        self._pieces = aiter(response.aiter_bytes())

    async def next(self) -> bytes | None:
        return await anext(self._pieces, None)

    def close(self) -> None:
        pass  # with the response


class _PlainPieces:
    """The pieces of a body that is not compressed, from aiohttp itself.

    That leaves out five iterators between it and us; and where aiohttp cancels a timer and sets another for each piece,
    there is one for the whole body.
    """

    def __init__(self, response: aiohttp.ClientResponse, *, silence: float) -> None:
        self._content = response.content
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._waiting_since: float | None = None
        protocol = None if response.connection is None else response.connection.protocol
        if protocol is not None:
            protocol.read_timeout = None  # set anew for the next request of the connection
        self._timer = self._loop.call_later(silence, self._look)

    async def next(self) -> bytes | None:
        self._waiting_since = self._loop.time()
        try:
            return await self._content.read(_PIECE_BYTES) or None
        finally:
            self._waiting_since = None

    def close(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        """Ends a body that has been waited for too long, and comes back for one that has not."""
        now = self._loop.time()
        due = (now if self._waiting_since is None else self._waiting_since) + self._silence
        if due > now:
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._content.set_exception(aiohttp.SocketTimeoutError("silence"))


class HttpClient:
    """A pool of connections to one provider. Any number of tasks use it at once."""

    def __init__(
        self,
        base_url: str,
        *,
        provider: str,
        api_key: str = "",
        key_header: str = "",
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 600.0,
    ) -> None:
        """Makes a client; connects to nothing yet.

        TLS certificates are verified. Redirects are not followed, as they would carry the key elsewhere. Proxies are
        taken from the environment as every program does it (`HTTPS_PROXY`, `NO_PROXY`), except to this machine itself.

        Args:
            base_url: Where the API is, without a trailing slash.
            provider: The provider's name, for errors.
            api_key: Sent with each request, and removed from whatever the provider says. Empty: none is sent.
            key_header: The header that carries the bare key. Empty: `authorization`, as a bearer token.
            headers: Further headers of each request; none holds a secret.
            connect_timeout: Seconds to wait for a connection.
            read_timeout: Seconds of silence after which a connection counts as dead.

        Raises:
            ValueError: The base URL is none, or the environment names a proxy for it that cannot be used. The message
                holds neither of them.
        """
        self.errors = ProviderErrors(provider, secret=api_key)
        self._base_url = base_url
        fixed = {"accept-encoding": "identity", **(headers or {})}  # a compressed stream is held back in blocks
        if api_key:
            fixed[key_header or "authorization"] = api_key if key_header else f"Bearer {api_key}"
        self._client = Transports(base_url, headers=fixed, connect_timeout=connect_timeout, read_timeout=read_timeout)
        self._read_timeout = read_timeout

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def warm(self) -> None:
        """Opens a connection for the next request, unless one is open; sends nothing.

        Where that fails nothing is said of it: the request will.
        """
        with suppress(*_FAILURES):
            await self._client.connect()

    @asynccontextmanager
    async def post_stream(
        self, path: str, document: Mapping[str, object], *, accept: str = "text/event-stream"
    ) -> AsyncGenerator[BodyStream]:
        """Posts a JSON document and streams the answer.

        Leaving the context, by whatever way, closes the connection at once unless the body was read to its end.

        Args:
            path: Where, below the base URL.
            document: What.
            accept: The media type that is wanted.

        Raises:
            ServiceError: The provider cannot be reached, answers with another status than 200, or breaks off.
        """
        headers = {"content-type": "application/json", "accept": accept}
        async with self._open("POST", path, content=_body(document), headers=headers) as response:
            pieces = self._pieces(response)
            try:
                yield BodyStream(pieces, self.errors)
            finally:
                pieces.close()

    async def post_json(
        self, path: str, document: Mapping[str, object], *, max_bytes: int = MAX_DOCUMENT_BYTES
    ) -> object:
        """Posts a JSON document and returns the one that is answered.

        Args:
            path: Where, below the base URL.
            document: What.
            max_bytes: How long the answer may be.

        Raises:
            ServiceError: As for `post_stream`; PROVIDER_PROTOCOL if the answer is not JSON, or too long.
        """
        headers = {"content-type": "application/json", "accept": "application/json"}
        async with self._open("POST", path, content=_body(document), headers=headers) as response:
            return self._parsed(await self._read(response, limit=max_bytes))

    async def get_json(self, path: str) -> object:
        """Gets a JSON document.

        Raises:
            ServiceError: As for `post_stream`; PROVIDER_PROTOCOL if it is not JSON.
        """
        async with self._open("GET", path, content=None, headers={"accept": "application/json"}) as response:
            return self._parsed(await self._read(response, limit=MAX_DOCUMENT_BYTES))

    def _pieces(self, response: httpx.Response) -> _Pieces:
        beneath = response.extensions.get(BENEATH)
        if beneath is None or "content-encoding" in response.headers:
            return _DecodedPieces(response)
        return _PlainPieces(beneath, silence=self._read_timeout)

    def _parsed(self, body: bytes) -> object:
        try:
            document: object = json.loads(body)
        except (ValueError, RecursionError):
            raise self.errors.protocol("an answer that is not JSON") from None
        return document

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, *, content: bytes | None, headers: Mapping[str, str]
    ) -> AsyncGenerator[httpx.Response]:
        try:
            request = self._client.build_request(method, self._base_url + path, content=content, headers=dict(headers))
            response = await self._client.send(request, stream=True)
        except aiohttp.ClientResponseError:
            raise self.errors.protocol("a response that is not HTTP") from None
        except _FAILURES as error:
            raise self.errors.unreachable(_kind(error)) from None
        try:
            if response.status_code != 200:
                body = await self._read(response, limit=MAX_ERROR_BYTES, whole=False)
                raise self.errors.status(response.status_code, ErrorBody.parse(body), headers=response.headers)
            yield response
        finally:
            await response.aclose()

    async def _read(self, response: httpx.Response, *, limit: int, whole: bool = True) -> bytes:
        body = bytearray()
        try:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > limit:
                    break
        except _FAILURES as error:
            if whole:
                raise self.errors.truncated(_kind(error)) from None
        if whole and len(body) > limit:
            raise self.errors.protocol(f"a document of more than {limit} bytes")
        return bytes(body[:limit])


def _body(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _kind(error: BaseException) -> str:
    """What happened, without what it happened to.

    The transport reports every failure to connect as a time-out; what it comes from says what it was.
    """
    cause: BaseException | None = error
    while cause is not None:
        found = getattr(cause, "os_error", cause)
        match found:
            case ConnectionRefusedError():
                return "connection refused"
            case aiohttp.ServerDisconnectedError():
                return "it closed the connection without an answer"
            case ConnectionResetError():
                return "connection reset"
            case socket.gaierror():
                return "its name was not found"
            case ssl.SSLError():
                return "TLS failed"
            case _:
                cause = cause.__cause__
    return type(error).__name__
