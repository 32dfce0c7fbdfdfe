"""A real server under attack: a process of its own, what memory it takes, and what it has logged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headwater import Client
from tests.arrangements.process_tree import tree
from tests.malformed.witness import CORPUS
from tests.serving import HANDBOOK, serving

TOKEN = "the-token-of-acme-0123456789"
HOSTILE_TOKEN = "the-token-of-mallory-0123456789"
_SETTINGS = f"""
[tokens]
acme = "{TOKEN}"
mallory = "{HOSTILE_TOKEN}"

[retrieval]
workers = 1

[log]
format = "json"
"""
_DEFECTS = ('"call.defect"', '"answer.defect"', "was never retrieved")
_SAMPLE_SECONDS = 0.25


@dataclass
class Attacked:
    """A server that runs."""

    target: str
    pid: int
    log: Path
    baseline: int
    """How much memory its first process took before the attack, in bytes."""
    peak: int = 0
    """The most it has taken since."""
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def memory(self) -> int:
        """How much memory its first process takes now, in bytes; the others never see a request."""
        return _resident(self.pid)

    @property
    def alive(self) -> bool:
        """Whether all its processes run."""
        return len(tree(self.pid)) > 1

    def defects(self) -> list[str]:
        """What it has logged that no caller may cause."""
        with self.log.open() as lines:
            return [line for line in lines if any(defect in line for defect in _DEFECTS)]

    def sample(self) -> None:
        """Notes the most memory, until the server is left."""
        while not self._stop.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, self.memory)

    def __str__(self) -> str:
        mib = 1024 * 1024
        return (
            f"the server takes {self.memory // mib} MiB; {self.baseline // mib} before the attack, "
            f"{self.peak // mib} at most"
        )


@contextmanager
def attacked(folder: Path) -> Iterator[Attacked]:
    """A server with two tenants, one of which has documents and does no harm."""
    settings = folder / "settings.toml"
    settings.write_text(_SETTINGS)
    with serving(folder / "data", "--config", str(settings)) as server:
        with Client(server.target, token=TOKEN) as client:
            client.corpora.create(CORPUS)
            for path in sorted(HANDBOOK.iterdir()):
                client.documents.import_file(path, corpus=CORPUS, document_id=path.name)
        pid = server.process.pid
        running = Attacked(server.target, pid, folder / "data.log", _resident(pid))
        sampling = threading.Thread(target=running.sample)
        sampling.start()
        try:
            yield running
        finally:
            running._stop.set()
            sampling.join()


def _resident(pid: int) -> int:
    """Bytes of memory that a process has, by way of /proc; 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0)
