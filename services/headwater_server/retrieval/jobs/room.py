"""Whether there is room on the disk for more documents.

A disk that is full to the last byte stops more than imports: an index that cannot flush is made anew again and again,
and the log ends. So imports stop a little earlier, and what there is stays in order.
"""

from __future__ import annotations

import shutil
from pathlib import Path

_MOST_RESERVED = 64 * 1024 * 1024
_RESERVED_PART = 16


def has_room(beside: Path, *, size_bytes: int = 0) -> bool:
    """Whether so much can be written and the reserve is left: 64 MiB, or a sixteenth of a small disk. Blocks shortly.

    Args:
        beside: Where; the file or its folders need not be there.
        size_bytes: How much.
    """
    existing = next(path for path in (beside, *beside.parents) if path.exists())
    disk = shutil.disk_usage(existing)
    return disk.free - size_bytes >= min(_MOST_RESERVED, disk.total // _RESERVED_PART)
