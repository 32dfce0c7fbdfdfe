"""kill -9 of a whole server in the middle of imports, again and again.

Run by `python -m tests.faults.import_kills --kills 100`. In each round a real `headwater serve` runs, threads import,
replace, repeat and delete documents of several formats, and at a random moment the server, its index process and its
workers are killed. Then what is there is compared with what was acknowledged. At the end all that was left over must
become READY by itself.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from headwater import CallError, Client, DocumentError, ImportProgress, NotFound
from headwater_server.retrieval.store.embedded import EmbeddedStore
from headwater_server.retrieval.store.protocol import CorpusKey
from tests.arrangements.process_tree import kill_tree, tree
from tests.faults.import_model import CORPUS, BrokenPromise, DocumentModel, listed, models
from tests.serving import HEADWATER, TIME_LIMIT_S, environment, serving

_THREADS = 4
_ROUNDS_S = (1.0, 6.0)
"""How long a round may last: a short one hits the upload, a long one the reading, embedding and storing."""
_SETTINGS = {"HEADWATER_RETRIEVAL__WORKERS": "2"}


@dataclass(slots=True)
class Report:
    """What a run has done."""

    kills: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    """How many calls were acknowledged, and how many were cut off."""
    interrupted: int = 0
    """How many documents were neither READY nor gone after a kill, over all of them."""
    delays: int = 0
    """How many searches had to be made again, because the index was not there."""

    def __str__(self) -> str:
        calls = ", ".join(f"{count} {name}" for name, count in sorted(self.calls.items()))
        return f"{self.kills} kills; {calls}; {self.interrupted} resumed; {self.delays} searches made again"


def run(kills: int, *, seed: int, folder: Path, documents: int = 24) -> Report:
    """Kills a server so many times and compares it with what it has promised.

    Args:
        kills: How many times all of its processes are killed.
        seed: Decides what is done, and after how long each kill comes; not what the processes have done by then.
        folder: Where the server keeps its data and its log.
        documents: How many documents there are.

    Raises:
        BrokenPromise: The server has lost, halved or mixed a document, or has not ended an import.
    """
    chance = random.Random(seed)  # noqa: S311 (chooses what to do)
    report, all_models, data = Report(), models(documents, seed=seed), folder / "data"
    while report.kills < kills:
        if chance.random() < 0.15:
            _kill_while_starting(data, after=chance.uniform(0.1, 2.5))
            report.kills += 1
            continue
        with serving(data, extra=_SETTINGS) as server, Client(server.target) as client:
            _check_after_restart(client, all_models, chance, report)
            _kill_during_imports(server.process, client, all_models, chance, report)
        report.kills += 1
    with serving(data, extra=_SETTINGS) as server, Client(server.target) as client:
        _check_after_restart(client, all_models, chance, report)
        passages = _check_end(client, all_models)
        _check_folder(data, all_models)
    _check_store(data, passages)
    report.delays = sum(model.delays for model in all_models)
    return report


def _kill_while_starting(data: Path, *, after: float) -> None:
    command = [*HEADWATER, "serve", "--address", "127.0.0.1:0", "--data-dir", str(data)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(_SETTINGS)
    ) as server:
        time.sleep(after)
        kill_tree(server.pid)


def _check_after_restart(
    client: Client, all_models: Sequence[DocumentModel], chance: random.Random, report: Report
) -> None:
    for model in all_models:
        found = model.check_presence(client)
        report.interrupted += found is not None and not found.passage_count
    for model in chance.sample(list(all_models), len(all_models) // 4):
        model.check_passages(client)
        model.check_content(client)
    _check_list(client, all_models)


def _check_list(client: Client, all_models: Sequence[DocumentModel]) -> None:
    there, expected = set(listed(client)), {model.id for model in all_models if model.possible != {None}}
    if there != expected:
        raise BrokenPromise(f"{sorted(there ^ expected)} are listed and not promised, or promised and not listed")


def _kill_during_imports(
    server: subprocess.Popen[str],
    client: Client,
    all_models: Sequence[DocumentModel],
    chance: random.Random,
    report: Report,
) -> None:
    failures: list[BaseException] = []
    threads = [
        threading.Thread(
            target=_work, args=(client, all_models[start::_THREADS], chance.randrange(2**32), report, failures)
        )
        for start in range(_THREADS)
    ]
    for thread in threads:
        thread.start()
    time.sleep(chance.uniform(0.02, chance.choice(_ROUNDS_S)))
    if chance.random() < 0.2:  # one of the others first, which the server must bear by itself
        with suppress(IndexError):
            kill_tree(chance.choice(tree(server.pid)[1:]))
        time.sleep(chance.uniform(0, 1))
    kill_tree(server.pid)
    server.wait(timeout=TIME_LIMIT_S)
    for thread in threads:
        thread.join(TIME_LIMIT_S)
        if thread.is_alive():
            raise BrokenPromise("a call did not end when its server was killed")
    if failures:
        raise failures[0]


def _work(
    client: Client, mine: Sequence[DocumentModel], seed: int, report: Report, failures: list[BaseException]
) -> None:
    """Calls until the server is dead."""
    chance = random.Random(seed)  # noqa: S311 (chooses what to do)
    try:
        while True:
            model = chance.choice(mine)
            call = chance.choices((_import, _repeat, _delete), weights=(8, 1, 2))[0]
            try:
                call(client, model)
                report.calls[f"{call.__name__[1:]} acknowledged"] += 1
            except DocumentError as error:
                raise BrokenPromise(f"{model.id} has failed: {error}") from error
            except NotFound:
                if None not in model.possible:
                    raise BrokenPromise(f"{model.id} was acknowledged and is not found") from None
            except CallError as error:
                report.calls[f"{call.__name__[1:]} cut off"] += 1
                if error.code not in {"UNAVAILABLE", "CANCELLED", "UNKNOWN"}:
                    raise
                return
    except BaseException as error:
        failures.append(error)


def _import(client: Client, model: DocumentModel) -> None:
    model.latest += 1
    _send(client, model, model.latest)


def _repeat(client: Client, model: DocumentModel) -> None:
    """Sends what is there once more."""
    (version,) = model.possible
    if version is not None:
        _send(client, model, version)


def _send(client: Client, model: DocumentModel, number: int) -> None:
    version = model.version(number)
    model.possible.add(number)

    def acknowledged(progress: ImportProgress) -> None:
        if progress.stage != "uploading":  # its bytes are durable
            model.possible = {number}

    done = client.documents.import_file(
        version.content,
        document_id=model.id,
        media_type=version.media_type,
        metadata={"key": model.id},
        on_progress=acknowledged,
        timeout=TIME_LIMIT_S,
    )
    model.possible = {number}
    if done.sha256 != version.sha256 or not done.passage_count:
        raise BrokenPromise(f"{model.id} ended as {done}")


def _delete(client: Client, model: DocumentModel) -> None:
    model.possible.add(None)
    client.documents.delete(model.id, corpus=CORPUS)
    model.possible = {None}


def _check_end(client: Client, all_models: Sequence[DocumentModel]) -> int:
    """All that was left over becomes READY, and is found as it was sent; returns how many passages there are."""
    for model in all_models:
        if model.possible != {None}:
            client.documents.watch(model.id, corpus=CORPUS, timeout=TIME_LIMIT_S)
        model.check_presence(client)
        model.check_passages(client)
        model.check_content(client)
    _check_list(client, all_models)
    passages = sum(document.passage_count for document in client.documents.list(CORPUS))
    corpus = client.corpora.get(CORPUS)
    if corpus.passage_count != passages:
        raise BrokenPromise(f"the corpus has {corpus.passage_count} passages, and its documents {passages}")
    return passages


def _check_store(data: Path, passages: int) -> None:
    """The store of a server that has ended has as many passages as the documents say, and none beside."""

    async def count() -> int:
        async with EmbeddedStore.open(data / "retrieval" / "store") as store:
            with anyio.fail_after(TIME_LIMIT_S):
                while store.index_pid is None:  # noqa: ASYNC110 (nothing tells us; it must not be left half started)
                    await anyio.sleep(0.01)
            return await store.count_passages(CorpusKey("local", CORPUS))

    if (stored := anyio.run(count)) != passages:
        raise BrokenPromise(f"the store has {stored} passages, and the documents {passages}")


def _check_folder(data: Path, all_models: Sequence[DocumentModel]) -> None:
    """No bytes stay behind that belong to no document."""
    kept = {model.version(number).sha256 for model in all_models for number in model.possible if number}
    contents = {path.name for path in data.rglob("contents/*/*/*")}
    if contents != kept:
        raise BrokenPromise(f"the folder has {len(contents - kept)} contents too many, {len(kept - contents)} too few")
    if uploads := list(data.rglob("uploads/*")):
        raise BrokenPromise(f"the folder has {len(uploads)} half-written uploads")


def main() -> None:
    """Runs as often as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="by default a random one, which is printed")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the server's data and log")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as temporary:
        started = time.monotonic()
        report = run(arguments.kills, seed=seed, folder=arguments.keep or Path(temporary))
    sys.stdout.write(f"{report}; nothing lost, {time.monotonic() - started:.0f} s\n")


if __name__ == "__main__":
    main()
