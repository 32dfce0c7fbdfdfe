"""Runs cases: a real server in this process, the replay tool as every provider, and a gRPC client that asks."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, cast

import anyio
import grpc

from headwater.v1 import answer_service_pb2_grpc
from headwater_server.runtime.app import running
from headwater_server.runtime.settings import load
from tests.fidelity.asking import ask
from tests.fidelity.checking import problems
from tests.fidelity.citing import sources_cited
from tests.fidelity.recordings import MANIFEST, SHARED
from tests.fidelity.shapes import Case

if TYPE_CHECKING:
    from headwater.v1.answer_service_pb2_grpc import AnswerServiceAsyncStub  # the stubs alone know it

_AT_ONCE = 4
_KEY = "sk-canary-fidelity"
_NO_VERSION = {"ollama", "azure-openai"}


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    case: Case
    problems: Sequence[str]


@contextmanager
def replaying() -> Iterator[str]:
    """The replay tool, and its URL."""
    command = [sys.executable, str(SHARED / "tools/replay.py"), "--dir", str(MANIFEST.parent)]
    with Popen(command, stdout=PIPE) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().decode().split()[1]
        finally:
            process.kill()


async def run(cases: Sequence[Case], data_dir: Path, *, seen: Callable[[Result], None] | None = None) -> list[Result]:
    """Runs cases, a few at a time.

    Args:
        cases: The cases.
        data_dir: An empty folder for the server.
        seen: Called with each result as it comes.
    """
    results: list[Result] = []
    left = iter(enumerate(cases))

    with replaying() as upstream:
        async with _stub(cases, upstream, data_dir) as stub:

            async def work() -> None:
                for number, case in left:
                    heard = await ask(stub, f"case-{number}/cassette", sources_cited(case.recording))
                    result = Result(case, problems(case, heard))
                    results.append(result)
                    if seen:
                        seen(result)

            async with anyio.create_task_group() as tasks:
                for _ in range(_AT_ONCE):
                    tasks.start_soon(work)
    return results


@asynccontextmanager
async def _stub(cases: Sequence[Case], upstream: str, data_dir: Path) -> AsyncIterator[AnswerServiceAsyncStub]:
    """A server that has every case as a provider, `case-0`, `case-1`, …"""
    providers = {
        f"case-{number}": {
            "api": case.recording.api,
            "base_url": f"{upstream}{case.path}{'' if case.recording.api in _NO_VERSION else '/v1'}",
            "api_key": _KEY,
        }
        for number, case in enumerate(cases)
    }
    flags = {
        "address": "127.0.0.1:0",
        "data_dir": data_dir,
        "assistants": providers,
        "retrieval": {"workers": 1},
    }
    async with (
        running(load(flags=flags)) as services,
        grpc.aio.insecure_channel(services.address) as channel,
    ):
        yield cast("AnswerServiceAsyncStub", answer_service_pb2_grpc.AnswerServiceStub(channel))
