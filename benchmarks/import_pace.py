"""What an import costs, from the file to the passages that are found, beside Ragna's handlers and LanceDB storage.

    python -m benchmarks.import_pace                      both, taking turns
    python -m benchmarks.import_pace --documents 20       fewer documents a round
    python -m benchmarks.import_pace --keep import_pace   keeps the figures, for docs/benchmarks.md

Headwater is `headwater serve` with all that it has: uploads over gRPC, workers, a catalog and an index that survive a
crash. Its CPU is that of all its processes. Ragna is called as a library within one process, with no
upload, and embeds with our model (its own is a download); everything else of it is as it comes. Both get the same
documents, and are asked afterwards for a sentence that is in one of them alone.

Ragna, LanceDB and PyMuPDF (AGPL; for Ragna's PDF handler alone) are installed into an environment of their own under
the cache folder, the first time it runs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from benchmarks import figures
from benchmarks.relay.processes import Server, server, settle
from headwater import Client
from headwater_server.retrieval.embedding import MiniLmEmbedder
from headwater_server.retrieval.splitting import parse_and_split
from scripts.benchmarks_docs import IMPORTS
from tests.retrieval.parsing.samples import make_pdf

ROOT = Path(__file__).resolve().parent.parent
PEER_PACKAGES = ("ragna==0.2.1", "lancedb", "pymupdf", "tiktoken", "pyarrow", "regex")
SHARED_PACKAGES = ("numpy", "onnxruntime", "tokenizers")
"""What the embedder runs on: the same versions on both sides."""
UPLOADS = 4
KINDS = ("txt", "pdf")
SENTENCE = "The lighthouse keeper winds the brass clockwork every ninety minutes."
_LINE = 90


@dataclass(frozen=True)
class Cost:
    """What the import of one folder cost."""

    documents: int
    passages: int
    cpu_s: float
    embedding_s: float
    """How much of it is the embedding."""
    wall_s: float

    @property
    def rate(self) -> float:
        """Documents a CPU-second."""
        return self.documents / self.cpu_s


def main() -> int:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description="Measure imports beside Ragna.")
    parser.add_argument("--documents", type=int, default=40, help="documents of each kind a round")
    parser.add_argument("--words", type=int, default=600, help="words a document")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", type=Path, default=platformdirs.user_cache_path("headwater") / "benchmarks" / "ragna")
    figures.add_option(parser)
    options = parser.parse_args()
    run = figures.Run("benchmarks.import_pace", sys.argv[1:])
    python = peer_environment(options.peer)
    costs: dict[tuple[str, str], list[Cost]] = {(side, kind): [] for side in ("Headwater", "Ragna") for kind in KINDS}
    with tempfile.TemporaryDirectory() as name, headwater(Path(name)) as ours, ragna(python) as theirs:
        for number in range(-1, options.rounds):  # the first is not counted: it loads what is loaded once
            for kind in KINDS:
                folder = Path(name) / f"{kind}-{number}"
                count = options.documents if number >= 0 else 2
                write_documents(folder, kind, count, words=options.words, seed=number)
                pair = {"Headwater": ours.measure(folder, corpus=folder.name), "Ragna": theirs.measure(folder)}
                if number >= 0:
                    for side, cost in pair.items():
                        costs[side, kind].append(cost)
        print(
            f"{options.documents} documents of {options.words} words of each kind, {options.rounds} rounds; "
            f"Ragna's tokens are {theirs.tokens}.\n"
        )
    print(IMPORTS.heading())
    for row in summed_up(costs):
        print(IMPORTS.lines(row))
        run.add(row)
    run.keep(options.keep)
    return 0


def write_documents(folder: Path, kind: str, count: int, *, words: int, seed: int) -> None:
    """Writes documents of the handbook's sentences in an order of their own, one of which has `SENTENCE` too."""
    folder.mkdir()
    pick = random.Random(seed)  # noqa: S311 (a sample, not a secret)
    text = " ".join(path.read_text() for path in sorted((ROOT / "docs/demo/handbook").glob("*.md")))
    sentences = [" ".join(sentence.split()) for sentence in text.encode("ascii", "ignore").decode().split(". ")]
    for number in range(count):
        chosen = [SENTENCE] if number == count // 2 else []
        while sum(len(sentence.split()) for sentence in chosen) < words:
            chosen.append(f"{pick.choice(sentences)}.")
        paragraphs = [" ".join(chosen[at : at + 5]) for at in range(0, len(chosen), 5)]
        path = folder / f"{number:03}.{kind}"
        if kind == "pdf":
            path.write_bytes(make_pdf([wrapped(paragraph) for paragraph in paragraphs]))
        else:
            path.write_text("\n\n".join(paragraphs))


