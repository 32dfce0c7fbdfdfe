"""What carries requests: httpx's client with aiohttp underneath. Only `http` and this module know the two libraries.

Connections are kept for a minute: most of a first token's wait that is not the model's is a handshake. Many servers
close after 5 s (uvicorn, Node, llama.cpp), others after 60 to 75 (nginx, load balancers), large services after minutes.
What a server closes is seen at once and not used; middle boxes that forget a connection without a word do so after 4
minutes or more. What is left is the request that crosses a close on the way: it is sent again, once, on a new
connection, as long as nothing was answered.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NoReturn

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

BENEATH = "headwater.aiohttp"
"""aiohttp's response, among the extensions of httpx's."""
KEPT_SECONDS = 60.0

_AHEAD_BYTES = 16 << 10
"""Half of how much a connection has read ahead when it reads no more; one read of the system's may bring 256 KiB."""
_LOOPBACK = ("all://localhost", "all://127.0.0.1", "all://[::1]")


class UnusableProxy(ValueError):
    """The environment names a proxy of a kind that is not supported. The message holds no URL, which may hold keys."""


class Transports(HttpxAiohttpClient):
    """The client of one provider."""

    def __init__(
        self, base_url: str, *, headers: Mapping[str, str], connect_timeout: float, read_timeout: float
    ) -> None:
        """Makes a client; connects to nothing yet.

        Args:
            base_url: Where the provider is.
            headers: Headers of each request.
            connect_timeout: Seconds to wait for a connection.
            read_timeout: Seconds to wait for bytes.

        Raises:
            UnusableProxy: It would be reached by a proxy that is none of HTTP, or whose URL is none.
            ValueError: The base URL is none.
        """
        try:
            super().__init__(
                mounts=dict.fromkeys(_LOOPBACK),  # no proxy
                verify=_tls(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")),
                # What one caller was given is nobody else's: no cookie is kept.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                headers=dict(headers),
                # `pool` becomes aiohttp's limit of all that connecting takes, a proxy's answer and TLS included, and
                # `connect` that of the socket alone. Nobody waits for a place in the pool: there is no end of them.
                timeout=httpx.Timeout(read_timeout, connect=connect_timeout, pool=connect_timeout),
                follow_redirects=False,
            )
        except (ValueError, httpx.InvalidURL) as error:  # the latter is no ValueError
            raise _unusable(error) from None
        self._base_url_of_provider = base_url
        self._connect_timeout = connect_timeout
        try:
            proxy_kind = self._transport_of_provider().proxy_kind
        except httpx.InvalidURL:
            raise ValueError("base_url: not a URL") from None
        if proxy_kind not in {"", "http", "https"}:
            raise _unusable()

    async def connect(self) -> None:
        """Opens a connection to the provider and keeps it, unless one is kept already. Sends nothing.

        Raises:
            Exception: As for a request.
        """
        transport = self._transport_of_provider()
        await transport.connect(self._base_url_of_provider, within=self._connect_timeout)

    def _transport_of_provider(self) -> _Transport:
        transport = self._transport_for_url(httpx.URL(self._base_url_of_provider))
        if not isinstance(transport, _Transport):
            raise TypeError("another transport than was made")
        return transport

    def _init_transport(self, *_: Any, transport: object = None, **options: Any) -> httpx.AsyncBaseTransport:
        del transport  # none is given
        return _Transport(**options)

    def _init_proxy_transport(self, proxy: httpx.Proxy, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return _Transport(proxy=_with_key_as_header(proxy), **options)


@dataclass
class _Connection:
    """The connection of a request."""

    kept: bool = False
    """Whether an earlier request had it."""


_connection: ContextVar[_Connection] = ContextVar("connection")  # of the request that this task sends


class _Transport(AiohttpTransport):
    """Keeps connections, and sends a request again that met one which the server had just closed.

    And gives with each response aiohttp's own, as an extension of httpx's.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._options = options
        self._anew: AiohttpTransport | None = None  # where each request has a connection of its own

    @property
    def proxy_kind(self) -> str:
        """The scheme of its proxy's URL; empty if it has none."""
        return self.proxy.url.scheme if self.proxy else ""

    def get_client(self) -> aiohttp.ClientSession:
        """A session that says of each request whether its connection was a kept one, which nothing else does."""
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_kept)
        return self._session(tracing, keepalive_timeout=KEPT_SECONDS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.proxy and request.url.scheme == "http":  # it is the proxy's to read; over TLS it has read it before
            request.headers.update(self.proxy.headers)
        connection = _Connection()
        _connection.set(connection)
        try:
            response = await super().handle_async_request(request)
        except httpx.TransportError as error:
            if not (connection.kept and _closed_unanswered(error)):
                raise
            response = await self._on_new_connection(request)
        beneath = getattr(response.stream, "_aiohttp_response", None)  # private: without it all goes on, at more cost
        if beneath is not None:
            response.extensions[BENEATH] = beneath
        return response

    async def connect(self, url: str, *, within: float) -> None:
        """Opens a connection to a URL's host and keeps it, unless one is kept already."""
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
        connector = self.client.connector
        limit = aiohttp.ClientTimeout(connect=within, sock_connect=within)

        async def only_connect(request: aiohttp.ClientRequest, _: object) -> NoReturn:
            if connector is not None:
                (await connector.connect(request, traces=[], timeout=limit)).release()
            raise _ConnectedError

        with suppress(_ConnectedError):
            # As `handle_async_request` asks: a connection is kept for requests of the same proxy alone.
            await self.client.request(
                "POST",
                url,
                timeout=limit,
                proxy=str(self.proxy.url) if self.proxy else None,
                proxy_headers=self.proxy.headers if self.proxy else None,
                middlewares=(only_connect,),
            )

    async def aclose(self) -> None:
        await super().aclose()
        if self._anew is not None:
            await self._anew.aclose()

    async def _on_new_connection(self, request: httpx.Request) -> httpx.Response:
        if self._anew is None:
            self._anew = AiohttpTransport(**self._options, client=lambda: self._session(force_close=True))
        return await self._anew.handle_async_request(request)

    def _session(self, *tracing: aiohttp.TraceConfig, **connecting: Any) -> aiohttp.ClientSession:
        # 0 is aiohttp's "no limit"; its default is 100, and the next answer would wait.
        connector = aiohttp.TCPConnector(limit=0, ssl=self.ssl_context, **connecting)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=list(tracing),
            read_bufsize=_AHEAD_BYTES,
        )


class _ConnectedError(Exception):
    """Ends a request that was to connect and nothing more."""


async def _note_kept(*_: object) -> None:
    _connection.get().kept = True


def _with_key_as_header(proxy: httpx.Proxy) -> httpx.Proxy:
    """A proxy whose name and password stand in a header; httpx-aiohttp has them in a type that aiohttp abolishes."""
    if proxy.auth is None:
        return proxy
    key = base64.b64encode(":".join(proxy.auth).encode()).decode()
    return httpx.Proxy(proxy.url, headers={"proxy-authorization": f"Basic {key}"})


def _closed_unanswered(error: httpx.TransportError) -> bool:
    """Whether a connection that stood was closed before anything was answered."""
    match error.__cause__:
        case aiohttp.ServerDisconnectedError(message=message):
            return isinstance(message, str)  # otherwise the part of a response that there was
        case aiohttp.ClientConnectorError():
            return False
        case cause:
            return isinstance(cause, aiohttp.ClientOSError)


def _unusable(error: Exception | None = None) -> UnusableProxy:
    del error  # it repeats the proxy's URL, or a part of its password
    return UnusableProxy(
        "a proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used: only those whose URL begins with http:// or"
        " https:// are supported, and no SOCKS proxies; in its password, / is written as %2F, and so is whatever else"
        " has a meaning in URLs; NO_PROXY names hosts that need none"
    )


@lru_cache(maxsize=4)
def _tls(*_trusted: str) -> ssl.SSLContext:
    """One context for all clients that trust the same certificates: it takes 20 ms and half a megabyte to make."""
    return httpx.create_ssl_context()
