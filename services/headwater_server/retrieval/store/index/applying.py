"""Applying the truth to a shard, part by part. Every function reads inside a transaction that its caller has begun."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from itertools import chain

from headwater_server.retrieval.store.index.shard import Shard, ShardBroken
from headwater_server.retrieval.store.truth.reader import CorpusState, passage_rows, passages_after, removed_since

BATCH = 64
"""How many passages a step adds; a query waits no longer than for one step, which is some milliseconds."""


def apply_next(truth: sqlite3.Connection, shard: Shard, corpus: CorpusState) -> bool:
    """Applies what was removed and the next passages; returns whether that was all."""
    before = shard.progress
    gone = removed_since(truth, corpus.row, before.removed)
    rows = list(chain.from_iterable(range(first, min(last, before.passage) + 1) for first, last in gone))
    batch = passages_after(truth, corpus.row, before.passage, limit=BATCH)
    if rows:
        shard.remove(rows)
    if batch:
        shard.add(batch)
    complete = len(batch) < BATCH
    shard.progress = replace(
        before,
        passage=batch[-1].row if batch else before.passage,
        removed=corpus.version,
        applied=corpus.version if complete else before.applied,
        dead=before.dead + len(rows),
        fresh=before.fresh + len(batch),
    )
    if shard.progress != before:
        shard.unflushed = max(shard.unflushed, 1)
    return complete


def verify(truth: sqlite3.Connection, shard: Shard, corpus: CorpusState) -> int:
    """Compares a shard with the truth, so far as it has just come: files can lose entries without a word.

    Returns:
        How many passages it has.

    Raises:
        ShardBroken: They differ.
    """
    rows = shard.rows()
    expected = {row for row in passage_rows(truth, corpus.row) if row <= shard.progress.passage}
    if rows != expected:
        raise ShardBroken(f"it lacks {len(expected - rows)} passages and has {len(rows - expected)} that are not")
    shard.verified = True
    return len(rows)
