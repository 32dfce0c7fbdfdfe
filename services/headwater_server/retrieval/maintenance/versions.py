"""Which versions the databases of a folder have: looked at before anything is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from headwater_server.retrieval.catalog.schema import MIGRATIONS as CATALOG_MIGRATIONS
from headwater_server.retrieval.maintenance.layout import Layout, MaintenanceError
from headwater_server.retrieval.store.truth.schema import MIGRATIONS as STORE_MIGRATIONS

FORMATS = ((1, 1), (3, 3), (3, 4))
"""What each format of a data folder is, from format 1 on: the versions of the catalog and of the store."""


def check_versions(layout: Layout, *, exactly: bool = False) -> None:
    """Refuses a folder that a newer version of this program has written.

    Both databases are looked at, so that neither is brought up to date where the other cannot be.

    Args:
        layout: The folder; what is not there is of no version.
        exactly: Whether to refuse an older version too.

    Raises:
        MaintenanceError: It is refused; the message says what to do. Nothing was written.
    """
    known = {layout.catalog: len(CATALOG_MIGRATIONS), layout.truth: len(STORE_MIGRATIONS)}
    for path, newest in known.items():
        version = _version(path)
        if version is None:
            continue
        if version > newest:
            raise MaintenanceError(
                f"{path} was written by a newer Headwater (its version is {version}, and this program knows {newest}):"
                " use that one, or restore a backup from before it was used"
            )
        if exactly and version < newest:
            raise MaintenanceError(
                f"{path} was written by an older Headwater: start a server on the folder once, which brings it up to"
                " date, and stop it again"
            )


def _version(path: Path) -> int | None:
    """The version of a database; None where there is none, or it cannot be read."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    except (sqlite3.Error, UnicodeError):
        return None
    return version
