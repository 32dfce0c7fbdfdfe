"""Importing many documents: several at a time, each with its outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from headwater import _exceptions as exc
from headwater._cli.failures import CommandFailed, describe
from headwater._cli.import_summary import Result, Summary
from headwater._cli.jobs import Job
from headwater._cli.known_documents import KnownDocuments
from headwater._cli.pacing import MOST_UPLOADS, Patience, Turns, waiting_time
from headwater._cli.uploading import Upload, Uploading
from headwater._client import Client
from headwater._collecting import ImportProgress
from headwater._values import MetadataInput

PATIENCE_SECONDS = 60.0
"""How long a server that does not answer is waited for, as at a restart."""
OVERLOAD_SECONDS = 600.0
"""How long a server that refuses every upload is asked again."""
GOES_ON = "the same command again goes on where this one stopped"

_AWAY = (exc.ConnectionFailed, exc.ConnectionLost, exc.ServerDraining, exc.CallCancelled, exc.DataLoss)
"""What is seen of a server that is stopped, and perhaps started again."""
_FATAL = (exc.AccessDenied, exc.QuotaExceeded, exc.NotImplementedByServer, exc.ProtocolError)
"""What would befall the next document too."""
_JOIN_SECONDS = 1.0


class Display(Protocol):
    """Shows how an import goes on. Its methods are called from several threads, one at a time."""

    def started(self, job: Job) -> None:
        """A document's turn has come."""

    def progressed(self, job: Job, progress: ImportProgress) -> None:
        """It has come so far."""

    def ended(self, result: Result) -> None:
        """It is done."""

    def said(self, text: str) -> None:
        """Something has happened that concerns all of them."""


def import_all(
    client: Client,
    jobs: Iterable[Job],
    *,
    corpus: str,
    display: Display,
    metadata: Mapping[str, MetadataInput] | None = None,
    known: KnownDocuments | None = None,
    summary: Summary | None = None,
    patience: float = PATIENCE_SECONDS,
) -> Summary:
    """Imports documents, as many at a time as the server likes. One that fails does not stop the others.

    A server that goes away is waited for, and then given what it has not acknowledged.

    Args:
        client: The server; it is closed where the import ends early.
        jobs: What to import; taken one by one, in other threads than the caller's but never in two at once.
        corpus: Where to.
        display: Shows how it goes on.
        metadata: Values for all documents.
        known: What the server is known to have.
        summary: Where to count, for a caller who wants to know how far it came before an exception.
        patience: Seconds for which a server that does not answer is waited for.

    Raises:
        CommandFailed: Something went wrong that would befall every document; the same again goes on where it was.
        KeyboardInterrupt: Ctrl-C; the uploads under way are cancelled first.
    """
    uploading = Uploading(client, corpus=corpus, metadata=metadata or {}, known=known or KnownDocuments())
    batch = _Batch(uploading, iter(jobs), display=display, summary=summary or Summary(), patience=patience)
    # Daemons: whatever one waits for, such as a network drive, must not keep a stopped command from its end.
    threads = [threading.Thread(target=batch.work, daemon=True) for _ in range(MOST_UPLOADS)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        batch.stop()
        client.close()
        _join(threads)
        raise
    if batch.error is not None:
        client.close()
        if isinstance(batch.error, exc.HeadwaterError):
            raise CommandFailed(f"{describe(batch.error)}; {GOES_ON}") from batch.error
        raise batch.error
    return batch.summary


def _join(threads: Iterable[threading.Thread]) -> None:
    until = time.monotonic() + _JOIN_SECONDS
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, until - time.monotonic()))


class _Stopped(Exception):
    """The import was stopped."""


class _GivenUp(Exception):
    """The server was away, or had too much to do, for too long."""

    def __init__(self, error: exc.HeadwaterError) -> None:
        super().__init__(error.message)
        self.error = error


class _Batch:
    """What the uploads have in common."""

    def __init__(
        self, uploading: Uploading, jobs: Iterator[Job], *, display: Display, summary: Summary, patience: float
    ) -> None:
        self.summary = summary
        self.error: BaseException | None = None
        self._uploading = uploading
        self._jobs = jobs
        self._display = display
        self._turns = Turns()
        self._presence = Patience(patience)
        self._room = Patience(OVERLOAD_SECONDS)
        self._taking = threading.Lock()
        self._showing = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Lets nothing more begin; what runs ends at its next sign of progress."""
        self._stopped.set()
        self._turns.stop()

    def work(self) -> None:
        """Does jobs until there are none. The first error that concerns all of them is kept, and stops the batch."""
        try:
            while self._one():
                pass
        except (_Stopped, exc.ClientClosed):
            return
        except BaseException as error:
            if not self._stopped.is_set():
                self.error = error.error if isinstance(error, _GivenUp) else error
                self.stop()

    def _one(self) -> bool:
        """Does the next job, once there is a turn for it; False if there is none."""
        with self._turns.turn() as mine:
            if not mine:
                return False
            with self._taking:
                job = next(self._jobs, None)
            if job is None:
                return False
            self._show(lambda: self._display.started(job))
            began = time.monotonic()
            result = replace(self._result(job), seconds=time.monotonic() - began)
            with self._showing:
                self.summary.add(result)
                self._display.ended(result)
            return True

    def _result(self, job: Job) -> Result:
        try:
            return self._import(job)
        except _FATAL:
            raise
        except exc.NotFound as error:
            if "/documents/" not in error.resource:  # the corpus is gone
                raise
            return Result(job, "failed", describe(error), code=error.reason)
        except exc.CallError as error:
            return Result(job, "failed", describe(error), code=error.reason)
        except exc.ArgumentError as error:
            return Result(job, "failed", describe(error))

    def _import(self, job: Job) -> Result:
        """Imports a document, and tries again where the server is away or has too much to do."""
        upload = Upload(job, lambda progress: self._progressed(job, progress))
        tried = 0
        while True:
            tried += 1
            try:
                result = self._uploading.run(upload)
            except _AWAY as error:
                if self._presence.failed():
                    self._say(f"{error.message.rstrip('.')}: trying again for {self._presence.seconds:.0f} s")
                self._wait(self._presence, error, tried=tried)
            except exc.Overloaded as error:
                self._answered()
                self._turns.refused()
                self._room.failed()
                self._wait(self._room, error, tried=tried)
            except exc.CallError:
                self._answered()
                raise
            else:
                if result.outcome not in {"skipped", "failed"}:
                    self._answered()
                    self._room.succeeded()
                    self._turns.went_well()
                return result

    def _progressed(self, job: Job, progress: ImportProgress) -> None:
        if self._stopped.is_set():
            raise _Stopped
        self._show(lambda: self._display.progressed(job, progress))

    def _wait(self, patience: Patience, error: exc.HeadwaterError, *, tried: int) -> None:
        """Waits for the next try.

        Raises:
            _GivenUp: It has lasted too long.
            _Stopped: The import was stopped meanwhile.
        """
        if patience.is_over:
            raise _GivenUp(error) from error
        if self._stopped.wait(waiting_time(tried, getattr(error, "retry_after", None))):
            raise _Stopped

    def _answered(self) -> None:
        if self._presence.succeeded():
            self._say("the server is back")

    def _say(self, text: str) -> None:
        self._show(lambda: self._display.said(text))

    def _show(self, show: Callable[[], None]) -> None:
        with self._showing:
            show()
