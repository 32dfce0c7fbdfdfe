"""How providers are reached: connections that are kept and opened beforehand, cookies, proxies, certificates."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import anyio
import pytest
import trustme

from headwater_server.errors import Reason, ServiceError
from headwater_server.outgoing.http import HttpClient
from tests.assistant.fake_provider import Canned, FakeProvider, fake_provider
from tests.outgoing.connect_proxy import connect_proxy

pytestmark = pytest.mark.anyio

KEY = "sk-canary-5f1d9b7c3e"
DONE = [b"data: [DONE]\n\n"]
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> Iterator[trustme.CA]:
    """An authority of our own, which is trusted."""
    made = trustme.CA()
    with made.cert_pem.tempfile() as certificate:
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        yield made


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server)
    return server


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with fake_provider() as running:
        running.canned = Canned(DONE)
        yield running


async def ask(client: HttpClient) -> None:
    async with client.post_stream("/chat", {}) as stream:
        async for _ in stream.events():
            break
        await stream.finish()


async def until_connected(provider: FakeProvider, count: int) -> None:
    with anyio.fail_after(10):
        while provider.connections < count:  # noqa: ASYNC110 (there is no event of it)
            await anyio.sleep(0.005)


async def test_no_cookie_of_a_provider_is_kept(provider: FakeProvider) -> None:
    provider.canned = Canned(DONE, headers=["set-cookie: session=of-one-caller", "set-cookie: b=2; Path=/"])
    client = HttpClient(provider.url, provider="fake")
    for _ in range(3):
        await ask(client)
    await client.aclose()
    assert [headers.get("cookie") for _, headers, _ in provider.requests] == [None, None, None]


async def test_a_connection_opened_beforehand_is_the_requests_and_nothing_is_sent_on_it(
    provider: FakeProvider,
) -> None:
    client = HttpClient(provider.url, provider="fake")
    for _ in range(3):
        await client.warm()
    await until_connected(provider, 1)
    assert provider.requests == []
    for _ in range(3):
        await ask(client)
        await client.warm()
    assert provider.connections == 1
    assert len(provider.requests) == 3
    await client.aclose()


async def test_a_provider_that_cannot_be_reached_beforehand_is_no_failure_yet() -> None:
    async with fake_provider() as provider:
        url = provider.url
    client = HttpClient(url, provider="fake")
    await client.warm()
    with pytest.raises(ServiceError):
        await ask(client)
    await client.aclose()


async def test_over_tls_a_connection_opened_beforehand_has_shaken_hands(authority: trustme.CA) -> None:
    async with fake_provider(certified(authority, "localhost")) as provider:
        provider.canned = Canned(DONE)
        client = HttpClient(provider.url, provider="fake")
        await client.warm()
        await until_connected(provider, 1)  # which a server counts when the handshake is over
        await ask(client)
        assert provider.connections == 1
        await client.aclose()


async def test_what_begins_to_be_answered_on_a_kept_connection_is_not_sent_again() -> None:
    requests: list[None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the first request, and of any other the first line alone."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n",
            b"HTTP/1.1 200 OK\r\nX-Y: 1\r\n",
        ):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", head)[0]))
            requests.append(None)
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", provider="fake")
        await ask(client)
        with pytest.raises(ServiceError):
            await ask(client)
        await client.aclose()
    assert len(requests) == 2


async def test_of_many_kept_connections_that_are_dead_one_is_met_and_then_a_new_one_is_made() -> None:
    kept, served, met = 12, 0, 0
    all_asked = anyio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request, when all connections have theirs, and closes at the next."""
        nonlocal served, met
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", head)[0]))
        served += 1
        if served == kept:
            all_asked.set()
        await all_asked.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n")
        if await reader.read(1):
            met += 1
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", provider="fake")
        async with anyio.create_task_group() as tasks:
            for _ in range(kept):
                tasks.start_soon(ask, client)
        for _ in range(kept):
            await ask(client)
        await client.aclose()
    assert (served, met) == (2 * kept, kept)


@pytest.mark.parametrize("proxied_by_tls", [False, True])
async def test_tls_goes_through_a_proxy_that_wants_a_password(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, *, proxied_by_tls: bool
) -> None:
    tls = certified(authority, "localhost") if proxied_by_tls else None
    async with (
        fake_provider(certified(authority, "provider.example")) as provider,
        connect_proxy(provider.url, tls=tls) as proxy,
    ):
        provider.canned = Canned(DONE)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://user:pass%20word@"))
        client = HttpClient("https://provider.example/v1", provider="fake", api_key=KEY)
        await client.warm()
        for _ in range(2):
            await ask(client)
        await client.aclose()
    password = base64.b64encode(b"user:pass word").decode()
    assert proxy.asked == [("CONNECT provider.example:443 HTTP/1.1", f"Basic {password}")]
    assert [headers["authorization"] for _, headers, _ in provider.requests] == [f"Bearer {KEY}"] * 2
    assert not any("proxy-authorization" in headers for _, headers, _ in provider.requests)


