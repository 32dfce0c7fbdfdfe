"""From a document's bytes to passages with vectors: a worker reads it, and servers of embeddings are asked here."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from headwater_server.errors import PreconditionFailed, Reason, ServiceError
from headwater_server.outgoing.retrying import TRANSIENT
from headwater_server.retrieval.catalog import Catalog, CorpusSetup, Document
from headwater_server.retrieval.config import RetrievalConfig
from headwater_server.retrieval.corpus_embedder import WrongEmbedder, embedder_of
from headwater_server.retrieval.embedding.errors import EmbedderFailing
from headwater_server.retrieval.embedding.protocol import AsyncEmbedder, Vectors
from headwater_server.retrieval.embedding.registry import Embedders
from headwater_server.retrieval.jobs import failures
from headwater_server.retrieval.jobs.failures import Failure
from headwater_server.retrieval.jobs.progress import Progress, Stage
from headwater_server.retrieval.model import Passage
from headwater_server.retrieval.presentation import file_name
from headwater_server.retrieval.splitting.settings import SplitSettings
from headwater_server.retrieval.store.protocol import PassageRecord
from headwater_server.retrieval.workers import import_wire
from headwater_server.retrieval.workers.errors import TaskRaised, WorkerDied, WorkerUnavailable
from headwater_server.retrieval.workers.import_pieces import Embedded, EmbedderMissing, ImportPiece, Refused, Split
from headwater_server.retrieval.workers.importing import ImportRequest
from headwater_server.retrieval.workers.messages import NotUnderstood
from headwater_server.retrieval.workers.pool import WorkerPool

log = structlog.get_logger("headwater.imports")

Publish = Callable[[Progress], None]

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What the system has none of just now, whichever document is read."""


@dataclass(slots=True)
class Reading:
    """What was made of a document so far."""

    publish: Publish
    split: Split | None = None
    passages: list[Passage] = field(default_factory=list)
    passage_ids: list[str] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)
    failure: Failure | None = None
    """Why it has no passages: then it has none."""
    embedder: str = ""
    """The fingerprint that the worker gave with the vectors."""
    embedder_missing: str = ""

    @property
    def whole(self) -> bool:
        """Whether every passage that was announced has come."""
        return self.split is not None and len(self.passages) == self.split.passage_count

    def receive(self, data: bytes) -> None:
        """Takes a piece, and tells the watchers.

        Raises:
            WorkerDied: It has no meaning, or none after what came before; the worker must not go on.
        """
        try:
            self._take(import_wire.decode(data))
        except NotUnderstood as error:
            raise WorkerDied(f"the worker cannot be understood: {error}") from error

    def records(self, *, language: str) -> Sequence[PassageRecord]:
        """The passages as a store takes them."""
        vectors = (vector for part in self.vectors for vector in part)
        return [
            PassageRecord(
                passage_id=passage_id,
                ordinal=passage.ordinal,
                text=passage.text,
                heading=passage.heading,
                location=passage.location,
                vector=vector,
                language=language,
            )
            for passage, passage_id, vector in zip(self.passages, self.passage_ids, vectors, strict=True)
        ]

    def embedded(self, count: int) -> None:
        """Tells the watchers how many passages have vectors."""
        total = self.split.passage_count if self.split else 0
        self.publish(Progress(Stage.EMBEDDED if count == total else Stage.SPLIT, count, total))

    def _take(self, piece: ImportPiece) -> None:
        match piece:
            case Split():
                self.split = piece
                self.publish(Progress(Stage.PARSED))
                self.publish(Progress(Stage.SPLIT, 0, piece.passage_count))
            case Embedded():
                self._add(piece)
            case Refused():
                self.failure = Failure(piece.reason, piece.message)
            case EmbedderMissing():
                self.embedder_missing = piece.message

    def _add(self, piece: Embedded) -> None:
        if self.split is None or len(self.passages) + len(piece.passages) > self.split.passage_count:
            raise NotUnderstood("there are more passages than were announced")
        self.passages.extend(piece.passages)
        self.passage_ids.extend(piece.passage_ids)
        if piece.embedder:
            self.embedder = piece.embedder
            self.vectors.append(piece.vectors)
            self.embedded(len(self.passages))


