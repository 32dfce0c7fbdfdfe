"""`headwater import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from headwater._cli.connecting import Connection, connecting
from headwater._cli.document_ids import path_id
from headwater._cli.failures import CommandFailed
from headwater._cli.import_display import import_display
from headwater._cli.importing import Job, Summary, import_all
from headwater._cli.metadata import parse_metadata
from headwater._cli.sources import place
from headwater._cli.terminal import line, note, plural, safe
from headwater._cli.walking import find_files
from headwater._exceptions import NotFound

app = typer.Typer(add_completion=False, rich_markup_mode=None)

DEFAULT_CORPUS = "default"


@app.command()
@connecting
def import_(
    connection: Connection,
    *,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.", show_default=False)],
    corpus: Annotated[
        str, typer.Option("--corpus", "-c", metavar="NAME", help="The corpus; it is created if need be.")
    ] = DEFAULT_CORPUS,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata",
            "-m",
            metavar="KEY=VALUE",
            help="A value to filter by, for all files; KEY:=JSON says its type. May be repeated.",
        ),
    ] = None,
) -> None:
    """Import files and folders into a corpus.

    What was imported before and has not changed costs nothing, so an import that was interrupted goes on when it is
    run again. In folders, hidden files and files of other kinds than text, Markdown, HTML, PDF and Word are skipped.
    """
    values = parse_metadata(metadata or ())
    corpus = corpus.removeprefix("corpora/")
    found = find_files(paths)
    for folder, reason in found.unreadable:
        note(f"{folder}: {reason}")
    if not found.files:
        skipped = f"; {found.skipped_line()}" if found.skipped else ""
        raise CommandFailed(f"there is nothing to import in {', '.join(map(str, paths))}{skipped}")
    jobs = [Job(path, path_id(path)) for path in found.files]
    with connection.open() as client:
        try:
            client.corpora.get(corpus)
        except NotFound:
            client.corpora.create(corpus, exist_ok=True)
        with import_display(len(jobs)) as display:
            summary = import_all(client, jobs, corpus=corpus, display=display, metadata=values)
    _report(summary, corpus=corpus, skipped=found.skipped_line())
    if summary.failures or found.unreadable:
        raise typer.Exit(1)


def _report(summary: Summary, *, corpus: str, skipped: str) -> None:
    counts = [f"{count} {name}" for name in ("unchanged", "updated", "failed") if (count := summary.count(name))]
    imported = f"{plural(summary.count('imported'), 'file')} imported"
    where = f"corpus {corpus}, {plural(summary.passages, 'passage')}"
    line(f"{', '.join([imported, *counts])} · {where}")
    if skipped:
        note(skipped)
    for result in summary.failures:
        line(Text.assemble(("failed ", "red"), f"{safe(place(result.job.uri))}: {safe(result.reason)}"))
