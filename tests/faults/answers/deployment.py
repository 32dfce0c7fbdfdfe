"""Headwater as its users run it, in one process, several or apart, with a proxy before each, to be hurt and mended."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

from headwater import AsyncClient, HeadwaterError
from tests.arrangements.process_tree import kill_tree, tree
from tests.faults.answers.plans import CORPUS, SOURCES
from tests.faults.answers.proxy import Proxy
from tests.serving import HEADWATER, TIME_LIMIT_S, environment

ONE, THREE, PROCESSES = "one", "three", "processes"
ROLES = {ONE: ("all",), THREE: ("retrieval", "assistant", "orchestrator"), PROCESSES: ("all",)}
"""One server in one process, the services apart, and one server in several processes."""

SETTINGS = """
drain = 5

[limits]
heartbeat = 0.5
answers = 2000

[answers]
keep = 30000000

[retrieval]
workers = 1

[assistants.plain]
api = "openai-chat"
base_url = "{url}"
models = ["teller"]

[assistants.going]
api = "openai-chat"
base_url = "{url}"
models = ["teller"]
{continuing}
"""


class Service:
    """One `headwater serve`, which comes back at the same address."""

    def __init__(self, role: str, folder: Path, *arguments: str, extra: Mapping[str, str]) -> None:
        self.role = role
        self.port = _free_port()
        self.log = folder / f"{role}.log"
        self.data = folder / f"{role}-data"
        self._command = [*HEADWATER, "serve", *(() if role == "all" else (role,))]
        self._command += ["--config", str(folder / "settings.toml"), "--address", f"127.0.0.1:{self.port}"]
        self._command += ["--data-dir", str(self.data), *arguments]
        self._extra = extra
        self._process: subprocess.Popen[str] | None = None
        self._ready = False

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Starts it, and waits until it takes calls."""
        self._ready = False
        output = self._spawn()
        ready = await asyncio.wait_for(asyncio.to_thread(output.readline), TIME_LIMIT_S)
        assert re.search(r" is ready on \S+", ready), ready + self.log.read_text()[-4000:]
        self._ready = True

    def _spawn(self) -> IO[str]:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment(self._extra)
            )
        assert self._process.stdout is not None
        return self._process.stdout

    async def kill(self) -> None:
        """Ends it and all that it has started, without a chance to tidy up."""
        assert self._process is not None
        kill_tree(self._process.pid)
        await self._ended()

    async def stop(self) -> None:
        """Asks it to stop, and waits until it has."""
        assert self._process is not None
        self._process.terminate()
        await self._ended()

    async def _ended(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            await asyncio.to_thread(self._process.wait, TIME_LIMIT_S)
        finally:
            self._process.stdout.close()

    def freeze(self) -> None:
        """Stops its process where it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def children(self) -> list[int]:
        """The processes that it has started."""
        return tree(self.pid)[1:]

    @contextmanager
    def little_room(self, file_bytes: int) -> Iterator[None]:
        """None of its files can grow over this, where no file system of our own can be made.

        That holds for its log and all else it writes, so one that has only begun to start is left alone: it could not
        even say why it does not.
        """
        pid, limited = self.pid, self._ready
        try:
            if limited:
                _limit_files([pid], file_bytes)
            yield
        finally:
            if limited:
                _limit_files(tree(pid), resource.RLIM_INFINITY)  # what it has started since has its limit


class Deployment:
    """All services, and the proxies through which callers and services reach them."""

    def __init__(self, arrangement: str, folder: Path, *, extra: Mapping[str, str] | None = None) -> None:
        self.arrangement = arrangement
        self._folder = folder
        self._extra = dict(extra or {})
        self.services: dict[str, Service] = {}
        self.proxies: dict[str, Proxy] = {}

    @property
    def front(self) -> Service:
        """The one that callers reach, and that owns the answers."""
        return self.services["orchestrator" if self.arrangement == THREE else "all"]

    @property
    def target(self) -> str:
        """Where callers reach it: a proxy."""
        return f"127.0.0.1:{self.proxies[self.front.role].port}"

    @property
    def direct(self) -> str:
        """Where it is without the proxy."""
        return f"127.0.0.1:{self.front.port}"

    async def open(self, url: str, stack: AsyncExitStack, *, continuing: str) -> None:
        """Starts everything; the stack ends it."""
        (self._folder / "settings.toml").write_text(SETTINGS.format(url=url, continuing=continuing))
        for role in ROLES[self.arrangement]:
            targets = ["--processes", "2"] if self.arrangement == PROCESSES else []
            if role == "orchestrator":
                for other in ("retrieval", "assistant"):
                    targets += [f"--{other}-target", f"127.0.0.1:{self.proxies[other].port}"]
            service = self.services[role] = Service(role, self._folder, *targets, extra=self._extra)
            proxy = self.proxies[role] = Proxy(service.port)
            await proxy.start()
            stack.push_async_callback(proxy.stop)
            await service.start()
            stack.push_async_callback(service.kill)
            stack.callback(service.thaw)


@asynccontextmanager
async def deployed(
    arrangement: str, folder: Path, *, url: str, continuing: str, extra: Mapping[str, str] | None = None
) -> AsyncIterator[Deployment]:
    """Everything, started, with a few documents to find."""
    async with AsyncExitStack() as stack:
        deployment = Deployment(arrangement, folder, extra=extra)
        await deployment.open(url, stack, continuing=continuing)
        async with AsyncClient(deployment.direct) as client:
            await client.corpora.create(CORPUS)
            for number, content in enumerate(SOURCES):
                await client.documents.import_file(
                    content.encode(), corpus=CORPUS, document_id=f"d{number}", media_type="text/plain"
                )
            with suppress(HeadwaterError):
                await client.retrieve("Where do rivers rise?", corpus=CORPUS)
        yield deployment


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _limit_files(pids: Iterable[int], file_bytes: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
