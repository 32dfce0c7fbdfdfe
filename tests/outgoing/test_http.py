from __future__ import annotations

import asyncio
import contextlib
import gzip
import re
import ssl
from pathlib import Path

import anyio
import pytest
import trustme

import headwater_server
from headwater_server.errors import Reason, ServiceError
from headwater_server.outgoing.http import HttpClient
from tests.assistant.fake_provider import HANG, Canned, FakeProvider, event, fake_provider

pytestmark = pytest.mark.anyio

KEY = "sk-canary-5f1d9b7c3e"


async def events_of(client: HttpClient) -> list[bytes]:
    found = []
    async with client.post_stream("/chat", {"a": "é"}) as stream:
        async for server_event in stream.events():
            found.append(server_event.data)
            if server_event.data == b"[DONE]":
                await stream.finish()
                break
    return found


async def failure(provider: FakeProvider | str, canned: Canned | None = None) -> ServiceError:
    if isinstance(provider, FakeProvider):
        provider.canned = canned or Canned()
    url = provider if isinstance(provider, str) else provider.url
    client = HttpClient(url, provider="fake", api_key=KEY, connect_timeout=5, read_timeout=20)
    try:
        with pytest.raises(ServiceError) as raised:
            await events_of(client)
    finally:
        await client.aclose()
    assert raised.value.metadata["provider"] == "fake"
    assert KEY not in repr(vars(raised.value)) + str(raised.value)
    assert raised.value.__cause__ is None or KEY not in repr(raised.value.__cause__)
    return raised.value


async def test_a_document_is_posted_and_its_events_come_back() -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([b"data: one\n", b"\ndata: t", b"wo\n\n"])
        client = HttpClient(provider.url, provider="fake", api_key=KEY)
        assert await events_of(client) == [b"one", b"two"]
        await client.aclose()
    line, headers, body = provider.requests[0]
    assert line == "POST /v1/chat HTTP/1.1"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["accept-encoding"] == "identity"
    assert body == {"a": "é"}


async def test_a_document_is_posted_and_another_comes_back() -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([b'{"vectors":', b"[1.5]}"], headers=["content-type: application/json"])
        client = HttpClient(provider.url, provider="fake", api_key=KEY, key_header="x-api-key")
        assert await client.post_json("/embed", {"texts": ["é"]}) == {"vectors": [1.5]}
        await client.aclose()
    line, headers, body = provider.requests[0]
    assert line == "POST /v1/embed HTTP/1.1"
    assert headers["x-api-key"] == KEY
    assert "authorization" not in headers
    assert body == {"texts": ["é"]}


@pytest.mark.parametrize("pieces", [[b"<html>"], [b'{"a":'], [b'"', b"x" * 200, b'"']])
async def test_what_is_not_a_document_within_bounds_is_a_broken_protocol(pieces: list[bytes]) -> None:
    async with fake_provider() as provider:
        provider.canned = Canned(pieces)
        client = HttpClient(provider.url, provider="fake")
        with pytest.raises(ServiceError) as raised:
            await client.post_json("/embed", {}, max_bytes=100)
        await client.aclose()
    assert raised.value.reason is Reason.PROVIDER_PROTOCOL


async def test_a_connection_whose_stream_has_ended_is_used_again() -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([b"data: [DONE]\n\n"])
        client = HttpClient(provider.url, provider="fake")
        for _ in range(3):
            await events_of(client)
        await client.aclose()
    assert provider.connections == 1


