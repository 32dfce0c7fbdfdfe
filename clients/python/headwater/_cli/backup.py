"""`headwater backup`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from headwater._cli.failures import CommandFailed
from headwater._cli.serve import load_settings
from headwater._cli.server_extra import server_module
from headwater._cli.terminal import errors, line, moves, note, plural, size

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def backup(
    *,
    target: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder to make. It must not exist.", show_default=False)
    ],
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The data folder to copy.  [default: as `headwater serve`]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(envvar="HEADWATER_CONFIG", metavar="FILE", help="The server's settings, TOML.")
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="An earlier backup, to share with it what has not changed."),
    ] = None,
) -> None:
    """Copy a data folder, also while a server works on it.

    Every document that was acknowledged before this began is in the copy, and every chat, unless those are kept in
    PostgreSQL. Answers that belong to no chat are left out: they are forgotten soon anyway.

    To restore, start a server on it: `headwater serve --data-dir FOLDER`. A backup that was interrupted goes on when
    it is run again.
    """
    flags = {} if data_dir is None else {"data_dir": data_dir}
    folder = Path(load_settings(config=config, flags=flags).data_dir)
    module = server_module("retrieval.maintenance.backup")
    chats = server_module("runtime.chats")
    partial = target.with_name(f"{target.name}.partial")
    try:
        with _shown() as progress:
            others = [f"{chats.FOLDER}/{chats.SQLITE_NAME}"]
            report = module.back_up(folder, target, previous=previous, others=others, progress=progress)
    except module.MaintenanceError as error:
        raise CommandFailed(str(error)) from error
    except sqlite3.Error as error:
        raise CommandFailed(
            f"a database in {folder} cannot be read ({error}): `headwater doctor --deep` says more"
        ) from error
    except KeyboardInterrupt:
        note(f"what was copied is in {partial}; the same command again goes on from there")
        raise
    copied = f"{size(report.copied_bytes)} of contents copied"
    line(f"{plural(report.documents, 'document')} of {folder} in {target}, {copied}")
    for name in report.damaged:
        line(f"damaged in the data folder, and so in the copy: {name}")
    if report.damaged:
        raise typer.Exit(1)


@contextmanager
def _shown() -> Iterator[Callable[[Any], None]]:
    """Bars on a terminal, nothing elsewhere."""
    if not moves():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors(), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(progress: Any) -> None:
            if progress.what not in tasks:
                tasks[progress.what] = bars.add_task(progress.what, total=progress.total)
            bars.update(tasks[progress.what], completed=progress.done, total=progress.total)

        yield show
