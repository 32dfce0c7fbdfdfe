"""What a worker cannot do, tried in a real one; where the system lacks a mechanism, what is said of that."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from headwater_server.retrieval.workers import landlock, seccomp
from headwater_server.retrieval.workers.limits import WorkerLimits
from headwater_server.retrieval.workers.pool import WorkerPool
from headwater_server.retrieval.workers.probe import probe
from headwater_server.retrieval.workers.sandbox import Deed, readable_paths
from headwater_server.retrieval.workers.syscalls import ARCHITECTURES, NUMBERS, number
from tests.retrieval.workers import deeds

LIMITS = WorkerLimits()
DENIED = {"PermissionError"}


@pytest.fixture(scope="module")
def kept_from() -> dict[Deed, str]:
    """What keeps workers here from each deed; empty where nothing does."""
    return {protection.deed: protection.by for protection in probe()}


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncGenerator[WorkerPool]:
    async with WorkerPool.open(deeds.try_it, size=1, limits=LIMITS, private=tmp_path) as opened:
        yield opened


async def ask(pool: WorkerPool, request: Any) -> Any:
    pieces: list[bytes] = []
    await pool.run(request, receive=pieces.append, silence_seconds=60, total_seconds=60)
    (piece,) = pieces
    return json.loads(piece)


def require(kept_from: dict[Deed, str], deed: Deed) -> None:
    if not kept_from[deed]:
        pytest.skip(f"this system has nothing that keeps a worker from it: {deed}")


@pytest.mark.parametrize(
    "deed", ["connect", "bind", "connect to a Unix socket", "make a pair of sockets", "use io_uring"]
)
@pytest.mark.anyio
async def test_a_worker_has_no_network(pool: WorkerPool, kept_from: dict[Deed, str], tmp_path: Path, deed: str) -> None:
    require(kept_from, Deed.USE_NETWORK)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        unix.listen()
        target = str(tmp_path / "socket") if "Unix" in deed else server.getsockname()
        kind, _ = await ask(pool, [deed, target])
    assert kind in DENIED


@pytest.mark.parametrize(
    "deed",
    [
        "write a file",
        "append to a file",
        "open a file to read and write",
        "make a nameless file",
        "remove a file",
        "rename a file",
        "make a folder",
        "make a link",
        "change a file's mode",
        "map memory as a file",
    ],
)
@pytest.mark.anyio
async def test_a_worker_writes_nothing(pool: WorkerPool, kept_from: dict[Deed, str], tmp_path: Path, deed: str) -> None:
    require(kept_from, Deed.WRITE_FILES)
    document = tmp_path / "document"
    document.write_text("another's")
    before = document.stat()
    kind, _ = await ask(pool, [deed, str(document)])
    assert kind in DENIED
    assert os.listdir(tmp_path) == ["document"]  # noqa: PTH208 (short, and no other thing waits)
    assert (document.read_text(), document.stat().st_mode) == ("another's", before.st_mode)


@pytest.mark.parametrize("deed", ["read another file", "list a folder"])
@pytest.mark.anyio
async def test_a_worker_cannot_read_other_documents(
    pool: WorkerPool, kept_from: dict[Deed, str], tmp_path: Path, deed: str
) -> None:
    require(kept_from, Deed.READ_FILES)
    (tmp_path / "document").write_text("another's")
    kind, _ = await ask(pool, [deed, str(tmp_path / "document")])
    assert kind in DENIED


@pytest.mark.anyio
async def test_a_worker_cannot_read_the_users_files(pool: WorkerPool, kept_from: dict[Deed, str]) -> None:
    require(kept_from, Deed.READ_FILES)
    assert await ask(pool, ["read another file", "/etc/passwd"]) == ["PermissionError", 13]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module and, beneath it, one with data."""
    data = tmp_path / "project" / "var" / "data"
    data.mkdir(parents=True)
    (data / "document").write_text("another's")
    (tmp_path / "project" / "module.py").write_text("answer = 42\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "project")])
    return tmp_path / "project"


@pytest.mark.anyio
async def test_documents_are_private_even_beneath_a_folder_with_modules(
    kept_from: dict[Deed, str], project: Path
) -> None:
    require(kept_from, Deed.READ_FILES)
    data = project / "var" / "data"
    async with WorkerPool.open(deeds.try_it, size=1, limits=LIMITS, private=data) as pool:
        assert await ask(pool, ["read another file", str(project / "module.py")]) == "done"
        assert (await ask(pool, ["read another file", str(data / "document")]))[0] in DENIED


@pytest.mark.parametrize("deed", ["start a program", "start a child program", "fork"])
@pytest.mark.anyio
async def test_a_worker_starts_nothing(pool: WorkerPool, kept_from: dict[Deed, str], deed: str) -> None:
    require(kept_from, Deed.START_PROCESSES)
    kind, _ = await ask(pool, [deed, None])
    assert kind in DENIED


@pytest.mark.parametrize(
    "deed",
    [
        "trace",
        "signal",
        "read another's memory",
        "read another's environment",
        "change another's limits",
        "make a namespace",
    ],
)
@pytest.mark.anyio
async def test_a_worker_cannot_touch_the_service(pool: WorkerPool, kept_from: dict[Deed, str], deed: str) -> None:
    require(kept_from, Deed.TOUCH_PROCESSES)
    if deed.startswith("read"):
        require(kept_from, Deed.READ_FILES)
    kind, _ = await ask(pool, [deed, os.getpid()])
    assert kind in DENIED


@pytest.mark.anyio
async def test_a_worker_can_still_do_its_work(tmp_path: Path) -> None:
    async with WorkerPool.open(deeds.work, size=1, limits=LIMITS, private=tmp_path) as pool:
        assert await ask(pool, None) == ["thread", 384]


@pytest.mark.skipif(sys.platform != "linux", reason="the mechanisms are those of Linux")
def test_where_the_kernel_has_it_a_worker_is_kept_from_every_deed(kept_from: dict[Deed, str]) -> None:
    """So that a mechanism that stops working is noticed where it must work."""
    assert set(kept_from) == set(Deed)
    try:
        seccomp.require()
        landlock.version()
    except OSError as error:
        pytest.skip(f"this kernel or container lacks a mechanism: {error}")
    assert all(kept_from.values())


WITHOUT = """
import json, sys
from dataclasses import asdict
from headwater_server.retrieval.workers import landlock, sandbox, seccomp

def lacking(*_):
    raise OSError(38, "Function not implemented")

for name in sys.argv[1:]:
    module, function = name.split(".")
    setattr(getattr(sandbox, module), function, lacking)
readable = sandbox.readable_paths(sys.path, private=None)
print(json.dumps([asdict(each) for each in sandbox.enter_sandbox(readable)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the mechanisms are those of Linux")
@pytest.mark.parametrize(
    ("lacking", "unkept", "network"),
    [
        (["landlock.allow_reading_only"], {Deed.READ_FILES}, "seccomp"),
        (["seccomp.require"], {Deed.START_PROCESSES, Deed.TOUCH_PROCESSES}, "a network namespace"),
        (
            ["seccomp.require", "landlock.allow_reading_only", "kernel.enter_empty_network"],
            set(Deed) - {Deed.GAIN_PRIVILEGES},
            "",
        ),
    ],
)
def test_what_is_lacking_is_left_out_and_said(
    lacking: list[str], unkept: set[Deed], network: str, kept_from: dict[Deed, str]
) -> None:
    if not all(kept_from.values()):
        pytest.skip("this system lacks a mechanism of its own")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *lacking], capture_output=True, text=True, timeout=60, check=True
    )
    protections = json.loads(done.stdout)
    by = {each["deed"]: each["by"] for each in protections}
    if network == "a network namespace" and not by[Deed.USE_NETWORK]:
        pytest.skip("this container allows no namespaces")
    assert {deed for deed, kept in by.items() if not kept} == unkept
    assert by[Deed.USE_NETWORK] == network
    for each in protections:
        assert bool(each["lacking"]) == (not each["by"])
        assert each["by"] or "Function not implemented" in each["lacking"]


def verdict(program: list[tuple[int, int, int, int]], *, audit: int, call: int, arguments: tuple[int, ...] = ()) -> int:
    """Runs a filter as the kernel would; what it returns."""
    data = struct.pack("<iIQ6Q", call, audit, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    register, position = 0, 0
    while True:
        code, true, false, constant = program[position]
        position += 1
        match code:
            case 0x20:
                (register,) = struct.unpack_from("<I", data, constant)
            case 0x15:
                position += true if register == constant else false
            case 0x35:
                position += true if register >= constant else false
            case 0x45:
                position += true if register & constant else false
            case 0x06:
                return constant


ALLOW, KILL = 0x7FFF0000, 0x80000000
OWN = 4711


@pytest.fixture(params=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_the_filter_of_each_processor_denies_what_it_must(machine: str) -> None:
    on = ARCHITECTURES[machine]
    program = list(seccomp.program(on, own=OWN))
    assert len(program) <= 4096, "the kernel takes no longer ones"

    def result(name: str, *arguments: int) -> int:
        wanted = number(name, on=on)
        assert wanted is not None
        return verdict(program, audit=on.audit, call=wanted, arguments=arguments)

    for name in ("socket", "connect", "execve", "ptrace", "unlinkat", "mount", "io_uring_setup", "bpf"):
        assert result(name) & 0x00050000, name
    assert result("clone", 0x10000 | 0x100) == ALLOW
    assert result("clone", 17) != ALLOW
    assert result("openat", 0, 0, os.O_RDONLY | os.O_CLOEXEC) == ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND):
        assert result("openat", 0, 0, flags) != ALLOW
    for name in ("kill", "tgkill"):
        assert result(name, OWN, 9) == ALLOW
        assert result(name, OWN + 1, 9) != ALLOW
        assert result(name, -1 & 0xFFFFFFFFFFFFFFFF, 9) != ALLOW
    for read, write in (("x86_64", (0, 1)), ("aarch64", (63, 64))):
        if read == machine:
            assert [verdict(program, audit=on.audit, call=call) for call in write] == [ALLOW, ALLOW]
    assert verdict(program, audit=0x40000003, call=0) == KILL
    if machine == "x86_64":
        assert verdict(program, audit=on.audit, call=0x40000000 | 41) != ALLOW


def test_no_two_calls_of_a_processor_have_one_number() -> None:
    for on in ARCHITECTURES.values():
        known = [wanted for name in NUMBERS if (wanted := number(name, on=on)) is not None]
        assert len(known) == len(set(known))


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists() or (machine == "x86_64" and platform.machine() != "x86_64"):
        pytest.skip("the kernel's headers are not installed")
    defined = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    on = ARCHITECTURES[machine]
    for name in NUMBERS:
        if name in defined:
            assert number(name, on=on) == int(defined[name]), name


def test_paths_within_a_folder_leave_out_the_private_one(tmp_path: Path) -> None:
    for name in ("a/b/private/x", "a/b/c", "a/d", "e"):
        (tmp_path / name).mkdir(parents=True)
    private = tmp_path / "a" / "b" / "private"
    found = set(landlock.paths_without(tmp_path, private))
    assert found == {tmp_path / "a" / "b" / "c", tmp_path / "a" / "d", tmp_path / "e"}
    assert list(landlock.paths_without(private / "x", private)) == []
    assert list(landlock.paths_without(tmp_path / "e", private)) == [tmp_path / "e"]


def test_the_interpreter_and_its_packages_can_be_read(tmp_path: Path) -> None:
    readable = readable_paths(sys.path, private=tmp_path)
    for needed in (os.__file__, json.__file__, sys.executable):
        assert any(Path(needed).resolve().is_relative_to(path) for path in readable), needed
