"""How much memory a server takes for large uploads and many watchers."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from headwater import Client, DocumentError
from tests.serving import TIME_LIMIT_S, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads a process's memory from /proc")

MIB = 1024 * 1024
LARGEST = 256 * MIB
"""The largest document that a server takes by default."""


def peak_bytes(process: int) -> int:
    """The most memory that a process has ever had, in RAM."""
    status = Path(f"/proc/{process}/status").read_text()
    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    return int(kilobytes) * 1024


def test_the_largest_document_is_never_held_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    with file.open("wb") as opened:
        os.truncate(opened.fileno(), LARGEST)
    with serving(tmp_path / "data") as server, Client(server.target) as client:
        client.documents.import_file(b"A short text.", document_id="short", media_type="text/plain")
        before = peak_bytes(server.process.pid)
        with pytest.raises(DocumentError) as refused:
            client.documents.import_file(file, document_id="large", timeout=TIME_LIMIT_S)
        assert refused.value.reason in {"DOCUMENT_UNSUPPORTED", "DOCUMENT_TOO_LARGE", "DOCUMENT_UNREADABLE"}
        assert client.documents.get("large", corpus="default").size_bytes == LARGEST
        assert peak_bytes(server.process.pid) - before < LARGEST // 4
