"""Makes the shard of one corpus anew, compressed: `python -m …index.rebuild DATABASE DIRECTORY DATA CORPUS …`.

A process of its own, because it takes long, and of low priority. It reads the truth, not the shard in use, which
goes on being searched and written to; so nothing that is wrong there comes along, and what was removed there leaves.
On its standard output it says at the end, as JSON, how far it came; the index process catches up what was written
since, and puts the new shard into the place of the old. If either dies before that, the old one stays.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sqlite3
import sys
from dataclasses import asdict
from pathlib import Path

from headwater_server.parent import end_with
from headwater_server.retrieval.store.index.applying import apply_next, verify
from headwater_server.retrieval.store.index.shard import COMPRESSED_FROM, Progress, Shard
from headwater_server.retrieval.store.truth.connection import open_reader, reading
from headwater_server.retrieval.store.truth.reader import get_corpus, last_passage

_NICENESS = 10  # of 19: low, but not so low that a busy machine never comes to it


def make_anew(
    truth: sqlite3.Connection, directory: Path, *, data: str, corpus_row: int, since: int, graph_from: int
) -> Progress | None:
    """Makes a shard in the folder `data` of a directory; returns how far it came, None if the corpus was deleted.

    Args:
        truth: A connection that reads.
        directory: The corpus's own.
        data: The folder in it, which is not there yet.
        corpus_row: The corpus.
        since: A version from which on the truth still knows what was removed.
        graph_from: From how many passages on it has a graph.
    """
    with reading(truth):
        corpus = get_corpus(truth, corpus_row)
    if corpus is None:
        return None
    shard = Shard.create_beside(directory, data=data, dimension=corpus.dimension, version=since, graph_from=graph_from)
    passages = _catch_up(truth, shard, corpus_row)
    if passages is None:
        return None
    shard.compress(passages, worthwhile=passages >= min(COMPRESSED_FROM, graph_from))
    if _catch_up(truth, shard, corpus_row) is None:
        return None
    shard.flush_files()
    progress = shard.progress
    shard.close(seal=False)
    return progress


def _catch_up(truth: sqlite3.Connection, shard: Shard, corpus_row: int) -> int | None:
    """Applies what the truth has by now, and compares; returns how many passages there are, None for no corpus.

    In many short transactions: one long one would keep the write-ahead log from being taken in. What is written
    meanwhile can wait: an import may be faster than this.
    """
    with reading(truth):
        last = last_passage(truth, corpus_row)
    while True:
        if select.select([0], [], [], 0)[0]:  # it is never written to: it has ended, and so has our parent
            sys.exit(1)
        with reading(truth):
            corpus = get_corpus(truth, corpus_row)
            if corpus is None:
                return None
            if apply_next(truth, shard, corpus) or shard.progress.passage >= last:
                return verify(truth, shard, corpus)


def main() -> None:
    """Runs the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("data")
    parser.add_argument("corpus", type=int)
    parser.add_argument("parent", type=int)
    parser.add_argument("--since", type=int, required=True)
    parser.add_argument("--graph-from", type=int, required=True)
    arguments = parser.parse_args()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(arguments.parent)
    os.nice(_NICENESS)
    sink = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not print into the answer

    progress = make_anew(
        open_reader(arguments.database),
        arguments.directory,
        data=arguments.data,
        corpus_row=arguments.corpus,
        since=arguments.since,
        graph_from=arguments.graph_from,
    )
    os.write(sink, json.dumps(None if progress is None else asdict(progress)).encode())


if __name__ == "__main__":
    main()
