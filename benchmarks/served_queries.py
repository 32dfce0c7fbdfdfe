"""How long queries of a server take beside `headwater import`, whose workers read and embed.

    python -m benchmarks.served_queries                         11,000 passages
    python -m benchmarks.served_queries --keep served_queries   keeps the figures, for docs/benchmarks.md

`benchmarks.retrieval_cost --busy` measures the store alone, with vectors made before. Here a server is asked over gRPC,
20 times a second, with the query embedded each time: first with nothing else to do, then while the command imports
documents of the handbook's sentences as fast as the server takes them. The passages that are there before have vectors
that mean nothing, as it would take minutes to embed them; a search costs the same.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import structlog

from benchmarks.figures import Run, add_option
from benchmarks.import_pace import write_documents
from benchmarks.ready_vectors import ReadyVectors
from benchmarks.relay.processes import server, settle
from headwater import AsyncClient
from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.interfaces import Caller
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.service import RetrievalCore
from scripts.benchmarks_docs import WAITS

ROOT = Path(__file__).resolve().parent.parent
QUERIES_A_SECOND = 20.0
TOP_K = 10
_A_DOCUMENT = 100  # passages


def main() -> int:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description="Measure queries beside an import.")
    parser.add_argument("--passages", type=int, default=11_000, metavar="N", help="how many there are before")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long is asked each time")
    add_option(parser)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    run = Run("benchmarks.served_queries", sys.argv[1:])
    print(WAITS.heading())
    for row in measured(options.passages, options.seconds):
        print(WAITS.lines(row), flush=True)
        run.add(row)
    run.keep(options.keep)
    return 0


def measured(passages: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Rows of what queries took, without an import and beside one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data" / "retrieval").mkdir(parents=True)
        anyio.run(fill, folder / "data" / "retrieval", passages)
        write_documents(folder / "documents", "txt", 1_000, words=600, seed=0)  # more than can be read meanwhile
        command = [sys.executable, "-m", "headwater", "serve", "--address", "127.0.0.1:0"]
        with server([*command, "--data-dir", f"{name}/data"], cwd=ROOT, log=folder / "log") as running:
            settle(running)
            yield {"meanwhile": "nothing", **anyio.run(asked, running.address, seconds)}
            with importing(folder / "documents", target=running.address) as done:
                before = done()
                row = anyio.run(asked, running.address, seconds)
                imported = done() - before
            yield {"meanwhile": f"`headwater import`, {imported / seconds:.0f} documents a second", **row}


def handbook_words() -> list[str]:
    """What texts and queries are made of."""
    return " ".join(path.read_text() for path in sorted((ROOT / "docs/demo/handbook").glob("*.md"))).split()


async def fill(folder: Path, passages: int) -> None:
    """Imports documents of a hundred sections each into a data folder, with vectors that mean nothing."""
    pick = random.Random(0)  # noqa: S311 (a sample, not a secret)
    words = handbook_words()
    async with open_retrieval(folder, RetrievalConfig(workers=2), make_embedder=ReadyVectors) as core:
        for number in range(-(-passages // _A_DOCUMENT)):
            sections = (f"# Part {part}\n\n{' '.join(pick.choices(words, k=100))}" for part in range(_A_DOCUMENT))
            await import_text(core, f"before-{number}", "\n\n".join(sections))


async def import_text(core: RetrievalCore, document_id: str, text: str) -> None:
    """Imports a document, and waits until it is READY."""
    content = text.encode()
    document = document_pb2.Document(media_type="text/markdown")
    header = pb.ImportDocumentHeader(
        parent="corpora/default", document_id=document_id, size_bytes=len(content), document=document
    )

    async def requests() -> AsyncIterator[pb.ImportDocumentRequest]:
        yield pb.ImportDocumentRequest(header=header)
        yield pb.ImportDocumentRequest(data=content)

    last = document_pb2.Document()
    async with aclosing(core.import_document(requests(), Caller())) as responses:
        async for response in responses:
            last = response.document if response.HasField("document") else last
    if last.state != document_pb2.DOCUMENT_STATE_READY:
        raise SystemExit(f"{document_id} is not READY: {last.error.message}")


@contextmanager
def importing(folder: Path, *, target: str) -> Iterator[Callable[[], int]]:
    """Runs `headwater import` meanwhile, from its first document that is READY; gives what counts the documents."""
    command = [sys.executable, "-m", "headwater", "import", str(folder), "--json"]
    environment = {**os.environ, "HEADWATER_TARGET": target}
    said = folder.with_suffix(".jsonl")
    with (
        said.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL, env=environment) as process,
    ):
        try:
            while not said.stat().st_size:
                if process.poll() is not None:
                    raise SystemExit("headwater import imported nothing")
                time.sleep(0.1)
            yield lambda: said.read_bytes().count(b"\n")
            if process.poll() is not None:
                raise SystemExit("headwater import ended before the queries did")
        finally:
            process.terminate()


async def asked(target: str, seconds: float) -> dict[str, Any]:
    """Asks at an even pace, whatever the queries before take, and says how long each took from when it was due."""
    took: list[float] = []
    behind = 0
    pick = random.Random(1)  # noqa: S311 (a sample, not a secret)
    words = handbook_words()

    async def ask(client: AsyncClient, due: float, text: str) -> None:
        nonlocal behind
        found = await client.retrieve(text, corpus="default", top_k=TOP_K)
        took.append(time.monotonic() - due)
        behind += not found.statistics.index_current

    async with AsyncClient(target) as client:
        corpus = await client.corpora.get("default")
        await client.retrieve("a first question", corpus="default")
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for number in range(int(seconds * QUERIES_A_SECOND)):
                due = began + number / QUERIES_A_SECOND
                await anyio.sleep(max(0.0, due - time.monotonic()))
                tasks.start_soon(ask, client, due, " ".join(pick.choices(words, k=8)))
    took.sort()
    p50, p99 = (1000 * took[int(len(took) * share)] for share in (0.5, 0.99))
    return {
        "passages": corpus.passage_count,
        "queries": len(took),
        "p50_ms": p50,
        "p99_ms": p99,
        "not_current": behind,
    }


if __name__ == "__main__":
    sys.exit(main())
