"""What a server has promised about documents, whatever is done to it; and whether it has kept that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from headwater import CallError, Client, NotFound, RetrievalResult
from headwater import field as metadata
from headwater.v1 import document_pb2
from tests.faults.import_documents import Version, make_version, marks_in
from tests.serving import TIME_LIMIT_S

CORPUS = "default"
_READY = document_pb2.DOCUMENT_STATE_READY
_FAILED = document_pb2.DOCUMENT_STATE_FAILED


class BrokenPromise(Exception):
    """The server does not have what it has acknowledged, or has what it must not have."""


@dataclass(slots=True)
class DocumentModel:
    """One document: the versions that may be there after all that was acknowledged; None stands for no document.

    A call adds what it may bring about before it is sent; its acknowledgement leaves only that.
    """

    number: int
    seed: int
    possible: set[int | None] = field(default_factory=lambda: {None})
    latest: int = 0
    """The newest version that was ever sent."""
    delays: int = 0
    """How many searches had to be made again."""

    @property
    def id(self) -> str:
        """The document's id."""
        return f"d{self.number}"

    def version(self, number: int) -> Version:
        """One of its contents."""
        return make_version(self.number, number, seed=self.seed)

    def check_presence(self, client: Client) -> document_pb2.Document | None:
        """Compares what is there with what may be; from then on, only that may be.

        Raises:
            BrokenPromise: An acknowledged document is gone, is of another version, has come back, or has failed.
        """
        found: document_pb2.Document | None = None
        with suppress(NotFound):
            found = client.documents.get(self.id, corpus=CORPUS)
        versions = (
            [None] if found is None else [n for n in self.possible if n and self.version(n).sha256 == found.sha256]
        )
        if not versions or versions[0] not in self.possible:
            raise BrokenPromise(f"{self.id}: version {self.possible} was promised, and there is {found or 'nothing'}")
        if found is not None and found.state == _FAILED:
            raise BrokenPromise(f"{self.id} has failed: {found.error.message}")
        self.possible = set(versions)
        return found

    def check_passages(self, client: Client) -> None:
        """Compares what is found of the document with what is there of it; call `check_presence` before.

        Raises:
            BrokenPromise: Passages of two versions are found, or of none, or not all of them, or more.
        """
        before = self._state(client)
        found = self._search(client)
        if before != self._state(client):
            return  # it has become READY meanwhile: another look will tell
        marks = marks_in("\n".join(source.content for source in found))
        if len(marks) > 1 or any(document != self.number for document, _ in marks):
            raise BrokenPromise(f"{self.id}: passages of {sorted(marks)} are found at the same time")
        (version,) = self.possible
        if version is None and found:
            raise BrokenPromise(f"{self.id} was deleted, and is found")
        state, passage_count = before
        if state == _READY and version is not None:
            if marks.get((self.number, version), set()) != self.version(version).marks:
                raise BrokenPromise(f"{self.id} is READY, and of its version {version} is found {dict(marks)}")
            if not passage_count:
                raise BrokenPromise(f"{self.id} is READY without passages")

    def _search(self, client: Client) -> RetrievalResult:
        """All that is found of it; a server that is still putting its index in order may say so for some time."""
        deadline = time.monotonic() + TIME_LIMIT_S
        while True:
            try:
                found = client.retrieve(
                    "part", corpus=CORPUS, filter=metadata("key") == self.id, mode="dense", top_k=100
                )
                if found.statistics.index_current:
                    return found
                if time.monotonic() > deadline:
                    raise BrokenPromise(f"the index is still not current {TIME_LIMIT_S:.0f} s after its restart")
            except CallError as error:
                if error.code not in {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"} or time.monotonic() > deadline:
                    raise
            self.delays += 1
            time.sleep(0.5)

    def _state(self, client: Client) -> tuple[int, int]:
        try:
            document = client.documents.get(self.id, corpus=CORPUS)
        except NotFound:
            return 0, 0
        return document.state, document.passage_count

    def check_content(self, client: Client) -> None:
        """Compares the bytes with those that were sent.

        Raises:
            BrokenPromise: They are not the same.
        """
        (version,) = self.possible
        if version is not None and client.documents.download(self.id, corpus=CORPUS) != self.version(version).content:
            raise BrokenPromise(f"the content of {self.id} is not that of version {version}")


def models(count: int, *, seed: int) -> list[DocumentModel]:
    """So many documents, none of which is there yet."""
    return [DocumentModel(number, seed) for number in range(count)]


def listed(client: Client) -> Iterator[str]:
    """The ids of all documents that are there."""
    with suppress(NotFound):  # no document has ever been there
        yield from (document.name.rpartition("/")[2] for document in client.documents.list(CORPUS))
