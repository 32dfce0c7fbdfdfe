"""Both fronts say the same, byte for byte, and listen where they are told to."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.source_pb2 import NoGrounding
from headwater_server.errors import Reason, ServiceError
from headwater_server.runtime.fronts import Front
from headwater_server.runtime.settings import TlsSettings
from tests.malformed import frames
from tests.orchestrator.backends import Services, saying_then_failing
from tests.orchestrator.events import text
from tests.runtime.serving import WAIT_SECONDS, serving, settings

pytestmark = pytest.mark.anyio

BOTH = ("grpc", "http2")
TOKEN = "the-token-of-acme-0123456789"
ASKED = StreamAnswerRequest(prompt="why?", ungrounded=NoGrounding(), request_id="one-and-the-same")
STREAM = "/headwater.v1.AnswerService/StreamAnswer"
FAILURE = ServiceError(
    Reason.PROVIDER_RATE_LIMITED, "langsam, 20 % – später\n", metadata={"model": "größe"}, retry_after=2.5
)


async def _said(front: str, path: str, body: bytes, *, token: str = TOKEN) -> dict[bytes, bytes]:
    """The headers and trailers of a call, without those that say what a server could do."""
    changed = {b"x-request-id": b"mine"}
    async with (
        serving(Services(saying_then_failing(FAILURE, text("The part"))), front=front, tokens={"acme": TOKEN}) as stubs,
        frames.connected(stubs.address) as connection,
        asyncio.timeout(WAIT_SECONDS),
    ):
        block = frames.header_block(frames.call_headers(path, token=token, changed=changed))
        await connection.send(*frames.header_frames(block, stream=1), *frames.data_frames(body, stream=1))
        await connection.until_ended(1)
        return {name: value for name, value in connection.heard.headers[1].items() if name != b"grpc-accept-encoding"}


@pytest.mark.parametrize(
    ("path", "body", "token"),
    [
        (STREAM, frames.message(ASKED.SerializeToString()), TOKEN),
        (STREAM, frames.message(ASKED.SerializeToString()), "nobody's"),
        (STREAM, frames.message(b""), TOKEN),
        (STREAM, frames.message(b"\xff"), TOKEN),
        ("/headwater.v1.AnswerService/Nothing", frames.message(b""), TOKEN),
        ("/headwater.v1.AnswerService/GetAnswer", frames.message(b"\n\x09answers/x"), TOKEN),
        ("/grpc.health.v1.Health/Check", frames.message(b"\n\x07nothing"), TOKEN),
        ("/grpc.health.v1.Health/Check", frames.message(b""), TOKEN),
    ],
    ids=["failed", "nobody", "invalid", "malformed", "unknown", "not found", "no such service", "fine"],
)
async def test_headers_and_trailers_are_the_same(path: str, body: bytes, token: str) -> None:
    ours, grpcs = [await _said(front, path, body, token=token) for front in reversed(BOTH)]
    assert ours == grpcs


@pytest.mark.parametrize("front", BOTH)
async def test_a_server_is_reached_at_a_unix_socket_whose_file_goes_with_it(front: str, tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()  # as a server that was killed leaves it
    made = Front(settings(front=front), [], admission=None, shares_port=False)
    made.listen(f"unix:{path}", TlsSettings())
    await made.server.start()
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        nothing: Any = channel.unary_unary("/test/Nothing")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await nothing(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await made.server.stop(0)
    assert not path.exists()


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("front", BOTH)
async def test_a_port_is_shared_only_where_it_is_to_be(front: str, *, shares: bool) -> None:
    first, second = (Front(settings(front=front), [], admission=None, shares_port=shares) for _ in range(2))
    port = first.listen("127.0.0.1:0", TlsSettings())
    if shares:
        assert second.listen(f"127.0.0.1:{port}", TlsSettings()) == port
    else:
        with pytest.raises(RuntimeError):
            second.listen(f"127.0.0.1:{port}", TlsSettings())
    for each in (first, second):
        await each.server.stop(0)


@pytest.mark.parametrize("front", BOTH)
@pytest.mark.parametrize("host", ["localhost", "[::1]", "0.0.0.0"])
async def test_a_host_is_listened_at_wherever_it_is(front: str, host: str) -> None:
    made = Front(settings(front=front), [], admission=None, shares_port=False)
    port = made.listen(f"{host}:0", TlsSettings())
    await made.server.start()
    async with asyncio.timeout(WAIT_SECONDS):
        _, writer = await asyncio.open_connection("127.0.0.1" if host == "0.0.0.0" else host.strip("[]"), port)
        writer.close()
        await writer.wait_closed()
    await made.server.stop(0)


@pytest.mark.parametrize("address", ["192.0.2.1:0", "unix:/nowhere/at/all.sock", "no such host.invalid:1"])
def test_where_nothing_can_listen_is_told(address: str) -> None:
    with pytest.raises(RuntimeError, match="cannot listen"):
        Front(settings(front="http2"), [], admission=None, shares_port=False).listen(address, TlsSettings())