async def closing_server(*, answered: bool) -> tuple[asyncio.Server, str, list[None]]:
    """A server that closes each connection after one request, though it says that it keeps it."""
    connections: list[None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(None)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", head)[0]))
        if answered:
            body = b"data: [DONE]\n\n"
            writer.write(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections


async def test_a_connection_that_the_server_closed_though_it_said_it_keeps_it_fails_no_request() -> None:
    server, url, _ = await closing_server(answered=True)
    async with server:
        client = HttpClient(url, provider="fake")
        for _ in range(50):
            assert await events_of(client) == [b"[DONE]"]
        await client.aclose()


async def test_on_a_new_connection_nothing_is_sent_twice() -> None:
    server, url, connections = await closing_server(answered=False)
    async with server:
        error = await failure(url)
    assert error.reason is Reason.PROVIDER_UNAVAILABLE
    assert "closed the connection without an answer" in error.message
    assert len(connections) == 1


@pytest.mark.parametrize(("connection", "sent"), [("close", 2), ("keep-alive", 3)])
async def test_a_request_is_sent_again_only_where_it_met_a_kept_connection(connection: str, sent: int) -> None:
    requests: list[None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the first request of all, and closes the connection of any other unanswered."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", head)[0]))
                requests.append(None)
                if len(requests) > 1:
                    break
                body = b"data: [DONE]\n\n"
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: %s\r\n" % connection.encode())
                writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", provider="fake")
        assert await events_of(client) == [b"[DONE]"]
        with pytest.raises(ServiceError, match="without an answer") as raised:
            await events_of(client)
        await client.aclose()
    assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE
    assert len(requests) == sent


async def test_a_reader_that_leaves_closes_the_connection_at_once() -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([b"data: one\n\n", HANG])
        client = HttpClient(provider.url, provider="fake")
        async with client.post_stream("/chat", {}) as stream:
            async for _ in stream.events():
                break
        with anyio.fail_after(5):
            await provider.gone.wait()
        await client.aclose()


@pytest.mark.parametrize("pieces", [[HANG], [b"data: one\n\n", HANG]])
async def test_a_cancelled_reader_closes_the_connection_at_once(pieces: list[bytes]) -> None:
    async with fake_provider() as provider:
        provider.canned = Canned(pieces)
        client = HttpClient(provider.url, provider="fake")
        task = asyncio.create_task(events_of(client))
        await provider.asked.wait()
        await asyncio.sleep(0.05)  # it waits for the first byte, or for the next event
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with anyio.fail_after(5):
            await provider.gone.wait()
        await client.aclose()


async def test_over_tls_a_cancelled_reader_closes_the_connection_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    with authority.cert_pem.tempfile() as certificate:
        monkeypatch.setenv("SSL_CERT_FILE", certificate)
        async with fake_provider(server) as provider:
            provider.canned = Canned([b"data: one\n\n", HANG])
            client = HttpClient(provider.url, provider="fake")
            task = asyncio.create_task(events_of(client))
            await provider.asked.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with anyio.fail_after(5):
                await provider.gone.wait()
            await client.aclose()


async def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(server)
    async with fake_provider(server) as provider:
        assert (await failure(provider)).reason is Reason.PROVIDER_UNAVAILABLE
    assert provider.requests == []


async def test_where_nobody_listens_the_provider_is_unavailable() -> None:
    async with fake_provider() as provider:
        url = provider.url
    refused, unknown = await failure(url), await failure("http://no-such-host.invalid/v1")
    assert (refused.reason, unknown.reason) == (Reason.PROVIDER_UNAVAILABLE, Reason.PROVIDER_UNAVAILABLE)
    assert "connection refused" in refused.message
    assert "name was not found" in unknown.message


async def test_a_connection_cut_in_the_middle_is_truncated() -> None:
    async with fake_provider() as provider:
        error = await failure(provider, Canned([b"data: one\n\n"], length=1000))
    assert error.reason is Reason.PROVIDER_TRUNCATED


async def test_an_event_without_end_is_refused_within_bounds() -> None:
    async with fake_provider() as provider:
        error = await failure(provider, Canned([b"data: "] + [b"x" * 65536] * 40))
    assert error.reason is Reason.PROVIDER_PROTOCOL


async def test_what_is_not_http_is_a_broken_protocol() -> None:
    async with fake_provider() as provider:
        error = await failure(provider, Canned(status=204))  # which must not promise a body
    assert error.reason is Reason.PROVIDER_PROTOCOL


async def test_a_redirect_is_not_followed() -> None:
    async with fake_provider() as provider:
        error = await failure(provider, Canned(status=307, headers=[f"location: {provider.url}/elsewhere"]))
    assert error.reason is Reason.PROVIDER_PROTOCOL
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.PROVIDER_REJECTED),
        (401, Reason.PROVIDER_UNAUTHENTICATED),
        (403, Reason.PROVIDER_UNAUTHENTICATED),
        (404, Reason.PROVIDER_REJECTED),
        (422, Reason.PROVIDER_REJECTED),
        (429, Reason.PROVIDER_RATE_LIMITED),
        (500, Reason.PROVIDER_UNAVAILABLE),
        (503, Reason.PROVIDER_UNAVAILABLE),
        (202, Reason.PROVIDER_PROTOCOL),
    ],
)
async def test_each_status_has_its_reason(status: int, reason: Reason) -> None:
    async with fake_provider() as provider:
        error = await failure(
            provider,
            Canned([b'{"error":{"message":"no such thing"}}'] if status != 202 else [], status=status, headers=()),
        )
    assert error.reason is reason
    assert error.metadata["http_status"] == str(status)


