"""Waiting for a corpus's vectors to be made anew."""

from __future__ import annotations

import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headwater._cli.failures import CommandFailed
from headwater._cli.terminal import errors, moves, note, safe
from headwater._client import Client
from headwater.v1 import document_pb2

_SECONDS = 0.5
_LINE_SECONDS = 10.0
"""Where nothing can be drawn, how far it is is said this often."""


def wait_until_done(client: Client, corpus: document_pb2.Corpus) -> document_pb2.Corpus:
    """Waits until a corpus has its new vectors, and shows how far they are; returns it as it is then.

    Raises:
        CommandFailed: Someone else had it made anew with another embedder meanwhile.
    """
    wanted = corpus.reembedding.embedder
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("documents"))
    said = time.monotonic()
    with Progress(*columns, console=errors(), transient=True, disable=not moves()) as progress:
        task = progress.add_task(safe(f"embedding with {wanted}"), total=None)
        while corpus.HasField("reembedding"):
            now = corpus.reembedding
            if now.embedder != wanted:
                raise CommandFailed(f"{corpus.name} is being embedded with {now.embedder} now: someone else began that")
            progress.update(task, completed=now.done_documents, total=now.document_count)
            if not moves() and time.monotonic() - said >= _LINE_SECONDS:
                said = time.monotonic()
                note(f"{now.done_documents:,} of {now.document_count:,} documents embedded")
            time.sleep(_SECONDS)
            corpus = client.corpora.get(corpus.name)
    return corpus
