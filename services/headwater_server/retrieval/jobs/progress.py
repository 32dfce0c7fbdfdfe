"""How far the work on documents has come, for those who watch it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

from anyio import Event

from headwater_server.retrieval.catalog import DocumentKey
from headwater_server.retrieval.store.protocol import CorpusKey


class Stage(IntEnum):
    """A stage of the work; the numbers are those of `headwater.v1.DocumentStage`."""

    RECEIVED = 1
    PARSED = 2
    SPLIT = 3
    EMBEDDED = 4
    STORED = 5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work on a document has come."""

    stage: Stage = Stage.RECEIVED
    """The stage reached last."""
    embedded_passages: int = 0
    passage_count: int = 0


class Watch:
    """What one watcher has not yet seen: every stage, but of several steps within one stage the latest only.

    So it never holds more than the stages of two revisions; what is older is dropped.
    """

    _MOST = 2 * len(Stage)

    def __init__(self) -> None:
        self._unseen: deque[Progress] = deque(maxlen=self._MOST)
        self._look = False
        self._news = Event()

    def add(self, progress: Progress) -> None:
        """A step was made."""
        if self._unseen and self._unseen[-1].stage is progress.stage:
            self._unseen[-1] = progress
        else:
            self._unseen.append(progress)
        self._news.set()

    def call(self) -> None:
        """The document's state has changed."""
        self._look = True
        self._news.set()

    async def next(self) -> Progress | None:
        """The next step, or None where the catalog has something new to say of the document; waits for either."""
        await self._news.wait()
        step = self._unseen.popleft() if self._unseen else None
        if step is None:
            self._look = False
        if not self._unseen and not self._look:
            self._news = Event()
        return step


class ProgressBoard:
    """The latest progress of each document that is worked on, in memory: after a crash the work begins anew."""

    def __init__(self) -> None:
        self._latest: dict[DocumentKey, Progress] = {}
        self._watches: dict[DocumentKey, list[Watch]] = defaultdict(list)

    def publish(self, key: DocumentKey, progress: Progress) -> None:
        """A step was made."""
        self._latest[key] = progress
        for watch in self._watches.get(key, ()):
            watch.add(progress)

    def state_changed(self, key: DocumentKey) -> None:
        """The catalog has another state of the document, or none: work on it has ended, or begins anew."""
        self._latest.pop(key, None)
        for watch in self._watches.get(key, ()):
            watch.call()

    def latest(self, key: DocumentKey) -> Progress:
        """The latest step of a document that is PENDING or PROCESSING."""
        return self._latest.get(key, Progress())

    def watched_in(self, corpus: CorpusKey) -> list[DocumentKey]:
        """The documents of a corpus that are being watched."""
        return [key for key in self._watches if key.corpus == corpus]

    @contextmanager
    def watch(self, key: DocumentKey) -> Iterator[Watch]:
        """A watch of a document, from now on."""
        watch = Watch()
        self._watches[key].append(watch)
        try:
            yield watch
        finally:
            self._watches[key].remove(watch)
            if not self._watches[key]:
                del self._watches[key]
