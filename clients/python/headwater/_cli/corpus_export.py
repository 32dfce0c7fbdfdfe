"""`headwater corpora export`."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headwater._cli.corpus_archive import ArchiveWriter
from headwater._cli.failures import CommandFailed
from headwater._cli.terminal import errors, moves, note, plural, size
from headwater._client import Client
from headwater._collecting import DownloadCheck
from headwater._exceptions import NotFound
from headwater._files import replaced_file
from headwater.v1 import document_pb2

STANDARD = "-"
"""In the place of a file: standard output, or input."""


def export_corpus(client: Client, name: str, *, output: str | None, force: bool) -> None:
    """Writes a corpus to an archive; there is none until all of it is written.

    Args:
        client: The server.
        name: The corpus.
        output: The file, or `-`. None: the corpus's id with `.tar`.
        force: Whether to replace a file.

    Raises:
        CommandFailed: The file is there already.
        CallError: The server did not give it.
    """
    corpus = client.corpora.get(name)
    path = Path(output or f"{name.removeprefix('corpora/')}.tar")
    if output == STANDARD:
        if sys.stdout.isatty():
            raise CommandFailed("an archive is nothing for a terminal: redirect standard output, or name a file")
        documents = _write(client, corpus, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        note(f"{plural(documents, 'document')} exported")
        return
    if path.exists() and not force:
        raise CommandFailed(f"{path} exists: --force replaces it, --output names another")
    with replaced_file(path) as file:
        documents = _write(client, corpus, file)
    note(f"{plural(documents, 'document')} exported to {path}, {size(path.stat().st_size)}")


def _write(client: Client, corpus: document_pb2.Corpus, file: BinaryIO) -> int:
    writer = ArchiveWriter(file, corpus)
    written = 0
    with _shown(corpus.document_count) as advance:
        for listed in client.documents.list(corpus.name, page_size=1000):
            try:
                _add(client, listed.name, writer)
            except NotFound:
                note(f"{listed.name} was deleted meanwhile, and is not in the archive")
                continue
            written += 1
            advance()
    writer.finish()
    return written


def _add(client: Client, name: str, writer: ArchiveWriter) -> None:
    """Adds a document as the download gives it: its fields and its bytes are of one moment."""
    check = DownloadCheck()
    with contextlib.closing(client.documents._blocks(check, name, timeout=None)) as blocks:
        first = next(blocks)
        if check.document is None:
            raise AssertionError("a download begins with its document")
        writer.add(check.document, itertools.chain([first], blocks))
    check.finish()


@contextlib.contextmanager
def _shown(total: int) -> Iterator[Callable[[], object]]:
    """A bar on a terminal, nothing elsewhere; gives what is to be called after each document."""
    if not moves():
        yield lambda: None
        return
    columns = (TextColumn("documents"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors(), transient=True) as bars:
        task = bars.add_task("documents", total=total)
        yield lambda: bars.advance(task)