async def test_a_provider_that_says_when_to_come_back_is_believed_within_bounds() -> None:
    async with fake_provider() as provider:
        waits = [
            (await failure(provider, Canned(status=429, headers=[f"retry-after: {said}"]))).retry_after
            for said in ("7", "99999999", "nan", "soon", "Fri, 01 Jan 2021 00:00:00 GMT")
        ]
    assert waits == [7.0, 3600.0, None, None, 0.0]


async def test_a_providers_words_are_shortened_and_hold_neither_key_nor_url() -> None:
    words = f"Bad \x1b[31m key {KEY} at https://internal.example/x?key=1 sk-another-key-1234567890 " + "x" * 2000
    async with fake_provider() as provider:
        error = await failure(provider, Canned([event({"error": {"message": words}})[6:]], status=400, headers=()))
    said = error.metadata["provider_message"]
    assert said.startswith("Bad [31m key *** at (URL) *** xxx")
    assert len(said) <= 300
    assert len(error.message) < 400


async def test_a_page_of_a_proxy_is_no_reason_to_fail_otherwise() -> None:
    async with fake_provider() as provider:
        error = await failure(
            provider, Canned([b"<html>" + b"x" * 200_000], status=502, headers=["content-type: text/html"])
        )
    assert error.reason is Reason.PROVIDER_UNAVAILABLE


async def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_provider() as proxy, fake_provider() as provider:
        proxy.canned = Canned([b"data: by proxy\n\n"])
        provider.canned = Canned([b"data: direct\n\n"])
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        here = HttpClient(provider.url, provider="fake")
        there = HttpClient("http://provider.example/v1", provider="fake")
        assert await events_of(here) == [b"direct"]
        assert await events_of(there) == [b"by proxy"]
        await here.aclose()
        await there.aclose()
    assert proxy.requests[0][0] == "POST http://provider.example/v1/chat HTTP/1.1"


def test_no_other_module_knows_the_http_library() -> None:
    folder = Path(headwater_server.__file__).parent
    importing = re.compile(r"^\s*(?:from|import) (?:httpx|aiohttp|httpx_aiohttp)\b", re.MULTILINE)
    found = [path.name for path in folder.rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))]
    assert sorted(found) == ["http.py", "transport.py"]


async def test_a_body_that_falls_silent_is_cut_off_after_the_time_that_is_set() -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([b"data: one\n\n", HANG])
        client = HttpClient(provider.url, provider="fake", read_timeout=0.05)
        with pytest.raises(ServiceError) as raised:
            await events_of(client)
        with anyio.fail_after(20):
            await provider.gone.wait()
        await client.aclose()
    assert raised.value.reason is Reason.PROVIDER_TRUNCATED


async def test_the_time_in_which_nobody_reads_a_body_is_no_silence_of_the_provider() -> None:
    async with fake_provider() as provider:
        provider.canned = Canned([b"data: one\n\n", b"data: two\n\n"])
        client = HttpClient(provider.url, provider="fake", read_timeout=0.05)
        found: list[bytes] = []
        async with client.post_stream("/chat", {}) as stream:
            async for item in stream.events():
                found.append(item.data)
                await anyio.sleep(0.15)
        await client.aclose()
    assert found == [b"one", b"two"]


async def test_a_compressed_body_is_read_too() -> None:
    async with fake_provider() as provider:
        body = gzip.compress(b"data: one\n\ndata: two\n\n")
        headers = ("content-type: text/event-stream", "content-encoding: gzip")
        provider.canned = Canned([body[:9], body[9:]], headers=headers)
        client = HttpClient(provider.url, provider="fake")
        assert await events_of(client) == [b"one", b"two"]
        await client.aclose()
