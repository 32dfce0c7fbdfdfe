"""What is recorded: a retrieval service that takes, replaces, changes and deletes documents, until it is killed.

`python -m tests.power_loss.workload FOLDER LOG INDEX_COPIES SEED CHANGES`. Each change is noted in the log when it
begins and when it has been acknowledged.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import anyio
from anyio import to_thread

from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.interfaces import Caller
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.opening import open_retrieval
from headwater_server.retrieval.service import RetrievalCore
from headwater_server.retrieval.splitting.settings import SplitSettings
from tests.power_loss.embedder import WordEmbedder
from tests.power_loss.recording import Notes
from tests.power_loss.texts import text_of

TENANT = Caller(tenant="local")
CORPUS = "default"
DOCUMENTS = 12
_CALLERS = 4
_COPY_SECONDS = 0.4


def config() -> RetrievalConfig:
    """The settings of the service, also when it is opened again: short passages, so that there are many."""
    return RetrievalConfig(workers=1, split=SplitSettings(max_characters=300))


class Workload:
    """Changes documents, each of which one caller has for itself."""

    def __init__(self, core: RetrievalCore, notes: Notes, seed: int, editions: dict[int, int]) -> None:
        self._core = core
        self._notes = notes
        self._seed = seed
        self._editions = editions

    async def run(self, changes: int) -> None:
        """Makes so many changes."""
        async with anyio.create_task_group() as tasks:
            for caller in range(_CALLERS):
                tasks.start_soon(self._caller, caller, changes // _CALLERS)

    async def _caller(self, caller: int, changes: int) -> None:
        chance = random.Random(f"{self._seed}/{caller}/{sum(self._editions.values())}")  # noqa: S311 (no secret)
        mine = range(caller, DOCUMENTS, _CALLERS)
        there: set[int] = {number for number in mine if self._editions.get(number)}
        for _ in range(changes):
            document = chance.choice(mine)
            kind = chance.choice(("put", "put", "put", "title", "delete")) if document in there else "put"
            if kind == "put":
                await self._put(document, wait=chance.random() < 0.7)
                there.add(document)
            elif kind == "title":
                await self._title(document, f"Title {chance.randrange(10**6)}")
            else:
                await self._delete(document)
                there.discard(document)

    async def _put(self, document: int, *, wait: bool) -> None:
        edition = self._editions[document] = self._editions.get(document, 0) + 1
        content = text_of(document, edition).encode()
        note = {"document": document, "kind": "put", "edition": edition}
        self._notes.add({**note, "done": False})
        header = pb.ImportDocumentHeader(
            parent=f"corpora/{CORPUS}",
            document_id=f"d{document}",
            size_bytes=len(content),
            document=document_pb2.Document(media_type="text/plain"),
        )

        async def requests() -> object:
            yield pb.ImportDocumentRequest(header=header)
            yield pb.ImportDocumentRequest(data=content)

        async with aclosing(self._core.import_document(requests(), TENANT)) as responses:  # type: ignore[arg-type]  # an async generator of requests
            async for response in responses:
                received = response.HasField("progress") and not wait
                if received or response.HasField("document"):
                    self._notes.add({**note, "done": True})
                    return

    async def _title(self, document: int, title: str) -> None:
        note = {"document": document, "kind": "title", "title": title}
        self._notes.add({**note, "done": False})
        changed = document_pb2.Document(name=f"corpora/{CORPUS}/documents/d{document}", title=title)
        await self._core.update_document(pb.UpdateDocumentRequest(document=changed), TENANT)
        self._notes.add({**note, "done": True})

    async def _delete(self, document: int) -> None:
        note = {"document": document, "kind": "delete"}
        self._notes.add({**note, "done": False})
        name = f"corpora/{CORPUS}/documents/d{document}"
        await self._core.delete_document(pb.DeleteDocumentRequest(name=name), TENANT)
        self._notes.add({**note, "done": True})


async def _copy_index(folder: Path, copies: Path, notes: Notes) -> None:
    """Copies the index now and then: its engine maps files into memory, which the recorder does not see."""
    number = len(os.listdir(copies))  # noqa: PTH208 (only counted)
    while True:
        target = copies / str(number)
        command = ["cp", "-r", "--sparse=always", str(folder / "store" / "index"), str(target)]
        copied = await to_thread.run_sync(lambda command=command: subprocess.run(command, check=False, stderr=-3))  # type: ignore[misc]  # the default binds the loop's variable
        if copied.returncode == 0:
            notes.add({"index": number})
            number += 1
        else:  # something in it went away meanwhile
            shutil.rmtree(target, ignore_errors=True)
        await anyio.sleep(_COPY_SECONDS)


async def main(folder: Path, log: Path, copies: Path, seed: int, changes: int) -> None:
    """One service that is closed in order, and one that is killed."""
    notes = Notes(log)
    editions: dict[int, int] = {}
    for last in (False, True):
        async with (
            open_retrieval(folder, config(), make_embedder=WordEmbedder) as core,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_copy_index, folder, copies, notes)
            await Workload(core, notes, seed, editions).run(changes // 2)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    _folder, _log, _copies, _seed, _changes = sys.argv[1:]
    anyio.run(main, Path(_folder), Path(_log), Path(_copies), int(_seed), int(_changes))
