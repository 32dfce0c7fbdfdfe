"""`headwater documents`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from headwater._cli.connecting import Connection, connecting
from headwater._cli.sources import place
from headwater._cli.terminal import note, plural, size, table, write_json
from headwater._collecting import ImportProgress
from headwater.v1 import document_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(
        metavar="DOCUMENT", help="Its name, corpora/…/documents/…, or its id in --corpus.", show_default=False
    ),
]
Corpus = Annotated[str | None, typer.Option("--corpus", "-c", metavar="NAME", help="The corpus.  [default: default]")]
AsJson = Annotated[bool, typer.Option("--json", help="Write each document as one line of JSON.")]

_STATES = {
    document_pb2.DOCUMENT_STATE_PENDING: "pending",
    document_pb2.DOCUMENT_STATE_PROCESSING: "processing",
    document_pb2.DOCUMENT_STATE_READY: "ready",
    document_pb2.DOCUMENT_STATE_FAILED: "failed",
}


@app.callback()
def documents() -> None:
    """List, get, watch, download or delete documents."""


@app.command("list")
@connecting
def list_documents(connection: Connection, *, corpus: Corpus = None, as_json: AsJson = False) -> None:
    """List the documents of a corpus, by name."""
    with connection.open() as client:
        _show(client.documents.list(corpus or "default"), as_json=as_json)


@app.command()
@connecting
def get(connection: Connection, *, name: Name, corpus: Corpus = None, as_json: AsJson = False) -> None:
    """Show a document."""
    with connection.open() as client:
        _show([client.documents.get(name, corpus=_corpus(name, corpus))], as_json=as_json)


@app.command()
@connecting
def watch(connection: Connection, *, name: Name, corpus: Corpus = None, as_json: AsJson = False) -> None:
    """Wait until a document can be found, and say how far it is meanwhile."""

    def progressed(progress: ImportProgress) -> None:
        passages = (
            f", {progress.embedded_passages} of {progress.passage_count} passages" if progress.passage_count else ""
        )
        note(f"{progress.stage}{passages}")

    with connection.open() as client:
        document = client.documents.watch(name, corpus=_corpus(name, corpus), on_progress=progressed)
        _show([document], as_json=as_json)


@app.command()
@connecting
def download(
    connection: Connection,
    *,
    name: Name,
    corpus: Corpus = None,
    to: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to.  [default: standard output]")
    ] = None,
) -> None:
    """Download a document as it was imported."""
    with connection.open() as client:
        if to is None:
            sys.stdout.buffer.write(client.documents.download(name, corpus=_corpus(name, corpus)))
            sys.stdout.buffer.flush()
            return
        document = client.documents.download_to(to, name, corpus=_corpus(name, corpus))
    note(f"{size(document.size_bytes)} written to {to}")


@app.command()
@connecting
def delete(connection: Connection, *, name: Name, corpus: Corpus = None) -> None:
    """Delete a document. It is no longer found from then on."""
    with connection.open() as client:
        client.documents.delete(name, corpus=_corpus(name, corpus))
    note(f"{name} is deleted")


def _corpus(name: str, corpus: str | None) -> str | None:
    """The corpus of a document that is named by its id; a full name says its own."""
    return corpus or (None if "/" in name else "default")


def _show(found: Iterable[document_pb2.Document], *, as_json: bool) -> None:
    if as_json:
        for document in found:
            write_json(document)
        return
    rows = []
    for document in found:
        state = _STATES.get(document.state, "unknown")
        rows.append(
            (
                document.name.rpartition("/")[2],
                f"{state}: {document.error.message}" if document.error.message else state,
                plural(document.passage_count, "passage"),
                size(document.size_bytes),
                document.title or place(document.uri),
            )
        )
    table(("DOCUMENT", "STATE", "PASSAGES", "SIZE", "TITLE"), rows)
