"""Imports on a disk that is full, in a file system of its own: a server in a mount namespace, and ballast beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headwater import Client, ImportProgress, NotFound, QuotaExceeded
from headwater.v1 import document_pb2
from tests import serving as servers
from tests.arrangements.texts import long_text
from tests.faults.import_model import CORPUS, DocumentModel, models
from tests.serving import TIME_LIMIT_S, ServerProcess, serving

SIZE_MB = 96
RESERVE = SIZE_MB * 1024 * 1024 // 16
"""What imports leave free of such a small disk."""
READY = document_pb2.DOCUMENT_STATE_READY
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = f'mount -t tmpfs -o size={SIZE_MB}m tmpfs "$0" && exec "$@"'


def can_mount(folder: Path) -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, MOUNT, folder, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file system is that servers are started with."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not can_mount(folder):
        pytest.skip("no file system can be mounted here")
    monkeypatch.setattr(servers, "HEADWATER", [*NAMESPACE, MOUNT, str(folder), *servers.HEADWATER])
    return folder


class Disk:
    """The server's file system, seen from outside, with a file that takes the room."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.root = Path(f"/proc/{server.process.pid}/root{folder}")
        self._ballast = self.root / "ballast"

    def leave(self, free_bytes: int) -> None:
        """Leaves about so much room."""
        self.make_room()
        disk = os.statvfs(self.root)
        with self._ballast.open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, max(disk.f_bavail * disk.f_bsize - free_bytes, 1))

    def make_room(self) -> None:
        self._ballast.unlink(missing_ok=True)


def import_it(client: Client, model: DocumentModel, number: int) -> None:
    version = model.version(number)
    client.documents.import_file(
        version.content,
        document_id=model.id,
        media_type=version.media_type,
        metadata={"key": model.id},
        timeout=TIME_LIMIT_S,
    )
    model.possible = {number}


def check(client: Client, model: DocumentModel) -> None:
    model.check_presence(client)
    model.check_passages(client)
    model.check_content(client)


def test_a_full_disk_refuses_imports_harms_nothing_and_is_forgotten_once_there_is_room(folder: Path) -> None:
    kept, *others = models(7, seed=7)
    refusals = 0
    with serving(folder / "data") as server, Client(server.target) as client:
        disk = Disk(server, folder)
        import_it(client, kept, 1)
        for room, model in zip((0, 16_384, 200_000, 1_500_000, RESERVE - 500_000, 4 * RESERVE), others, strict=True):
            disk.leave(room)
            if refused := refusal(client, model):
                refusals += 1
                assert (refused.code, refused.metadata["quota"]) == ("RESOURCE_EXHAUSTED", "disk")
                assert not_ready(client, model)
            else:
                check(client, model)
            check(client, kept)
            assert not list(disk.root.rglob("uploads/*"))
        assert refusals == 5
        disk.make_room()
        for model in others:
            import_it(client, model, 2)
        import_it(client, kept, 2)
        for model in (kept, *others):
            check(client, model)
        assert "malformed" not in (folder / "data.log").read_text()


def refusal(client: Client, model: DocumentModel) -> QuotaExceeded | None:
    """Imports a document; why it was refused, if it was."""
    try:
        import_it(client, model, 1)
    except QuotaExceeded as error:
        return error
    return None


def not_ready(client: Client, model: DocumentModel) -> bool:
    """Whether nothing is found of a document that was refused."""
    found = client.retrieve("part", corpus=CORPUS, top_k=100)
    assert not [source for source in found if source.document.endswith(f"/{model.id}")]
    try:
        return client.documents.get(model.id, corpus=CORPUS).state != READY
    except NotFound:
        return True


def test_a_disk_that_fills_up_in_mid_import_ends_it_with_its_reason(folder: Path) -> None:
    kept, changed = models(2, seed=8)
    text = long_text(100_000, about="the disk")
    with serving(folder / "data") as server, Client(server.target) as client:
        disk = Disk(server, folder)
        for model in (kept, changed):
            import_it(client, model, 1)

        def fill(progress: ImportProgress) -> None:
            if progress.stage == "split":
                disk.leave(RESERVE // 2)

        with pytest.raises(QuotaExceeded) as failed:
            client.documents.import_file(
                text, document_id=changed.id, media_type="text/plain", on_progress=fill, timeout=TIME_LIMIT_S
            )
        assert failed.value.metadata["quota"] == "disk"
        assert not_ready(client, changed)
        check(client, kept)
        disk.make_room()
        import_it(client, changed, 2)
        check(client, changed)


def test_a_document_whose_passages_do_not_fit_leaves_the_reserve_and_one_whose_do_fits(folder: Path) -> None:
    (kept,) = models(1, seed=9)
    text = long_text(200_000, about="the disk")
    with serving(folder / "data") as server, Client(server.target) as client:
        disk = Disk(server, folder)
        import_it(client, kept, 1)
        disk.leave(RESERVE + 2 * len(text))
        with pytest.raises(QuotaExceeded):
            import_large(client, text)
        free = shutil.disk_usage(disk.root).free
        assert free >= RESERVE - 500_000, "nothing of the passages was written; what failed is noted in the catalog"
        check(client, kept)
        disk.leave(RESERVE + 20 * len(text))
        assert import_large(client, text).state == READY
        assert shutil.disk_usage(disk.root).free >= RESERVE - 500_000, "what was asked for was enough"
        check(client, kept)


def import_large(client: Client, text: bytes) -> document_pb2.Document:
    return client.documents.import_file(text, document_id="large", media_type="text/plain", timeout=TIME_LIMIT_S)
