"""Whether there is room on the disk for more documents, and their passages.

A disk that is full to the last byte stops more than imports: an index that cannot flush is made anew again and again,
and the log ends. So imports stop a little earlier, and what there is stays in order.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from anyio import to_thread

from headwater_server.retrieval.catalog import Catalog
from headwater_server.retrieval.store.protocol import PassageRecord, StoreFull

_MOST_RESERVED = 64 * 1024 * 1024
_RESERVED_PART = 16
_COPIES = 3
"""A passage is written to the store's log, from there to its database, and to its index."""
_BESIDES = 512
"""What a passage takes on the disk besides its text and its vector, in bytes: ids, keys and checksums, about."""


def has_room(beside: Path, *, size_bytes: int = 0) -> bool:
    """Whether so much can be written and the reserve is left: 64 MiB, or a sixteenth of a small disk. Blocks shortly.

    Args:
        beside: Where; the file or its folders need not be there.
        size_bytes: How much.
    """
    existing = next(path for path in (beside, *beside.parents) if path.exists())
    disk = shutil.disk_usage(existing)
    return disk.free - size_bytes >= min(_MOST_RESERVED, disk.total // _RESERVED_PART)


def size_in_store(passages: Sequence[PassageRecord]) -> int:
    """About how many bytes the disk must have for passages until they are found."""
    return _COPIES * sum(
        _BESIDES + passage.vector.nbytes + len(passage.text.encode()) + len(passage.heading.encode())
        for passage in passages
    )


async def require_room(catalog: Catalog, tenant: str, *, size_bytes: int = 0) -> None:
    """Goes on only where the disk has room for what is to be written, and the reserve is left.

    A document's passages are written at once, a hundred thousand and more: without this, one could fill the disk.

    Args:
        catalog: Says where on the disk.
        tenant: Whose.
        size_bytes: How much is to be written.

    Raises:
        StoreFull: There is too little room.
    """
    place = catalog.tenant_folder(tenant)
    if not await to_thread.run_sync(partial(has_room, place, size_bytes=size_bytes)):
        raise StoreFull("there is too little room on the disk")
