"""How a server is divided among its processes: who does what, with how much of each limit, and where they meet."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from headwater_server.runtime.processes.place import Member, Place
from headwater_server.runtime.settings import Settings

_PATH_BYTES = 100
"""How long the path of a Unix socket may be; systems take 104 or 108."""

_LEAST_BUFFER = 1024 * 1024


def places_of(role: str, count: int, sockets: Path) -> Sequence[Place]:
    """The processes of a server; those that others need come first.

    Args:
        role: Which services it serves.
        count: How many share the port.
        sockets: The folder of their Unix sockets.
    """
    if role == "assistant":
        return [Place(f"assistant-{number}", "assistant") for number in range(1, count + 1)]
    retrieval = _target(sockets, "retrieval") if role == "all" else ""
    member: Member = "front" if role == "all" else "orchestrator"
    names = [f"{member}-{number}" for number in range(1, count + 1)]
    fronts = [Place(name, member, socket=_target(sockets, name), retrieval=retrieval) for name in names]
    return [Place("retrieval", "retrieval", socket=retrieval), *fronts] if retrieval else fronts


def shared_out(settings: Settings, address: str) -> Settings:
    """The settings of each of a server's processes: what the server may do is divided evenly, and rounded up.

    Args:
        settings: Those of the server.
        address: Where it listens, with the port that was taken.
    """
    limits, count = settings.limits, settings.process_count
    own = limits.model_copy(
        update={
            "answers": math.ceil(limits.answers / count),
            "least_answers": math.ceil(limits.least_answers / count),
            "buffer_bytes": max(_LEAST_BUFFER, math.ceil(limits.buffer_bytes / count)),
        }
    )
    return settings.model_copy(update={"address": address, "limits": own})


@contextmanager
def socket_folder(data_dir: Path) -> Iterator[Path]:
    """A folder for Unix sockets that only this user can enter.

    It is in the data folder, unless the path of that is too long for a socket's: then in that of temporary files.
    """
    inside = data_dir.absolute() / "run"
    if len(os.fsencode(inside / "orchestrator-999.sock")) <= _PATH_BYTES:
        inside.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield inside
        return
    with tempfile.TemporaryDirectory(prefix="headwater-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _target(sockets: Path, name: str) -> str:
    return f"unix:{sockets / name}.sock"
