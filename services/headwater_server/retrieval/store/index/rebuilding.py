"""Making shards anew beside those in use: when, by which process, and until the new one can take the place."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headwater_server.retrieval.store.index.applying import apply_next
from headwater_server.retrieval.store.index.shard import (
    COMPRESSED_FROM,
    Progress,
    Shard,
    ShardBroken,
    data_beside,
    discard_beside,
    to_progress,
)
from headwater_server.retrieval.store.protocol import StoreError
from headwater_server.retrieval.store.truth.connection import reading
from headwater_server.retrieval.store.truth.reader import CorpusState, get_corpus

log = logging.getLogger(__name__)

QUIET_SECONDS = 5.0
_SHARE_WHILE_WRITTEN = 0.5
_SHARE_WHEN_QUIET = 0.1
_MOST_DEAD = 20_000
_FIRST_PAUSE, _LONGEST_PAUSE = 10.0, 3_600.0


def seconds_until_due(progress: Progress, *, quiet_for: float, least: int) -> float | None:
    """In how many seconds a shard is to be made anew, if nothing is added meanwhile; None for not at all.

    At once where so many passages were added since the last time that comparing their whole vectors costs more than all
    others, or so many were removed that half of it is waste; after a pause in the writing already for fewer. A share
    of what there is, so that an import of any length makes everything anew but a few times.

    Args:
        progress: The shard's.
        quiet_for: For how many seconds nothing was added to it.
        least: How many passages it pays from.
    """
    if progress.dead >= max(_MOST_DEAD, (progress.indexed + progress.fresh) // 2):
        return 0.0
    if progress.fresh >= max(least, progress.indexed * _SHARE_WHILE_WRITTEN):
        return 0.0
    if progress.fresh >= max(least, progress.indexed * _SHARE_WHEN_QUIET):
        return max(0.0, QUIET_SECONDS - quiet_for)
    return None


class Rebuild:
    """A process that makes the shard of one corpus anew; see `rebuild`."""

    def __init__(self, database: Path, directory: Path, corpus: CorpusState, *, graph_from: int) -> None:
        self.directory = directory
        self.corpus = corpus.row
        self.dimension = corpus.dimension
        self.since = corpus.version
        """The version from which on the truth must know what was removed."""
        self.data = data_beside(directory)
        self.began = time.monotonic()
        module = "headwater_server.retrieval.store.index.rebuild"
        command = [sys.executable, "-P", "-m", module, str(database), str(directory), self.data, str(corpus.row)]
        command += [str(os.getpid()), f"--since={corpus.version}", f"--graph-from={graph_from}"]
        self._process = subprocess.Popen(  # noqa: S603 (our own program)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def fileno(self) -> int:
        """Readable once the process has answered or ended."""
        if self._process.stdout is None:
            raise RuntimeError("the process was started without pipes")
        return self._process.stdout.fileno()

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def outcome(self) -> Progress | None:
        """How far the new shard came, once the process has ended; None if the corpus was deleted meanwhile.

        Raises:
            ShardBroken: The process failed.
        """
        said, _ = self._process.communicate()
        if self._process.returncode:
            raise ShardBroken(f"the process that made it anew ended with status {self._process.returncode}")
        answer = json.loads(said)
        return None if answer is None else to_progress(answer)

    def cancel(self) -> None:
        """Ends the process, if it has not ended, and removes what it made."""
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()
        discard_beside(self.directory, self.data)


@dataclass(slots=True)
class _Candidate:
    """A new shard that is being caught up."""

    made: Rebuild
    shard: Shard


class Rebuilding:
    """Makes shards anew, one at a time. Not thread-safe.

    Args:
        truth: A connection that reads.
        database: What it is connected to.
        graph_from: From how many passages on a shard has a graph.
    """

    def __init__(self, truth: sqlite3.Connection, database: Path, *, graph_from: int) -> None:
        self._truth = truth
        self._database = database
        self._graph_from = graph_from
        self._running: Rebuild | None = None
        self._candidate: _Candidate | None = None
        self._failures = 0
        self._not_before = 0.0

    @property
    def waits_for(self) -> Rebuild | None:
        """What a wait for something to do must look at."""
        return self._running

    @property
    def has_work(self) -> bool:
        """Whether `work` would do something now."""
        return self._candidate is not None or (self._running is not None and self._running.is_over)

    def needed_since(self, corpus: int) -> int | None:
        """The version from which on a corpus's changes are still needed, if it is being made anew."""
        rebuild = self._running or (self._candidate.made if self._candidate else None)
        return rebuild.since if rebuild is not None and rebuild.corpus == corpus else None

    def start_if_due(self, open_shards: Mapping[int, Shard], directory: Path) -> None:
        """Starts making that shard anew which needs it, if there is one and none is being made."""
        if self._running or self._candidate or time.monotonic() < self._not_before:
            return
        for row, shard in open_shards.items():
            if self._seconds_until_due(shard) == 0.0:
                try:
                    with reading(self._truth):
                        corpus = get_corpus(self._truth, row)
                except StoreError as error:
                    self.failed(error)
                    return
                if corpus is not None and corpus.passages:
                    self._start(corpus, directory / str(row))
                    return

    def seconds_until_due(self, open_shards: Mapping[int, Shard]) -> float | None:
        """How long `start_if_due` may wait; None if nothing waits for it."""
        if self._running or self._candidate:
            return None
        due = [self._seconds_until_due(shard) for shard in open_shards.values()]
        soonest = min((seconds for seconds in due if seconds is not None), default=None)
        return None if soonest is None else max(soonest, self._not_before - time.monotonic())

    def work(self) -> tuple[int, Shard] | None:
        """Does the next part; returns a corpus with its new shard once that can take its place."""
        try:
            if self._running is not None and self._running.is_over:
                self._open(self._running)
            elif self._candidate is not None and self._catch_up(self._candidate):
                rebuild, shard = self._candidate.made, self._candidate.shard
                self._candidate, self._failures = None, 0
                seconds = time.monotonic() - rebuild.began
                log.info("the index of corpus %d was made anew in %.0f s", rebuild.corpus, seconds)
                return rebuild.corpus, shard
        except (ShardBroken, StoreError, OSError, ValueError, TypeError, KeyError) as error:
            self.failed(error)
        return None

    def failed(self, error: Exception) -> None:
        """Gives up what is being made, and waits before anything is made again."""
        pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
        log.warning("an index could not be made anew, next attempt in %.0f s: %s", pause, error)
        self._failures += 1
        self._not_before = time.monotonic() + pause
        self._give_up()

    def cancel(self, corpus: int | None = None) -> None:
        """Gives up what is being made of a corpus, or whatever is being made."""
        if corpus is None or self.needed_since(corpus) is not None:
            self._give_up()

    def _seconds_until_due(self, shard: Shard) -> float | None:
        quiet_for = time.monotonic() - shard.added_at
        least = min(COMPRESSED_FROM, self._graph_from)
        return seconds_until_due(shard.progress, quiet_for=quiet_for, least=least)

    def _start(self, corpus: CorpusState, directory: Path) -> None:
        try:
            self._running = Rebuild(self._database, directory, corpus, graph_from=self._graph_from)
        except OSError as error:
            self.failed(error)

    def _open(self, rebuild: Rebuild) -> None:
        progress = rebuild.outcome()
        if progress is None:
            self._give_up()
            return
        shard = Shard.load_beside(rebuild.directory, progress, data=rebuild.data, dimension=rebuild.dimension)
        shard.verified = True  # the process that made it did that
        self._running, self._candidate = None, _Candidate(rebuild, shard)

    def _catch_up(self, candidate: _Candidate) -> bool:
        with reading(self._truth):
            corpus = get_corpus(self._truth, candidate.made.corpus)
            if corpus is None:
                self._give_up()
                return False
            return apply_next(self._truth, candidate.shard, corpus)

    def _give_up(self) -> None:
        rebuild = self._running
        if self._candidate is not None:
            rebuild = self._candidate.made
            with suppress(ShardBroken, OSError):
                self._candidate.shard.close(seal=False)
        self._running = self._candidate = None
        if rebuild is not None:
            with suppress(OSError):  # whatever is left is removed when the shard is next opened
                rebuild.cancel()
