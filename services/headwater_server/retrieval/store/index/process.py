"""The index process: `python -m headwater_server.retrieval.store.index.process DATABASE DIRECTORY PARENT …`.

It holds the interpreter's lock for long moments, which is why it is not a thread of the server. It reads the truth by
itself; on its standard input come searches and the news that the truth has changed, on its standard output go answers.
It ends when its input does, and on Linux also at once when its parent dies.

In come `("search", number, query)` and `("changed",)`. Out go `("result", number, result)`,
`("failed", number, name of the error, message)`, `("applied", version)`, `("flushed", [(corpus row, version)])` and
`("log", level, message)`.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import logging
import os
import select
import shutil
import signal
import time
from collections import deque
from pathlib import Path

from headwater_server.parent import end_with
from headwater_server.retrieval.store.index.catch_up import Shards
from headwater_server.retrieval.store.index.framing import Frames, Message, encode
from headwater_server.retrieval.store.index.rebuilding import Rebuilding
from headwater_server.retrieval.store.index.search import Searcher
from headwater_server.retrieval.store.index.wire import dump_result, load_query
from headwater_server.retrieval.store.protocol import StoreError
from headwater_server.retrieval.store.truth.connection import open_reader

log = logging.getLogger(__name__)

_READ_BYTES = 1 << 18
_COLLECT_AFTER = 50_000
_SLOW_SECONDS = 5.0
"""Searches that wait for so long are worth a line in the log: their parent ends a process that says nothing for 30."""
_ANSWERS_A_STEP = 16
"""After so many searches without a pause there is a step of other work."""


class IndexServer:
    """Serves searches from pipes, and catches the index up between them."""

    def __init__(self, shards: Shards, searcher: Searcher, *, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._shards = shards
        self._searcher = searcher
        self._frames = Frames()
        self._waiting: deque[Message] = deque()
        self._told = -1

    def run(self) -> None:
        """Serves until the source ends."""
        self._shards.start()
        gc.freeze()  # what is there by now stays; and a search leaves no cycles worth looking for so often
        gc.set_threshold(_COLLECT_AFTER)
        answered = 0
        while self._receive():
            began = time.monotonic()
            if self._waiting:
                self._answer(self._waiting.popleft())
                answered += 1
            if not self._waiting or answered % _ANSWERS_A_STEP == 0:
                self._shards.work()
            caught_up = time.monotonic()
            self._shards.flush_when_due()
            self._report()
            if (ended := time.monotonic()) - began >= _SLOW_SECONDS:
                log.warning(
                    "the index answered nothing for %.0f s, of which it flushed for %.0f s",
                    ended - began,
                    ended - caught_up,
                )
        self._shards.close()

    def _receive(self) -> bool:
        """Takes what has come; waits for it only where there is nothing to do. False once the source has ended."""
        busy = self._waiting or self._shards.has_work
        timeout = 0.0 if busy else self._shards.seconds_until_due()
        ready, _, _ = select.select(
            [self._source, *(each.fileno() for each in self._shards.waits_for)], [], [], timeout
        )
        if self._source in ready:
            data = os.read(self._source, _READ_BYTES)
            if not data:
                return False
            self._waiting.extend(self._frames.feed(data))
        return True

    def _answer(self, message: Message) -> None:
        if message[0] == "changed":
            self._shards.refresh()
            return
        _, number, query = message
        try:
            result = self._searcher.search(load_query(query))
        except (StoreError, ValueError) as error:
            self.send(("failed", number, type(error).__name__, str(error)))
        except Exception as error:  # a defect; the same query would end the next process, and the next
            log.exception("a search failed: %s: %s", type(error).__name__, error)  # noqa: TRY401 (the text alone is sent on)
            self.send(("failed", number, "StoreError", "the search failed; the log says why"))
        else:
            self.send(("result", number, dump_result(result)))

    def _report(self) -> None:
        if self._shards.applied != self._told:
            self._told = self._shards.applied
            self.send(("applied", self._told))
        if self._shards.flushed:
            self.send(("flushed", self._shards.flushed))
            self._shards.flushed = []

    def send(self, message: Message) -> None:
        """Sends a message to the parent."""
        frame = memoryview(encode(message))
        while frame:
            frame = frame[os.write(self._sink, frame) :]


class _ParentLog(logging.Handler):
    """Hands log records to the parent, whose log has one form and one place."""

    def __init__(self, sink: int) -> None:
        super().__init__(logging.INFO)
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        frame = encode(("log", record.levelno, record.getMessage()))
        os.write(self._sink, frame)


def main() -> None:
    """Runs the index process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("parent", type=int)
    parser.add_argument("--flush-seconds", type=float, required=True)
    parser.add_argument("--graph-from", type=int, required=True)
    parser.add_argument("--anew", action="store_true", help="throw the index away and make it anew")
    arguments = parser.parse_args()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    end_with(arguments.parent)
    sink = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not print into the frames
    logging.basicConfig(handlers=[_ParentLog(sink)], level=logging.INFO)

    arguments.directory.mkdir(parents=True, exist_ok=True)
    with (arguments.directory.parent / f"{arguments.directory.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held for a moment yet by the process of a parent that has just been killed
        if arguments.anew:
            shutil.rmtree(arguments.directory)
        truth = open_reader(arguments.database)
        rebuilding = Rebuilding(truth, arguments.database, graph_from=arguments.graph_from)
        shards = Shards(truth, arguments.directory, rebuilding, flush_seconds=arguments.flush_seconds)
        IndexServer(shards, Searcher(truth, shards), source=0, sink=sink).run()


if __name__ == "__main__":
    main()