def wrapped(paragraph: str) -> list[str]:
    """The lines of a paragraph on a page."""
    lines = [""]
    for word in paragraph.split():
        if len(lines[-1]) + len(word) > _LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


class Headwater:
    """A server, and the processes that belong to it."""

    def __init__(self, running: Server) -> None:
        self._server = running
        self._embedder = MiniLmEmbedder()

    def measure(self, folder: Path, *, corpus: str) -> Cost:
        """Imports a folder; what the server does after the last document was found is counted too."""
        paths = sorted(folder.iterdir())
        with Client(self._server.address) as client, ThreadPoolExecutor(UPLOADS) as pool:
            client.corpora.create(corpus)
            settle(self._server)
            cpu, began = self._server.cpu_seconds(), time.monotonic()
            documents = list(pool.map(lambda path: client.documents.import_file(path, corpus=corpus), paths))
            wall = time.monotonic() - began
            settle(self._server)
            cpu = self._server.cpu_seconds() - cpu
            found = client.retrieve(SENTENCE, corpus=corpus, top_k=1)
        if not found or SENTENCE not in " ".join(found[0].content.split()):
            raise SystemExit("headwater does not find the sentence")
        passages = sum(document.passage_count for document in documents)
        return Cost(len(documents), passages, cpu, self._embedding(paths), wall)

    def _embedding(self, paths: Sequence[Path]) -> float:
        """CPU seconds of embedding the same passages once more, here."""
        documents = [parse_and_split(path) for path in paths]
        began = time.thread_time()
        for document in documents:
            self._embedder.embed_documents([passage.text for passage in document.passages])
        return time.thread_time() - began


class Ragna:
    """A process with Ragna in it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.tokens = ""

    def measure(self, folder: Path) -> Cost:
        """Imports a folder."""
        assert self._process.stdin is not None, "it was opened with pipes"
        assert self._process.stdout is not None, "it was opened with pipes"
        print(json.dumps({"folder": str(folder), "query": SENTENCE}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("ragna ended")
        said = json.loads(line)
        wanted = sorted(path.name for path in folder.iterdir())[said["documents"] // 2]
        if wanted not in said["found"]:
            raise SystemExit("ragna does not find the sentence")
        self.tokens = said["tokens"]
        return Cost(said["documents"], said["passages"], said["cpu_s"], said["embedding_s"], said["wall_s"])


@contextmanager
def headwater(folder: Path) -> Iterator[Headwater]:
    """Runs a server."""
    options = ("--address", "127.0.0.1:0", "--data-dir", str(folder / "data"))
    with server([sys.executable, "-m", "headwater", "serve", *options], cwd=ROOT, log=folder / "log") as running:
        yield Headwater(running)


@contextmanager
def ragna(python: Path) -> Iterator[Ragna]:
    """Runs Ragna."""
    folders = (ROOT / "services", ROOT / "services/minilm", ROOT / "clients/python")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PYTHONWARNINGS": "ignore::FutureWarning:fitz",
    }
    command = [str(python), str(ROOT / "benchmarks/ragna_peer.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Ragna(process)
        finally:
            process.kill()


def peer_environment(folder: Path) -> Path:
    """The Python of an environment that has Ragna, which is made if need be."""
    python = folder / "bin/python"
    done = folder / "packages"
    wanted = [*PEER_PACKAGES, *(f"{name}=={importlib.metadata.version(name)}" for name in SHARED_PACKAGES)]
    if not done.is_file() or done.read_text().split() != wanted:
        print(f"installing Ragna into {folder} …", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
        done.write_text("\n".join(wanted))
    return python


def summed_up(costs: Mapping[tuple[str, str], Sequence[Cost]]) -> Iterator[dict[str, Any]]:
    """Medians of the rounds, and the ranges of what is compared."""
    for kind in KINDS:
        peer = statistics.median(cost.rate for cost in costs["Ragna", kind])
        for side in ("Headwater", "Ragna"):
            those = costs[side, kind]
            rates = [cost.rate for cost in those]
            yield {
                "kind": kind,
                "side": side,
                "rate": statistics.median(rates),
                "lowest": min(rates),
                "highest": max(rates),
                "ratio": statistics.median(rates) / peer,
                "embedding_ms": 1000 * statistics.median(cost.embedding_s / cost.documents for cost in those),
                "passages": statistics.mean(cost.passages / cost.documents for cost in those),
                "a_second": statistics.median(cost.documents / cost.wall_s for cost in those),
            }


if __name__ == "__main__":
    sys.exit(main())
