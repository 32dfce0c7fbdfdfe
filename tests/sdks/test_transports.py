"""Other languages' gRPC on Headwater's own front: streams, details, deadlines, flow control, TLS, GOAWAY.

The programs stand with each language's client, and skip where `HEADWATER_TRANSPORT_TARGET` is not set.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.rpc import error_details_pb2

from headwater.v1 import answer_service_pb2_grpc
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from tests.runtime.serving import info
from tests.sdks.test_sdks import require_toolchain, run_make
from tests.sdks.transport_server import FAILURE

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = 8
"""How many each program plays."""
WAIT_SECONDS = 30


@contextmanager
def _playing(*arguments: str | Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.sdks.transport_server", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"localhost:{process.stdout.readline().strip()}"
        finally:
            process.stdin.close()
            process.wait(10)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an authority's certificate, and of a server's."""
    folder = tmp_path_factory.mktemp("certificates")
    made = trustme.CA()
    issued = made.issue_cert("localhost")
    made.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    for part in issued.cert_chain_pems:
        part.write_to_path(str(folder / "chain.pem"), append=True)
    return folder


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with _playing() as address:
        yield address


@pytest.fixture(scope="module")
def tls_target(authority: Path) -> Iterator[str]:
    with _playing("--tls-certificate", authority / "chain.pem", "--tls-key", authority / "key.pem") as address:
        yield address


@pytest.mark.slow
@pytest.mark.parametrize("language", ["go", "typescript", "java", "rust"])
def test_a_language_s_grpc_plays_all_scenarios(language: str, target: str, tls_target: str, authority: Path) -> None:
    require_toolchain(language)
    environment = {name: value for name, value in os.environ.items() if name != "HEADWATER_TARGET"}
    played = {
        "HEADWATER_TRANSPORT_TARGET": target,
        "HEADWATER_TRANSPORT_TLS_TARGET": tls_target,
        "HEADWATER_TRANSPORT_CA": str(authority / "ca.pem"),
    }
    output = run_make(language, "test", {**environment, **played})
    assert len(set(re.findall(r"transport: (\w+) passed", output))) == SCENARIOS, output


def _request(prompt: str) -> StreamAnswerRequest:
    return StreamAnswerRequest(prompt=prompt)


class Blocking:
    """grpcio's blocking client."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.answers: Any = answer_service_pb2_grpc.AnswerServiceStub(channel)

    def texts(self, prompt: str, **options: Any) -> list[str]:
        return [chunk.text.text for chunk in self.answers.StreamAnswer(_request(prompt), **options)]


@pytest.fixture
def blocking(target: str) -> Iterator[Blocking]:
    with grpc.insecure_channel(target) as channel:
        yield Blocking(channel)


def test_grpcio_s_blocking_client_plays_all_scenarios(blocking: Blocking, tls_target: str, authority: Path) -> None:
    assert blocking.texts("count 1000") == [str(number) for number in range(1000)]
    assert blocking.texts("size " + "x" * 3_000_000) == ["3000005"]
    stream = blocking.answers.StreamAnswer(_request("large 24"), timeout=WAIT_SECONDS)
    assert sum(len(chunk.text.text) for chunk in stream) == 24 * 1024 * 1024
    with pytest.raises(grpc.RpcError) as failed:
        blocking.texts("fail")
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, FAILURE)
    with pytest.raises(grpc.RpcError) as late:
        blocking.texts("hang", timeout=0.3)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert blocking.texts("gone", timeout=WAIT_SECONDS) == ["gone"]
    hanging = blocking.answers.StreamAnswer(_request("hang"))
    next(hanging)
    hanging.cancel()
    assert blocking.texts("gone", timeout=WAIT_SECONDS) == ["gone"]
    assert blocking.texts("goaway") == ["before", "after", "last"]
    assert blocking.texts("count 2") == ["0", "1"]
    credentials = grpc.ssl_channel_credentials((authority / "ca.pem").read_bytes())
    with grpc.secure_channel(tls_target, credentials) as channel:
        assert Blocking(channel).texts("count 3") == ["0", "1", "2"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def channel(target: str, anyio_backend: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(target) as made:
        yield made


@pytest.mark.anyio
async def test_grpcio_s_asynchronous_client_plays_them_too(channel: grpc.aio.Channel) -> None:
    stub: Any = answer_service_pb2_grpc.AnswerServiceStub(channel)

    async def texts(prompt: str) -> list[str]:
        async with asyncio.timeout(WAIT_SECONDS):
            return [chunk.text.text async for chunk in stub.StreamAnswer(_request(prompt))]

    assert await texts("size " + "x" * 3_000_000) == ["3000005"]
    assert sum(map(len, await texts("large 24"))) == 24 * 1024 * 1024
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await texts("fail")
    assert failed.value.details() == FAILURE
    assert isinstance(info(failed.value), error_details_pb2.ErrorInfo)
    hanging = stub.StreamAnswer(_request("hang"))
    await hanging.read()
    hanging.cancel()
    assert await texts("gone") == ["gone"]
    everything = await asyncio.gather(texts("goaway"), *(texts("count 50") for _ in range(50)))
    assert everything[0] == ["before", "after", "last"]
    assert all(len(one) == 50 for one in everything[1:])
    assert await texts("count 2") == ["0", "1"]
