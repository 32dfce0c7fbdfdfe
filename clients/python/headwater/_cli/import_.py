"""`headwater import`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from headwater._cli.connecting import Connection, connecting
from headwater._cli.failures import INTERRUPTED, CommandFailed
from headwater._cli.import_display import import_display, summary_pace
from headwater._cli.import_summary import Outcome, Reason, Result, Summary
from headwater._cli.importing import GOES_ON, import_all
from headwater._cli.jobs import find_jobs
from headwater._cli.known_documents import known_documents
from headwater._cli.left_out import LeftOut
from headwater._cli.metadata import parse_metadata
from headwater._cli.sources import place
from headwater._cli.terminal import errors, line, note, plural, safe, waiting
from headwater._client import Client
from headwater._exceptions import NotFound
from headwater._values import MetadataInput
from headwater.v1 import document_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)

DEFAULT_CORPUS = "default"
_FEW_FAILURES = 10


@app.command()
@connecting
def import_(
    connection: Connection,
    *,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, folders and ZIP archives.", show_default=False)
    ],
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
    as_json: Annotated[bool, typer.Option("--json", help="Write one line of JSON for each file that is done.")] = False,
) -> None:
    """Import files, folders and ZIP archives into a corpus.

    What was imported before and has not changed costs nothing, so an import that was interrupted goes on when it is
    run again. In folders and archives, what is hidden, empty, software, a lock file, minified or of a kind that cannot
    be read is skipped. Symbolic links in a folder are followed within the PATHs only. Archives are not unpacked to the
    disk, and those within archives are not entered; others than ZIP, such as .tar.gz, are to be unpacked first.
    """
    values = parse_metadata(metadata or ())
    plan = _look_for(paths)
    run = _Run(corpus=corpus.removeprefix("corpora/"), paths=paths, total=plan.total, as_json=as_json)
    with connection.open() as client:
        try:
            run.do(client, values)
        except KeyboardInterrupt:
            done = f"stopped after {run.summary.done:,} of {plural(plan.total, 'file')}"
            raise CommandFailed(f"{done}; {GOES_ON}", code=INTERRUPTED) from None
    run.report(plan.left_out)
    if run.summary.counts["failed"] or plan.left_out.unreadable:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What there is to import: its number only, because there may be any."""

    total: int
    left_out: LeftOut


def _look_for(paths: Sequence[Path]) -> _Plan:
    """Counts what there is to import, and says what cannot be looked into.

    Raises:
        CommandFailed: There is nothing.
    """
    left_out = LeftOut()
    with waiting("looking for files …"):
        total = sum(1 for _ in find_jobs(paths, left_out))
    for folder, reason in left_out.unreadable:
        note(f"{folder}: {reason}")
    if not total:
        skipped = f"; {said}" if (said := left_out.line()) else ""
        raise CommandFailed(f"there is nothing to import in {', '.join(map(str, paths))}{skipped}")
    return _Plan(total, left_out)


@dataclass(slots=True)
class _Run:
    """One import, and how far it has come."""

    corpus: str
    paths: Sequence[Path]
    total: int
    as_json: bool
    summary: Summary = field(default_factory=Summary)
    seconds: float = 0.0

    def do(self, client: Client, metadata: dict[str, MetadataInput]) -> None:
        """Imports what there is, from the files' paths again."""
        began = time.monotonic()
        corpus = self._corpus(client)
        with waiting("asking what is there already …"):
            known = known_documents(
                client, self.corpus, documents=corpus.document_count, files=self.total, metadata=metadata
            )
        with import_display(self.total, as_json=self.as_json, corpus=self.corpus) as display:
            import_all(
                client,
                find_jobs(self.paths, LeftOut()),
                corpus=self.corpus,
                display=display,
                metadata=metadata,
                known=known,
                summary=self.summary,
            )
        self.seconds = time.monotonic() - began

    def report(self, left_out: LeftOut) -> None:
        """Says what became of everything. Failures have been said one by one where there are objects for programs."""
        summary = self.summary
        outcomes: tuple[Outcome, ...] = ("unchanged", "updated", "failed")
        counts = [f"{count:,} {name}" for name in outcomes if (count := summary.counts[name])]
        imported = f"{plural(summary.counts['imported'], 'file')} imported"
        where = f"corpus {self.corpus}, {plural(summary.passages, 'passage')}"
        end = f"{', '.join([imported, *counts])} · {where}"
        if self.as_json:
            errors().print(Text(safe(end)))
        else:
            line(end)
            _report_failures(summary)
        if self.total > 1:
            note(summary_pace(summary, self.seconds))
        if skipped := left_out.line(summary.skipped):
            note(skipped)

    def _corpus(self, client: Client) -> document_pb2.Corpus:
        try:
            return client.corpora.get(self.corpus)
        except NotFound:
            return client.corpora.create(self.corpus, exist_ok=True)


def _report_failures(summary: Summary) -> None:
    if summary.counts["failed"] <= _FEW_FAILURES:
        for result in sorted(summary.failures, key=lambda result: result.job.uri):
            line(Text.assemble(("failed ", "red"), f"{_place(result)}: {safe(result.reason)}"))
        return
    for reason in sorted(summary.reasons.values(), key=lambda reason: -reason.count):
        _report_reason(reason)


def _report_reason(reason: Reason) -> None:
    if reason.count == 1:
        line(Text.assemble(("failed ", "red"), f"{_place(reason.examples[0])}: {safe(reason.text)}"))
        return
    line(Text.assemble((f"failed {reason.count:,}: ", "red"), safe(reason.text)))
    for result in reason.examples:
        line(f"  {_place(result)}")
    if reason.count > len(reason.examples):
        line(f"  … and {reason.count - len(reason.examples):,} more")


def _place(result: Result) -> str:
    return safe(place(result.job.uri))
