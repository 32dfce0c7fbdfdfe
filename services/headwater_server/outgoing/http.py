"""HTTP to providers of models, embedders and rerankers: the only module that knows an HTTP library.

The client is httpx's with aiohttp underneath (`httpx-aiohttp`), which costs a third of httpx's own transport for each
piece of a stream. None of their types and none of their exceptions leave this module: failures are `ServiceError`s
that name the provider, and hold neither URL nor key. They are raised without their cause, because the libraries'
exceptions carry the request with its headers, and a log that prints what they hold would print the key.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import aiohttp
import anyio
import httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

from headwater_server.errors import ServiceError
from headwater_server.outgoing.framing import BodyParser, CutOff, FramingError
from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors
from headwater_server.outgoing.sse import EventParser, ServerSentEvent

MAX_STREAM_BYTES = 64 << 20
MAX_DOCUMENT_BYTES = 8 << 20
MAX_ERROR_BYTES = 64 << 10

_KEEPALIVE_SECONDS = 4.0  # under the 5 s after which common servers close, so that a request never meets a closed one
_STALE_CONNECTIONS = 3  # how many kept connections may turn out to be closed, before a request has a new one's chance
_DRAIN_SECONDS = 0.05
_LOOPBACK = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, TimeoutError)


ItemT = TypeVar("ItemT")


class BodyStream:
    """The body of one response. Read it, then `finish` it where the protocol has said that it has ended."""

    def __init__(self, response: httpx.Response, errors: ProviderErrors) -> None:
        self._pieces = aiter(response.aiter_bytes())
        self._errors = errors
        self._size = 0

    def events(self) -> AsyncGenerator[ServerSentEvent]:
        """Server-sent events as they come; see `items`."""
        return self.items(EventParser())

    async def items(self, parser: BodyParser[ItemT]) -> AsyncGenerator[ItemT]:
        """What a parser makes of the body, as it comes. Ends where the body ends, which is not yet an answer's end.

        Raises:
            ServiceError: The connection broke (PROVIDER_TRUNCATED), or the body is not as its format demands, or a
                bound was passed (PROVIDER_PROTOCOL).
        """
        ended = False
        while not ended:
            piece = await self._next_piece()
            ended = piece is None
            try:
                items = parser.finish() if piece is None else parser.feed(piece)
            except CutOff as error:
                raise self._errors.truncated(str(error)) from error
            except FramingError as error:
                raise self._errors.protocol(str(error)) from error
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

    async def _next_piece(self) -> bytes | None:
        try:
            piece = await anext(self._pieces, None)
        except _FAILURES as error:
            raise self._errors.truncated(_kind(error)) from None
        self._size += len(piece or b"")
        if self._size > MAX_STREAM_BYTES:
            raise self._errors.protocol(f"a stream of more than {MAX_STREAM_BYTES} bytes")
        return piece


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
        """
        self.errors = ProviderErrors(provider, secret=api_key)
        self._base_url = base_url
        fixed = {"accept-encoding": "identity", **(headers or {})}  # a compressed stream is held back in blocks
        if api_key:
            fixed[key_header or "authorization"] = api_key if key_header else f"Bearer {api_key}"
        # 0 is aiohttp's "no limit"; None would leave it at its default of 100, and the next answer waiting.
        limits = httpx.Limits(max_connections=0, keepalive_expiry=_KEEPALIVE_SECONDS)
        self._client = _Client(
            mounts=dict.fromkeys(_LOOPBACK),  # no proxy
            verify=_tls(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")),
            limits=limits,
            headers=fixed,
            timeout=httpx.Timeout(read_timeout, connect=connect_timeout, pool=None),
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

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
            yield BodyStream(response, self.errors)

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
            response = await self._send(request)
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

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; again where it may have met a connection that the server had just closed.

        Any server may close a connection that was kept while a request is on its way to it, and some always do, though
        they say they keep it (llama.cpp after a stream). On a new connection nothing is sent twice.
        """
        for _ in range(_STALE_CONNECTIONS):
            connection = _Connection()
            _connection.set(connection)
            try:
                return await self._client.send(request, stream=True)
            except httpx.TransportError as error:
                if not (connection.kept and _closed_unanswered(error)):
                    raise
        return await self._client.send(request, stream=True)

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


@dataclass
class _Connection:
    """The connection of a request."""

    kept: bool = False
    """Whether an earlier request had it."""


_connection: ContextVar[_Connection] = ContextVar("connection")  # of the request that this task sends


class _Transport(AiohttpTransport):
    """Says of each request whether its connection was a kept one, which nothing else does."""

    def get_client(self) -> aiohttp.ClientSession:
        session = super().get_client()
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_kept)
        tracing.freeze()
        session.trace_configs.append(tracing)
        return session


async def _note_kept(*_: object) -> None:
    _connection.get().kept = True


class _Client(HttpxAiohttpClient):
    """Has such transports, for itself and for proxies."""

    def _init_transport(self, *_: Any, transport: object = None, **options: Any) -> httpx.AsyncBaseTransport:
        del transport  # none is given
        return _Transport(**options)

    def _init_proxy_transport(self, proxy: httpx.Proxy, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return _Transport(proxy=proxy, **options)


@lru_cache(maxsize=4)
def _tls(*_trusted: str) -> ssl.SSLContext:
    """One context for all clients that trust the same certificates: it takes 20 ms and half a megabyte to make."""
    return httpx.create_ssl_context()


def _body(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _closed_unanswered(error: httpx.TransportError) -> bool:
    """Whether a connection that stood was closed before anything was answered."""
    cause = error.__cause__
    closed = isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    return closed and not isinstance(cause, aiohttp.ClientConnectorError)


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
