"""TLS, and callers who show a certificate."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from headwater_server.runtime.front_http2 import Http2Server, Limits
from headwater_server.runtime.front_http2.tls import http2_context
from tests.runtime.front_http2.serving import WAIT_SECONDS, echo, method, raw, started
from tests.runtime.serving import connected

pytestmark = pytest.mark.anyio


async def _identities(_: bytes, context: Any) -> bytes:
    return b",".join(context.peer_identities() or ())


def server(limits: Limits | None = None) -> Http2Server:
    """A server that says who calls."""
    made = Http2Server(limits=limits)
    echo(made, {"UnaryUnary": _identities})
    return made


class Certificates:
    """An authority, and files of a server's certificate."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.cert, self.key, self.ca = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
        issued = self.authority.issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(str(self.key))
        for part in issued.cert_chain_pems:
            part.write_to_path(str(self.cert), append=True)
        self.authority.cert_pem.write_to_path(str(self.ca))

    def credentials(self, name: str = "") -> grpc.ChannelCredentials:
        """A caller's; with a certificate of this name, or none."""
        authority = self.authority.cert_pem.bytes()
        if not name:
            return grpc.ssl_channel_credentials(authority)
        issued = self.authority.issue_cert(name)
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        return grpc.ssl_channel_credentials(authority, issued.private_key_pem.bytes(), chain)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


async def test_calls_over_tls(certificates: Certificates) -> None:
    context = http2_context(certificates.cert, certificates.key)
    async with started(server(), context) as address, connected(address, certificates.credentials()) as stubs:
        assert await method(stubs, "UnaryUnary")(b"") == b""


async def test_a_caller_with_a_certificate_is_known_by_its_name_and_one_without_is_not_let_in(
    certificates: Certificates,
) -> None:
    context = http2_context(certificates.cert, certificates.key, client_ca=certificates.ca)
    async with started(server(), context) as address:
        async with connected(address, certificates.credentials("caller.example")) as stubs:
            assert await method(stubs, "UnaryUnary")(b"") == b"caller.example"
        async with connected(address, certificates.credentials()) as stubs:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method(stubs, "UnaryUnary")(b"", timeout=WAIT_SECONDS)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_does_not_agree_on_http2_is_not_served(certificates: Certificates) -> None:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    async with started(server(), http2_context(certificates.cert, certificates.key)) as address:
        reader, writer = await asyncio.open_connection("localhost", int(address.rpartition(":")[2]), ssl=context)
        async with asyncio.timeout(WAIT_SECONDS):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.transport.abort()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Returns when the other side has closed; fails where it says something instead."""
    with suppress(ConnectionResetError):
        assert await reader.read() == b""


PATIENT = Limits(max_connections=2, greeting_seconds=3600)
"""Handshakes that may take for ever, but are only two."""


async def test_a_handshake_too_many_is_closed_at_once_and_one_that_fails_makes_room(certificates: Certificates) -> None:
    context = http2_context(certificates.cert, certificates.key)
    async with (
        started(server(PATIENT), context) as address,
        asyncio.timeout(WAIT_SECONDS),
        raw(address),
        raw(address) as (rubbish, writer),
    ):
        async with raw(address) as (third, _):
            await _until_closed(third)
        writer.write(b"this is no TLS")
        await rubbish.read()
        async with connected(address, certificates.credentials()) as stubs:
            assert await method(stubs, "UnaryUnary")(b"", wait_for_ready=True) == b""


async def test_a_handshake_that_has_not_ended_when_the_server_stops_is_not_waited_for(
    certificates: Certificates,
) -> None:
    made = server(PATIENT)
    async with (
        started(made, http2_context(certificates.cert, certificates.key)) as address,
        asyncio.timeout(WAIT_SECONDS),
        raw(address) as (silent, _),
        connected(address, certificates.credentials()) as stubs,
    ):
        assert await method(stubs, "UnaryUnary")(b"") == b""  # so the other connection has been taken before
        await made.stop(3600)
        await _until_closed(silent)
