"""`headwater corpora`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from headwater._cli.connecting import Connection, connecting
from headwater._cli.failures import USAGE, CommandFailed
from headwater._cli.terminal import note, plural, table, write_json
from headwater._exceptions import FailedPrecondition
from headwater.v1 import document_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The corpus.", show_default=False)]
DisplayName = Annotated[str | None, typer.Option(metavar="TEXT", help="A name for people.")]
Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label of your own; may be repeated.")
]
Embedder = Annotated[
    str | None, typer.Option(metavar="PROVIDER/MODEL", help="What makes its vectors.  [default: as the server has it]")
]
Language = Annotated[
    str | None, typer.Option(metavar="CODE", help="The documents' language, such as en.  [default: detected]")
]
MaxCharacters = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="How long a passage is at most.  [default: as the server has it]")
]
Overlap = Annotated[
    int | None, typer.Option("--overlap", metavar="NUMBER", help="How many characters a passage shares with the next.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write each corpus as one line of JSON.")]


@app.callback()
def corpora() -> None:
    """List, create, get, update, delete, export, import or re-embed corpora."""


@app.command("list")
@connecting
def list_corpora(connection: Connection, *, as_json: AsJson = False) -> None:
    """List the corpora, by name."""
    with connection.open() as client:
        _show(client.corpora.list(), as_json=as_json)


@app.command()
@connecting
def create(
    connection: Connection,
    *,
    name: Name,
    display_name: DisplayName = None,
    label: Labels = None,
    embedder: Embedder = None,
    language: Language = None,
    max_characters: MaxCharacters = None,
    overlap: Overlap = None,
    as_json: AsJson = False,
) -> None:
    """Create a corpus."""
    with connection.open() as client:
        corpus = client.corpora.create(
            _id(name),
            display_name=display_name or "",
            labels=_labels(label),
            embedder=embedder or "",
            language=language or "",
            max_characters=max_characters,
            overlap_characters=overlap,
        )
        _show([corpus], as_json=as_json)


@app.command("show", hidden=True)  # as many call it
@app.command()
@connecting
def get(connection: Connection, *, name: Name, as_json: AsJson = False) -> None:
    """Show a corpus."""
    with connection.open() as client:
        _show([client.corpora.get(name)], as_json=as_json)


@app.command()
@connecting
def update(
    connection: Connection,
    *,
    name: Name,
    display_name: DisplayName = None,
    label: Labels = None,
    language: Language = None,
    max_characters: MaxCharacters = None,
    overlap: Overlap = None,
    as_json: AsJson = False,
) -> None:
    """Change a corpus's display name, its labels, which are replaced as a whole, its language, or how it is split.

    Another language or length holds for documents that are imported afterwards, and for all after `reembed`.
    """
    with connection.open() as client:
        corpus = client.corpora.update(
            name,
            display_name=display_name,
            labels=_labels(label) if label else None,
            language=language,
            max_characters=max_characters,
            overlap_characters=overlap,
        )
        _show([corpus], as_json=as_json)


@app.command()
@connecting
def reembed(
    connection: Connection,
    *,
    name: Name,
    embedder: Annotated[
        str | None, typer.Option(metavar="PROVIDER/MODEL", help="Another embedder.  [default: the one that it has]")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done, and show how far it is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read, split and embed all documents of a corpus anew, while it goes on being searched as it was.

    The server does it in the background, and goes on after a restart. Run again, this goes on too.
    """
    from headwater._cli.reembedding import wait_until_done  # noqa: PLC0415  # the other commands need none of it

    with connection.open() as client:
        corpus = client.corpora.reembed(name, embedder=embedder or "")
        if wait:
            corpus = wait_until_done(client, corpus)
        _show([corpus], as_json=as_json)
        if corpus.HasField("reembedding"):
            note(f"`headwater corpora get {_id(name)}` says how far it is; with --wait this waits for its end")


@app.command()
@connecting
def delete(
    connection: Connection,
    *,
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Delete its documents with it.")] = False,
) -> None:
    """Delete a corpus."""
    with connection.open() as client:
        try:
            client.corpora.delete(name, force=force)
        except FailedPrecondition as error:
            raise CommandFailed(f"{error.message}: --force deletes its documents with it") from error
    note(f"{_id(name)} is deleted")


@app.command("export")
@connecting
def export_(
    connection: Connection,
    *,
    name: Name,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; - is standard output.  [default: NAME.tar]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a corpus with its documents to an archive, which any server can import."""
    from headwater._cli.corpus_export import export_corpus  # noqa: PLC0415  # the other commands need none of it

    with connection.open() as client:
        export_corpus(client, name, output=output, force=force)


@app.command("import")
@connecting
def import_(
    connection: Connection,
    *,
    archive: Annotated[
        str, typer.Argument(metavar="FILE", help="The archive; - is standard input.", show_default=False)
    ],
    corpus: Annotated[
        str | None, typer.Option("--corpus", "-c", metavar="NAME", help="The corpus.  [default: as in the archive]")
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Another embedder than the archive's; empty for the server's own."),
    ] = None,
) -> None:
    """Bring the documents of an archive into a corpus, which is created if need be.

    What the corpus has already is not sent again, so an import that was interrupted goes on when it is run again.
    """
    from headwater._cli.corpus_import import import_corpus  # noqa: PLC0415  # the other commands need none of it

    with connection.open() as client:
        if import_corpus(client, archive, corpus=corpus, embedder=embedder):
            raise typer.Exit(1)


def _show(found: Iterable[document_pb2.Corpus], *, as_json: bool) -> None:
    if as_json:
        for corpus in found:
            write_json(corpus)
        return
    rows = [
        (
            _id(corpus.name),
            plural(corpus.document_count, "document"),
            plural(corpus.passage_count, "passage"),
            _embedder(corpus),
            _settings(corpus),
            corpus.display_name,
        )
        for corpus in found
    ]
    table(("CORPUS", "DOCUMENTS", "PASSAGES", "EMBEDDER", "SETTINGS", "NAME"), rows)


def _embedder(corpus: document_pb2.Corpus) -> str:
    """The embedder, and how far another is."""
    if not corpus.HasField("reembedding"):
        return corpus.embedder
    progress = corpus.reembedding
    return f"{corpus.embedder} → {progress.embedder} ({progress.done_documents:,} of {progress.document_count:,})"


def _settings(corpus: document_pb2.Corpus) -> str:
    """What differs from the server's settings."""
    splitting = corpus.splitting
    parts = [corpus.language]
    if splitting.max_characters:
        parts.append(f"{splitting.max_characters:,} characters")
    if splitting.HasField("overlap_characters"):
        parts.append(f"overlap {splitting.overlap_characters:,}")
    return ", ".join(filter(None, parts))


def _id(name: str) -> str:
    return name.removeprefix("corpora/")


def _labels(pairs: list[str] | None) -> dict[str, str]:
    labels = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CommandFailed(f"a label is key=value: {pair!r}", code=USAGE)
        labels[key] = value
    return labels
