"""Both databases of a retrieval service as they are at one moment, while the service may be at work on them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from headwater_server.retrieval.catalog.records import ContentKey
from headwater_server.retrieval.maintenance.layout import Layout, MaintenanceError

UNREADABLE = (sqlite3.Error, UnicodeError)
"""What SQLite's module raises on a damaged database; the second where its own message about it is no UTF-8."""

_TRIES = 500
_PAUSE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Connections that read, each within a transaction that shows the same moment."""

    catalog: sqlite3.Connection
    store: sqlite3.Connection

    def referenced(self) -> set[ContentKey]:
        """Every content that a document of the catalog refers to."""
        rows = self.catalog.execute("SELECT DISTINCT tenant, sha256 FROM documents")
        return {ContentKey(tenant, sha256) for tenant, sha256 in rows}


@contextmanager
def snapshot(layout: Layout) -> Iterator[Snapshot]:
    """Shows catalog and store as a loss of power at one moment would have left them, which an opening puts in order.

    A transaction that reads shows the moment of its first read. The store's begins after the catalog's; if nothing was
    committed to the catalog until then, both show the moment in which the later one began.

    Raises:
        MaintenanceError: There is no such service, or it writes without a pause.
        sqlite3.Error: A database cannot be read.
    """
    for path in (layout.catalog, layout.truth):
        if not path.exists():
            raise MaintenanceError(f"{path} does not exist: is {layout.root.parent} a data folder?")
    with ExitStack() as stack:
        probe, catalog, store = (
            stack.enter_context(closing(open_to_read(path))) for path in (layout.catalog, layout.catalog, layout.truth)
        )
        for _ in range(_TRIES):
            before = _version(probe)
            _begin(catalog)
            _begin(store)
            if _version(probe) == before:
                break
            catalog.execute("ROLLBACK")
            store.execute("ROLLBACK")
            time.sleep(_PAUSE_SECONDS)
        else:
            raise MaintenanceError("the server writes without a pause: try again when it has less to do")
        yield Snapshot(catalog, store)


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing. A text that is no UTF-8, as a damaged disk may make it, has U+FFFD in it."""
    # Reading beside a server takes files beside the database, which a medium that cannot be written does not take.
    frozen = not os.access(path.parent, os.W_OK)
    uri = f"{path.absolute().as_uri()}?{'immutable=1' if frozen else 'mode=ro'}"
    connection = sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text
    return connection


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # it begins with the first read


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version
