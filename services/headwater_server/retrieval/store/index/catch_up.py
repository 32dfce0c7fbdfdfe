"""Keeping the shards in step with the truth."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import time
from collections import OrderedDict
from pathlib import Path

from headwater_server.retrieval.store.index.applying import apply_next, verify
from headwater_server.retrieval.store.index.rebuilding import Rebuild, Rebuilding
from headwater_server.retrieval.store.index.shard import Shard, ShardBroken, discard, read_progress
from headwater_server.retrieval.store.protocol import StoreError
from headwater_server.retrieval.store.truth.connection import reading, translated_errors
from headwater_server.retrieval.store.truth.reader import (
    CorpusState,
    corpora_changed_since,
    corpus_rows,
    count_passages_after,
    get_corpus,
    latest_version,
)

log = logging.getLogger(__name__)

MOST_OPEN = 32
"""How many shards are open at once; each has a thread, and its vectors in memory."""
FLUSH_AFTER_PASSAGES = 20_000
LONGEST_UNFLUSHED = 60.0
"""A flush takes a tenth of a second and more, for which searches wait: so in an import there are but few of them."""
_LONGEST_PAUSE = 60.0
_LIST = 0
"""Stands for the list of the corpora among them: their rows count from 1."""


class Shards:
    """All shards, opened as needed, caught up step by step. Not thread-safe.

    Args:
        truth: A connection that reads.
        directory: Where the shards are.
        rebuilding: What makes shards anew, beside those that are in use.
        flush_seconds: How long nothing more must have been applied before what was is flushed.
    """

    def __init__(
        self, truth: sqlite3.Connection, directory: Path, rebuilding: Rebuilding, *, flush_seconds: float
    ) -> None:
        self._truth = truth
        self._directory = directory
        self._rebuilding = rebuilding
        self._flush_seconds = flush_seconds
        self._open: OrderedDict[int, Shard] = OrderedDict()
        self._corpora: set[int] = set()
        self._lagging: dict[int, int] = {}  # corpus row → version up to which its shard is known to be in step
        self._seen = 0
        self._failures: dict[int, tuple[int, float]] = {}  # corpus row → how often in a row, not again before
        self._unreadable: dict[int, tuple[int, float]] = {}  # the same of corpora whose truth is damaged
        self._flush_at: float | None = None
        self._flush_by = 0.0
        self.flushed: list[tuple[int, int]] = []
        """Corpora with the version up to which removals were flushed; for the owner to take away."""

    @property
    def applied(self) -> int:
        """The version up to which every shard has applied every write.

        But for those of corpora that cannot be read: nobody waits for what is damaged on the disk.
        """
        lagging = (version for row, version in self._lagging.items() if row not in self._unreadable)
        return min(lagging, default=self._seen)

    def start(self) -> None:
        """Looks at what there is; removes what belongs to no corpus."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self.refresh()
        if _LIST in self._unreadable:
            return
        for entry in self._directory.iterdir():
            if entry.is_dir() and not (entry.name.isdecimal() and int(entry.name) in self._corpora):
                shutil.rmtree(entry)

    def refresh(self) -> None:
        """Learns which corpora were written to or deleted since the last time; later, where they cannot be read now."""
        if _waits(self._unreadable, _LIST):
            return
        try:
            with translated_errors(), reading(self._truth):  # within a search, `reading` leaves the errors to that
                self._learn()
        except StoreError as error:
            self._put_off(_LIST, error)
        else:
            self._unreadable.pop(_LIST, None)

    def _learn(self) -> None:
        latest = latest_version(self._truth)
        if latest == self._seen:
            return
        changed = corpora_changed_since(self._truth, self._seen)
        existing = corpus_rows(self._truth)
        for state in changed:
            self._note_change(state)
        for row in self._corpora - existing:
            self._forget(row)
        self._corpora = existing
        self._seen = latest

    def _note_change(self, state: CorpusState) -> None:
        if state.row in self._lagging:
            return
        if state.row in self._corpora:
            self._lagging[state.row] = self._seen
            return
        progress = read_progress(self._path(state.row), dimension=state.dimension)
        if progress is not None:
            self._note_flushed(state.row, progress.removed)
        if progress is None or progress.applied != state.version:
            # A new corpus lacks only what is newer than what was seen; at the start nothing was.
            known = self._seen if progress is None else progress.applied
            self._lagging[state.row] = min(known, state.version - 1)

    def is_current(self, corpus: CorpusState) -> bool:
        """Whether a corpus's shard is open, has applied every write to the corpus, and was compared with the truth."""
        shard = self._open.get(corpus.row)
        return shard is not None and shard.verified and shard.progress.applied == corpus.version

    def is_due(self, corpus: int) -> bool:
        """Whether `step` has something to do for a corpus now."""
        return corpus in self._lagging and not self._paused(corpus) and not _waits(self._unreadable, corpus)

    def get(self, corpus: CorpusState) -> Shard | None:
        """The shard of a corpus as it is; None if it cannot be used now."""
        if self._paused(corpus.row):
            return None
        try:
            shard = self._opened(corpus)
        except (ShardBroken, OSError) as error:
            self.broken(corpus.row, error)
            return None
        if not shard.verified:
            self._lagging.setdefault(corpus.row, min(shard.progress.applied, corpus.version - 1))
        return shard

    def lag(self, corpus: CorpusState, *, most: int) -> int:
        """How many passages a corpus's shard, which is opened for that, has not seen yet; counted to `most` + 1."""
        shard = self.get(corpus)
        seen = 0 if shard is None else shard.progress.passage
        return count_passages_after(self._truth, corpus.row, seen, most=most + 1)

    @property
    def has_work(self) -> bool:
        """Whether `work` would do something now."""
        return self._is_list_due or self._next_lagging() is not None or self._rebuilding.has_work

    @property
    def waits_for(self) -> list[Rebuild]:
        """What a wait for something to do must look at."""
        rebuild = self._rebuilding.waits_for
        return [] if rebuild is None else [rebuild]

    def work(self) -> None:
        """Does the next small part of whatever there is to do."""
        if self._is_list_due:
            self.refresh()
        row = self._next_lagging()
        if row is not None:
            self.step(row)
        made = self._rebuilding.work()
        if made is not None:
            self._adopt(*made)
        self._rebuilding.start_if_due(self._open, self._directory)

    @property
    def _is_list_due(self) -> bool:
        """Whether the list of the corpora could not be read, and is to be tried again now."""
        return _LIST in self._unreadable and not _waits(self._unreadable, _LIST)

    def _next_lagging(self) -> int | None:
        """A corpus for which `step` has something to do."""
        return next(filter(self.is_due, self._lagging), None)

    def step(self, row: int) -> None:
        """Applies the next part of what a corpus's shard lacks."""
        try:
            with translated_errors(), reading(self._truth):  # within a search, `reading` leaves the errors to that
                applied = self._apply_to(row)
        except StoreError as error:
            self._put_off(row, error)
            return
        self._unreadable.pop(row, None)
        if applied is None:
            return
        shard, complete = applied
        if complete:
            self._lagging.pop(row, None)
        if shard.unflushed:
            self._put_off_flush()
        elif complete:
            self._failures.pop(row, None)
        if shard.unflushed >= FLUSH_AFTER_PASSAGES:
            self._flush(row, shard)

    def _apply_to(self, row: int) -> tuple[Shard, bool] | None:
        """Applies the next part; returns the shard, and whether that was all. None where there is none to apply to."""
        corpus = get_corpus(self._truth, row)
        if corpus is None:
            self._forget(row)
            return None
        if corpus.passages == 0 and row not in self._open:  # nothing to find; a shard left on the disk can wait
            self._lagging.pop(row)
            return None
        try:
            shard = self._opened(corpus)
            return shard, self._apply(shard, corpus)
        except (ShardBroken, OSError) as error:
            self.broken(row, error)
            return None

    def _apply(self, shard: Shard, corpus: CorpusState) -> bool:
        """Applies the next part; returns whether that was all."""
        complete = apply_next(self._truth, shard, corpus)
        if complete and not shard.verified:
            verify(self._truth, shard, corpus)
        return complete

    def _adopt(self, row: int, made: Shard) -> None:
        """Puts a new shard, caught up, into the place of the one in use."""
        try:
            made.take_place()
        except (ShardBroken, OSError) as error:
            self._rebuilding.failed(error)
            self.broken(row, error)  # which of the two the disk has is not known
            return
        self._close(row, seal=False)
        self._open[row] = made
        self._note_flushed(row, made.progress.removed)

    def _note_flushed(self, row: int, removed: int) -> None:
        """Notes that what was removed up to a version is not needed again, but by a shard that is being made."""
        needed = self._rebuilding.needed_since(row)
        self.flushed.append((row, removed if needed is None else min(removed, needed)))

    def _put_off_flush(self) -> None:
        now = time.monotonic()
        if self._flush_at is None:
            self._flush_by = now + LONGEST_UNFLUSHED
        self._flush_at = min(now + self._flush_seconds, self._flush_by)

    def flush_when_due(self, *, now: bool = False) -> None:
        """Flushes what waits for it, if it has waited long enough or at once."""
        if self._flush_at is None or not (now or time.monotonic() >= self._flush_at):
            return
        self._flush_at = None
        for row, shard in list(self._open.items()):
            if shard.unflushed:
                self._flush(row, shard)

    def seconds_until_due(self) -> float | None:
        """How long `flush_when_due`, `work` or a paused corpus may still wait; None if nothing does."""
        now = time.monotonic()
        waiting = [*self._failures.items(), *self._unreadable.items()]
        due = [at - now for row, (_, at) in waiting if row in self._lagging or row == _LIST]
        if self._flush_at is not None:
            due.append(self._flush_at - now)
        anew = self._rebuilding.seconds_until_due(self._open)
        if anew is not None:
            due.append(anew)
        return max(0.0, min(due)) if due else None

    def close(self) -> None:
        """Flushes and closes every shard."""
        self._rebuilding.cancel()
        self.flush_when_due(now=True)
        while self._open:
            self._close(next(iter(self._open)), seal=True)

    def broken(self, row: int, error: ShardBroken | OSError) -> None:
        """Throws a shard away, to be made anew from the truth; at once the first time, then with longer pauses."""
        pause = _note_failure(self._failures, row)
        log.warning("the index of corpus %d is made anew in %.0f s: %s", row, pause, error)
        self._rebuilding.cancel(row)
        self._close(row, seal=False)
        discard(self._path(row))
        self._lagging[row] = 0

    def _put_off(self, row: int, error: StoreError) -> None:
        """Lets a corpus wait whose truth cannot be read; its shard, which is not to blame, finds what it has."""
        pause = _note_failure(self._unreadable, row)
        log.error(
            "%s cannot be read for the index, next attempt in %.0f s; see `headwater doctor --deep`: %s",
            "the list of the corpora" if row == _LIST else f"corpus {row}",
            pause,
            error,
        )

    def _paused(self, row: int) -> bool:
        return _waits(self._failures, row)

    def _path(self, row: int) -> Path:
        return self._directory / str(row)

    def _opened(self, corpus: CorpusState) -> Shard:
        shard = self._open.get(corpus.row)
        if shard is not None:
            self._open.move_to_end(corpus.row)
            return shard
        self._make_room()
        path = self._path(corpus.row)
        progress = read_progress(path, dimension=corpus.dimension)
        if progress is None:
            shard = Shard.create(path, dimension=corpus.dimension, version=corpus.version)
        else:
            shard = Shard.load(path, dimension=corpus.dimension)
        self._open[corpus.row] = shard
        return shard

    def _make_room(self) -> None:
        """Closes the shards that were used least lately, so that one more may be opened."""
        # Not one that is being made anew: to open it again removes what is beside it, which is the new one.
        idle = [row for row in self._open if self._rebuilding.needed_since(row) is None]
        for row in idle[: max(0, len(self._open) - MOST_OPEN + 1)]:
            if self._open[row].unflushed:
                self._flush(row, self._open[row])
            self._close(row, seal=True)

    def _flush(self, row: int, shard: Shard) -> None:
        try:
            shard.flush()
        except (ShardBroken, OSError) as error:
            self.broken(row, error)
        else:
            self._note_flushed(row, shard.progress.removed)
            self._failures.pop(row, None)  # not before: on a full disk all goes well until it is flushed

    def _close(self, row: int, *, seal: bool) -> None:
        shard = self._open.pop(row, None)
        if shard is None:
            return
        try:
            shard.close(seal=seal)
        except (ShardBroken, OSError) as error:
            log.warning("the index of corpus %d did not close: %s", row, error)

    def _forget(self, row: int) -> None:
        self._rebuilding.cancel(row)
        self._close(row, seal=False)
        self._lagging.pop(row, None)
        self._failures.pop(row, None)
        self._unreadable.pop(row, None)
        discard(self._path(row))


def _note_failure(failures: dict[int, tuple[int, float]], row: int) -> float:
    """Notes that a corpus failed once more; returns for how long it waits: not the first time, then ever longer."""
    times = failures.get(row, (0, 0.0))[0] + 1
    pause = 0.0 if times == 1 else min(2.0 ** (times - 2), _LONGEST_PAUSE)
    failures[row] = (times, time.monotonic() + pause)
    return pause


def _waits(failures: dict[int, tuple[int, float]], row: int) -> bool:
    return row in failures and time.monotonic() < failures[row][1]
