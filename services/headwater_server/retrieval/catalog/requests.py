"""The table of request ids."""

from __future__ import annotations

import sqlite3

from headwater_server.retrieval.catalog.errors import RequestIdReused
from headwater_server.retrieval.catalog.records import RequestMark
from headwater_server.retrieval.catalog.rows import now

_KEPT_MICROSECONDS = 3600 * 1_000_000


def find(connection: sqlite3.Connection, tenant: str, request_id: str) -> RequestMark | None:
    """What a request id stands for, if it was recorded in the last hour."""
    row = connection.execute(
        "SELECT * FROM request_ids WHERE tenant = ? AND request_id = ? AND create_time > ?",
        [tenant, request_id, now() - _KEPT_MICROSECONDS],
    ).fetchone()
    return RequestMark(row["request_id"], row["fingerprint"], row["resource"]) if row else None


def find_same(connection: sqlite3.Connection, tenant: str, mark: RequestMark | None) -> RequestMark | None:
    """What was recorded for the same request.

    Raises:
        RequestIdReused: The id was recorded for another request.
    """
    recorded = find(connection, tenant, mark.request_id) if mark else None
    if recorded and mark and recorded.fingerprint != mark.fingerprint:
        raise RequestIdReused(f"the request_id {mark.request_id} belongs to another request")
    return recorded


def record(connection: sqlite3.Connection, tenant: str, mark: RequestMark | None) -> None:
    """Records a request id, and forgets those that have been kept long enough. Within a transaction."""
    if mark is None:
        return
    connection.execute("DELETE FROM request_ids WHERE create_time <= ?", [now() - _KEPT_MICROSECONDS])
    connection.execute(
        "INSERT INTO request_ids VALUES (?, ?, ?, ?, ?)",
        [tenant, mark.request_id, mark.fingerprint, mark.resource, now()],
    )
