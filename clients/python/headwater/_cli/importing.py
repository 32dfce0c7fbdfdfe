"""Importing many files: several at a time, each with its outcome."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from headwater import _exceptions as exc
from headwater._cli.failures import CommandFailed, describe
from headwater._client import Client
from headwater._collecting import ImportProgress
from headwater._values import MetadataInput, to_metadata
from headwater.v1 import document_pb2

UPLOADS = 4
_TRIES = 5
_LONGEST_WAIT = 30.0

Outcome = Literal["imported", "unchanged", "updated", "failed"]

_FATAL = (
    exc.ConnectionFailed,
    exc.ConnectionLost,
    exc.AccessDenied,
    exc.NotFound,
    exc.QuotaExceeded,
    exc.ServerDraining,
    exc.NotImplementedByServer,
    exc.ProtocolError,
)
"""What would befall the next file too."""


@dataclass(frozen=True, slots=True)
class Job:
    """One file to import."""

    path: Path
    """The file."""
    document_id: str
    """The last part of its document's name."""

    @property
    def uri(self) -> str:
        """The file's whole path, as text: what is not UTF-8 in it is replaced."""
        return os.fsencode(self.path.absolute()).decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a file."""

    job: Job
    """Which file."""
    outcome: Outcome
    """What became of it."""
    reason: str = ""
    """Why it failed."""
    passages: int = 0
    """How many passages it was split into."""


class Display(Protocol):
    """Shows how an import goes on. Its methods are called from several threads, one at a time."""

    def started(self, job: Job) -> None:
        """A file's turn has come."""

    def progressed(self, job: Job, progress: ImportProgress) -> None:
        """It has come so far."""

    def ended(self, result: Result) -> None:
        """It is done."""


@dataclass(slots=True)
class Summary:
    """What became of all files."""

    results: list[Result] = field(default_factory=list)
    """One for each file."""

    def count(self, outcome: Outcome) -> int:
        """How many files came to this."""
        return sum(result.outcome == outcome for result in self.results)

    @property
    def failures(self) -> list[Result]:
        """The files that failed, by path."""
        return sorted((result for result in self.results if result.outcome == "failed"), key=lambda r: r.job.path)

    @property
    def passages(self) -> int:
        """How many passages all files have."""
        return sum(result.passages for result in self.results)


def import_all(
    client: Client,
    jobs: Iterable[Job],
    *,
    corpus: str,
    display: Display,
    metadata: Mapping[str, MetadataInput] | None = None,
) -> Summary:
    """Imports files, `UPLOADS` at a time. A file that fails does not stop the others.

    Raises:
        CommandFailed: Something went wrong that would befall every file; run again, the import goes on where it was.
        KeyboardInterrupt: Ctrl-C; the uploads under way are cancelled first.
    """
    batch = _Batch(client, corpus, display, metadata or {})
    with ThreadPoolExecutor(UPLOADS, thread_name_prefix="headwater-import") as pool:
        futures = [pool.submit(batch.run, job) for job in jobs]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException as error:
            batch.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()
            if isinstance(error, exc.HeadwaterError):
                raise CommandFailed(
                    f"{describe(error)}; the same command again goes on where this one stopped"
                ) from error
            raise
    return batch.summary


class _Stopped(Exception):
    """The import was stopped from outside."""


class _Batch:
    """What the uploads have in common."""

    def __init__(self, client: Client, corpus: str, display: Display, metadata: Mapping[str, MetadataInput]) -> None:
        self.summary = Summary()
        self._client = client
        self._corpus = corpus
        self._display = display
        self._metadata = metadata
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Lets nothing more begin; what runs ends at its next sign of progress."""
        self._stopped.set()

    def run(self, job: Job) -> None:
        """Imports one file.

        Raises:
            HeadwaterError: Something went wrong that would befall every file.
        """
        if self._stopped.is_set():
            return
        self._show(lambda: self._display.started(job))
        try:
            result = self._patiently(job)
        except _Stopped:
            return
        except _FATAL:
            if self._stopped.is_set():
                return
            raise
        except (exc.CallError, exc.ArgumentError) as error:
            result = Result(job, "failed", describe(error))
        except exc.HeadwaterError:
            return  # the client was closed, because the import was stopped
        with self._lock:
            self.summary.results.append(result)
            self._display.ended(result)

    def _patiently(self, job: Job) -> Result:
        """Imports a file; where the server has too much to do, tries again when it says so."""
        for tried in range(1, _TRIES + 1):
            try:
                return self._import(job)
            except exc.Overloaded as error:
                if tried == _TRIES:
                    raise
                wait = min(error.retry_after or float(tried), _LONGEST_WAIT)
                if self._stopped.wait(wait):
                    raise _Stopped from None
        raise AssertionError("the last try returns or raises")

    def _import(self, job: Job) -> Result:
        watched = _Watched()

        def progressed(progress: ImportProgress) -> None:
            if self._stopped.is_set():
                raise _Stopped
            watched.see(progress)
            self._show(lambda: self._display.progressed(job, progress))

        document = self._client.documents.import_file(
            job.path,
            corpus=self._corpus,
            document_id=job.document_id,
            uri=job.uri,
            metadata=self._metadata,
            on_progress=progressed,
        )
        outcome: Outcome = "imported" if watched.worked else "unchanged"
        if outcome == "unchanged" and self._says_otherwise(document):
            self._client.documents.update(document.name, metadata=self._metadata)
            outcome = "updated"
        return Result(job, outcome, passages=document.passage_count)

    def _says_otherwise(self, document: document_pb2.Document) -> bool:
        """Whether metadata were given that the document, whose content is the same, does not have."""
        wanted = document_pb2.Document(metadata=to_metadata(self._metadata))
        return bool(self._metadata) and dict(wanted.metadata) != dict(document.metadata)

    def _show(self, show: Callable[[], None]) -> None:
        with self._lock:
            show()


class _Watched:
    """Whether the server had anything to do for a file: it took bytes, or had not finished with those it has."""

    def __init__(self) -> None:
        self.worked = False

    def see(self, progress: ImportProgress) -> None:
        """Takes a sign of progress. The first says how much the server has: all, where it needs nothing."""
        if progress.committed_bytes < progress.size_bytes or progress.stage not in {"uploading", "stored"}:
            self.worked = True
