"""`headwater doctor --deep`: everything in a data folder is read and compared with what was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from headwater._cli.failures import CommandFailed
from headwater._cli.serve import load_settings
from headwater._cli.server_extra import server_module
from headwater._cli.terminal import line, note, plural, waiting, write_object

_ADVICE = {
    "catalog": "stop the server, and run `headwater doctor --deep --repair`",
    "store": "stop the server, and run `headwater doctor --deep --repair`: it is read again from the document's bytes",
    "contents": "import it again; `headwater doctor --deep --repair` makes it FAILED until then",
    "index": "`headwater doctor --deep --repair` lets it be made anew",
}


def deep_check(*, config: Path | None, data_dir: Path | None, repair: bool, as_json: bool) -> None:
    """Examines a data folder, and repairs it if asked to.

    Args:
        config: The server's settings.
        data_dir: The folder. None: that of the settings.
        repair: Whether to put right what is found; no server may use the folder then.
        as_json: Whether to write each finding as one line of JSON.

    Raises:
        CommandFailed: It cannot be examined, or not be repaired.
        typer.Exit: Something was found that is not repaired.
    """
    flags = {} if data_dir is None else {"data_dir": data_dir}
    folder = Path(load_settings(config=config, flags=flags).data_dir)
    module = server_module("retrieval.maintenance.examination")
    layout = server_module("retrieval.maintenance.layout").Layout.of_data_folder(folder)
    if not layout.catalog.exists():
        raise CommandFailed(f"{folder} is not a data folder: --data-dir names another")
    try:
        with _in_hand(folder, needed=repair) as in_use:
            with waiting(f"reading all of {folder} …"):
                damages = list(module.examine(layout, in_use=in_use))
            for damage in damages:
                _show(damage, as_json=as_json)
            if not damages and not as_json:
                line(f"{folder} is as it was written{', the index apart: a server is at work on it' if in_use else ''}")
            if damages and repair:
                _report(server_module("retrieval.maintenance.repair").repair(layout, damages))
            elif damages:
                raise typer.Exit(1)
    except module.MaintenanceError as error:
        raise CommandFailed(str(error)) from error


@contextmanager
def _in_hand(folder: Path, *, needed: bool) -> Iterator[bool]:
    """Owns the folder if nobody else does; gives whether somebody does."""
    module = server_module("runtime.data_dir")
    try:
        owning = module.owned(folder, what="headwater doctor --deep")
        owning.__enter__()
    except module.DataDirInUse as error:
        if needed:
            raise CommandFailed(f"{error}, to repair it") from error
        yield True
        return
    except module.DataDirError as error:
        raise CommandFailed(str(error)) from error
    try:
        yield False
    finally:
        owning.__exit__(None, None, None)


def _show(damage: Any, *, as_json: bool) -> None:
    if as_json:
        detail = {"verdict": "problem", "detail": damage.detail, "advice": _ADVICE[damage.part]}
        write_object({"subject": f"{damage.part}: {damage.what}", **detail})
    else:
        line(f"{damage.part}: {damage.what}: {damage.detail} → {_ADVICE[damage.part]}")


def _report(report: Any) -> None:
    """Says what was done, and exits with 1 where something is lost until it is imported again."""
    for name in report.restored:
        note(f"restored from the store: {name}")
    for name in report.failed:
        note(f"FAILED until it is imported again: {name}")
    for name in report.lost:
        bytes_are = (
            f"; its bytes are in {report.lost_bytes[name]}: import them again" if name in report.lost_bytes else ""
        )
        note(f"lost: {name}{bytes_are}")
    if report.set_aside is not None:
        note(f"what was taken out of use is in {report.set_aside}; remove it when you are content")
    again = plural(len(report.read_again), "document")
    line(f"repaired; the next server makes the index anew, and reads {again} again")
    if report.failed or report.lost:
        raise typer.Exit(1)
