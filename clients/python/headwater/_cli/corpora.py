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
AsJson = Annotated[bool, typer.Option("--json", help="Write each corpus as one line of JSON.")]


@app.callback()
def corpora() -> None:
    """List, create, get, update or delete corpora."""


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
    as_json: AsJson = False,
) -> None:
    """Create a corpus."""
    with connection.open() as client:
        corpus = client.corpora.create(_id(name), display_name=display_name or "", labels=_labels(label))
        _show([corpus], as_json=as_json)


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
    as_json: AsJson = False,
) -> None:
    """Change a corpus's display name or its labels, which are replaced as a whole."""
    with connection.open() as client:
        corpus = client.corpora.update(name, display_name=display_name, labels=_labels(label) if label else None)
        _show([corpus], as_json=as_json)


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
            corpus.display_name,
        )
        for corpus in found
    ]
    table(("CORPUS", "DOCUMENTS", "PASSAGES", "NAME"), rows)


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
