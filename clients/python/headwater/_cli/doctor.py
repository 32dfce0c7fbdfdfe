"""`headwater doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from headwater._cli.checks import local_findings
from headwater._cli.connecting import Connection, connecting
from headwater._cli.failures import USAGE, CommandFailed
from headwater._cli.findings import Finding, Verdict
from headwater._cli.server_checks import server_findings
from headwater._cli.terminal import line, safe, write_object

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_MARKS: dict[Verdict, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "problem": ("problem", "red"),
}


@app.command()
@connecting
def doctor(
    connection: Connection,
    *,
    config: Annotated[
        Path | None, typer.Option(envvar="HEADWATER_CONFIG", metavar="FILE", help="The server's settings, TOML.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write each finding as one line of JSON.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read all of the data folder instead, and compare it with what was written.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="With --deep: make anew what is damaged, so far as that can be done.")
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --deep: the data folder.  [default: as `headwater serve`]")
    ] = None,
) -> None:
    """Say what is set up, what is missing, and what to do. Keys and tokens are never shown."""
    if deep:
        from headwater._cli.deep_check import deep_check  # noqa: PLC0415  # only this needs it

        deep_check(config=config, data_dir=data_dir, repair=repair, as_json=as_json)
        return
    if repair or data_dir is not None:
        raise CommandFailed("--repair and --data-dir go with --deep", code=USAGE)
    problems = 0
    for finding in _findings(connection, config):
        problems += finding.verdict == "problem"
        if as_json:
            write_object(
                {
                    "subject": finding.subject,
                    "verdict": finding.verdict,
                    "detail": finding.detail,
                    "advice": finding.advice,
                }
            )
        else:
            _show(finding)
    if problems:
        raise typer.Exit(1)


def _findings(connection: Connection, config: Path | None) -> Iterator[Finding]:
    yield from local_findings(config)
    yield from server_findings(connection)


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.verdict]
    text = Text(f"{mark:<8}", style=colour)
    text.append(f"{finding.subject}: ", style="bold")
    text.append(safe(finding.detail), style="default not bold")
    if finding.advice:
        text.append(f" → {safe(finding.advice)}", style=f"{colour} not bold")
    line(text)