async def test_without_tls_the_proxys_password_goes_with_each_request(
    monkeypatch: pytest.MonkeyPatch, provider: FakeProvider
) -> None:
    monkeypatch.setenv("HTTP_PROXY", provider.url.removesuffix("/v1").replace("://", "://user:pass@"))
    client = HttpClient("http://provider.example/v1", provider="fake")
    await ask(client)
    await client.aclose()
    (line, headers, _), *_ = provider.requests
    assert line == "POST http://provider.example/v1/chat HTTP/1.1"
    assert headers["proxy-authorization"] == f"Basic {base64.b64encode(b'user:pass').decode()}"


async def test_behind_a_proxy_a_certificate_is_checked_too(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    async with (
        fake_provider(certified(authority, "another.example")) as provider,
        connect_proxy(provider.url) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = HttpClient("https://provider.example/v1", provider="fake")
        with pytest.raises(ServiceError, match="TLS failed") as raised:
            await ask(client)
        await client.aclose()
    assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE
    assert provider.requests == []


async def test_a_proxy_that_refuses_is_an_error_without_its_password(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    async with fake_provider(certified(authority, "x")) as provider, connect_proxy(provider.url) as proxy:
        proxy.status = "407 Proxy Authentication Required"
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://user:canary@"))
        client = HttpClient("https://provider.example/v1", provider="fake")
        with pytest.raises(ServiceError) as raised:
            await ask(client)
        await client.aclose()
    assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE
    assert "canary" not in repr(vars(raised.value))


async def test_hosts_that_no_proxy_names_are_asked_directly(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    async with fake_provider(certified(authority, "127.0.0.2")) as provider, connect_proxy(provider.url) as proxy:
        provider.canned = Canned(DONE)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        port = urlsplit(provider.url).port
        for excepted, tunnels in (("other.example", 1), ("other.example,127.0.0.2", 1)):
            monkeypatch.setenv("NO_PROXY", excepted)
            client = HttpClient(f"https://127.0.0.2:{port}/v1", provider="fake")
            if excepted == "other.example":
                await ask(client)
            else:
                with pytest.raises(ServiceError, match="connection refused"):  # nobody listens there
                    await ask(client)
            await client.aclose()
            assert len(proxy.asked) == tunnels


@pytest.mark.parametrize("url", ["socks5://user:canary@proxy.example:1080", "socks4://canary@proxy.example", "ftp://x"])
def test_a_proxy_of_another_kind_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ALL_PROXY", url)
    with pytest.raises(ValueError, match="no SOCKS proxies") as raised:
        HttpClient("https://provider.example/v1", provider="fake")
    assert "canary" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "https://excepted.example"])
async def test_a_proxy_that_is_not_needed_may_be_of_any_kind(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
    monkeypatch.setenv("NO_PROXY", "excepted.example")
    await HttpClient(url, provider="fake").aclose()


@pytest.mark.parametrize("url", ["http://svc:canary/9xQ@proxy.example:3128", "http://x:canary"])
def test_a_proxy_whose_url_is_none_is_refused_without_a_part_of_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(ValueError, match=r"a proxy in .* cannot be used") as raised:
        HttpClient("https://provider.example/v1", provider="fake")
    assert "canary" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_base_url_that_is_none_is_refused_as_a_wrong_value() -> None:
    with pytest.raises(ValueError, match="base_url: not a URL"):
        HttpClient("http://1.2.3.999/v1", provider="fake")


@pytest.mark.parametrize("proxied_by_tls", [False, True])
async def test_a_proxy_that_takes_a_connection_and_says_nothing_is_waited_for_as_long_as_for_a_connection(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, *, proxied_by_tls: bool
) -> None:
    connected = 0

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        await reader.read()  # the request for a tunnel, and all that follows, until the other side leaves
        writer.close()

    tls = certified(authority, "localhost") if proxied_by_tls else None
    async with await asyncio.start_server(be_silent, "localhost", 0, ssl=tls) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"{'https' if tls else 'http'}://localhost:{port}")
        client = HttpClient("https://provider.example/v1", provider="fake", connect_timeout=0.5)
        with anyio.fail_after(20):
            await client.warm()
            with pytest.raises(ServiceError) as raised:
                await client.get_json("/models")
        await client.aclose()
    assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE
    assert connected == 2
