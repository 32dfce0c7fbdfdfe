"""What a document would try that has taken over a worker; workers import this module."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from headwater_server.retrieval.embedding import MiniLmEmbedder

PTRACE_ATTACH = 16
IO_URING_SETUP = 425


def _system_call(name: str, *arguments: int) -> int:
    result: int = getattr(ctypes.CDLL(None, use_errno=True), name)(*map(ctypes.c_long, arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _connect(address: Any) -> None:
    with socket.socket(socket.AF_INET) as connection:
        connection.connect(tuple(address))


def _bind(_: Any) -> None:
    with socket.socket(socket.AF_INET) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()


def _speak_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)


def _read_memory(process: int) -> bytes:
    with Path(f"/proc/{process}/mem").open("rb") as memory:
        return memory.read(1)


def _change_limits(process: int) -> None:
    resource.prlimit(process, resource.RLIMIT_NOFILE, (10, 10))


DEEDS: Mapping[str, Callable[[Any], Any]] = {
    "connect": _connect,
    "bind": _bind,
    "connect to a Unix socket": _speak_unix,
    "make a pair of sockets": lambda _: socket.socketpair(),
    "use io_uring": lambda _: _system_call("syscall", IO_URING_SETUP, 1, 0),
    "write a file": lambda path: Path(path).write_text("harm"),
    "append to a file": lambda path: os.open(path, os.O_WRONLY | os.O_APPEND),
    "open a file to read and write": lambda path: os.open(path, os.O_RDWR),
    "make a nameless file": lambda path: os.open(Path(path).parent, os.O_TMPFILE | os.O_WRONLY),
    "remove a file": os.unlink,
    "rename a file": lambda path: Path(path).rename(path + "2"),
    "make a folder": lambda path: Path(path).with_name("folder").mkdir(),
    "make a link": lambda path: Path(path + "2").symlink_to(path),
    "change a file's mode": lambda path: Path(path).chmod(0o700),
    "read another file": lambda path: Path(path).read_bytes(),
    "list a folder": lambda path: list(Path(path).parent.iterdir()),
    "map memory as a file": lambda _: os.memfd_create("memory"),
    "start a program": lambda _: os.execv(sys.executable, [sys.executable, "-c", ""]),  # noqa: S606 (the point)
    "start a child program": lambda _: subprocess.run([sys.executable, "-c", ""], check=True),
    "fork": lambda _: os.fork(),
    "trace": lambda process: _system_call("ptrace", PTRACE_ATTACH, process, 0, 0),
    "signal": lambda process: os.kill(process, signal.SIGURG),
    "read another's memory": _read_memory,
    "read another's environment": lambda process: Path(f"/proc/{process}/environ").read_bytes(),
    "change another's limits": _change_limits,
    "make a namespace": lambda _: _system_call("unshare", 0x10000000),
}


def try_it(request: Any, file: BinaryIO | None, /) -> Iterator[bytes]:
    """Does a deed, `[name, what with]`, and says what came of it."""
    assert file is None
    name, target = request
    try:
        DEEDS[name](target)
    except (OSError, subprocess.SubprocessError) as error:
        yield json.dumps([type(error).__name__, getattr(error, "errno", None)]).encode()
    else:
        yield json.dumps("done").encode()


def work(_request: Any, _file: BinaryIO | None, /) -> Iterator[bytes]:
    """Does what a parser and an embedder must still be able to do."""
    done: list[str] = []
    thread = threading.Thread(target=done.append, args=("thread",))
    thread.start()
    thread.join()
    with mmap.mmap(-1, 1_000_000) as memory:
        memory[:3] = b"abc"
    os.kill(os.getpid(), 0)
    Path(os.__file__).read_bytes()
    vectors = MiniLmEmbedder(threads=2).embed_documents(["thirty days of leave"])
    yield json.dumps([*done, vectors.shape[1]]).encode()