class DocumentReader:
    """Reads documents; several at a time, as many as there are workers."""

    def __init__(self, *, catalog: Catalog, pool: WorkerPool, embedders: Embedders, config: RetrievalConfig) -> None:
        self._catalog = catalog
        self._pool = pool
        self._embedders = embedders
        self._config = config

    async def read(self, document: Document, setup: CorpusSetup, *, publish: Publish = lambda _: None) -> Reading:
        """Reads a document, splits it and makes its vectors.

        Args:
            document: Which.
            setup: How its passages are made; the embedder may be another than its corpus has.
            publish: Told of every step.

        Returns:
            All of its passages with their vectors, or its failure.

        Raises:
            WorkerLost: It has cost a worker.
            WorkerUnavailable: No worker can be started or handed the document, or it has no embedder.
            EmbedderFailing: The embedder cannot be used on this machine, or its server does not do its work now.
        """
        reading = Reading(publish)
        try:
            embedder = await embedder_of(self._embedders, document.key.corpus, setup)
        except WrongEmbedder as error:
            reading.failure = failures.no_embedder(str(error))
            return reading
        except PreconditionFailed as error:
            raise EmbedderFailing(str(error)) from error
        await self._have_it_read(document, setup, reading, embed=embedder.in_workers)
        if reading.embedder_missing:
            raise WorkerUnavailable(reading.embedder_missing)
        if reading.failure is None and not reading.whole:
            reading.failure = failures.READER_FAILED
        if reading.failure is None and not embedder.in_workers:
            await self._embed(reading, embedder)
        elif reading.failure is None and reading.embedder != setup.embedder.fingerprint:
            reading.failure = failures.OTHER_EMBEDDER
        return reading

    async def _have_it_read(self, document: Document, setup: CorpusSetup, reading: Reading, *, embed: bool) -> None:
        request = ImportRequest(
            name=file_name(document.uri) or document.key.document_id,
            media_type=document.media_type,
            split=split_settings(setup, default=self._config.split),
            embed=embed,
        )
        try:
            await self._pool.run(
                request,
                file=self._catalog.content_path(document.content),
                receive=reading.receive,
                silence_seconds=self._config.silence_seconds,
                total_seconds=self._config.document_seconds,
            )
        except TaskRaised as error:
            log.warning("reader failed", document=document.key, error=error.kind, traceback=error.traceback)
            reading.failure = failures.READER_FAILED
        except FileNotFoundError:
            reading.failure = failures.CONTENT_MISSING
        except OSError as error:
            if error.errno in _EXHAUSTED:
                raise WorkerUnavailable(f"the document cannot be handed to a worker: {error}") from error
            raise

    async def _embed(self, reading: Reading, embedder: AsyncEmbedder) -> None:
        done = 0

        def embedded(count: int) -> None:
            nonlocal done
            done += count
            reading.embedded(done)

        texts = [passage.text for passage in reading.passages]
        try:
            reading.vectors = [await embedder.embed_documents(texts, embedded=embedded)]
        except ServiceError as error:
            if error.reason in TRANSIENT:
                raise EmbedderFailing(f"{error.reason.value}: {error.message}") from error
            reading.failure = Failure(error.reason, error.message, error.metadata)
        except PreconditionFailed as error:
            raise EmbedderFailing(str(error)) from error


def split_settings(setup: CorpusSetup, *, default: SplitSettings) -> SplitSettings:
    """How long a corpus's passages are, with what it leaves to the server; an overlap is at most half of a passage."""
    longest = setup.splitting.max_characters or default.max_characters
    overlap = setup.splitting.overlap_characters
    wanted = default.overlap_characters if overlap is None else overlap
    return SplitSettings(max_characters=longest, overlap_characters=min(wanted, longest // 2))


PROVIDER_REFUSALS = frozenset({Reason.PROVIDER_REJECTED, Reason.PROVIDER_UNAUTHENTICATED, Reason.PROVIDER_PROTOCOL})
"""Failures of a document that may rather be the embedder's."""
