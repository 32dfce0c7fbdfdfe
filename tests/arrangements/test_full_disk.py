"""What a server does that can write no more."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from headwater import Client, NotFound, QuotaExceeded
from tests.arrangements.process_tree import tree
from tests.arrangements.texts import long_text
from tests.serving import TIME_LIMIT_S, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits a running process by prlimit, which Linux has")

ROOM_BYTES = 1 << 19
YAKS = b"A grown yak eats forty kilograms of hay a day. It lives in the mountains of Asia."
QUESTION = "How many kilograms of hay does a yak eat a day?"


@contextmanager
def little_room(pid: int) -> Iterator[None]:
    """A server none of whose files can grow over `ROOM_BYTES`."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    limit_all(pid, (ROOM_BYTES, before[1]))
    try:
        yield
    finally:
        limit_all(pid, before)  # those that were started meanwhile have the limit too


def limit_all(pid: int, limits: tuple[int, int]) -> None:
    for each in tree(pid):
        with suppress(PermissionError):  # a worker in its sandbox, which writes nothing anyway
            resource.prlimit(each, resource.RLIMIT_FSIZE, limits)


def test_a_server_without_room_refuses_documents_and_goes_on_with_what_it_has(tmp_path: Path) -> None:
    over = long_text(3 * ROOM_BYTES, about="uploads")
    swelling = long_text(ROOM_BYTES // 3, about="passages")  # fits, and its passages with their vectors do not
    with serving(tmp_path / "data") as server, Client(server.target) as client:
        client.documents.import_file(YAKS, document_id="yaks", media_type="text/plain")
        before = str(client.answer(QUESTION))
        assert "forty kilograms" in before

        with little_room(server.process.pid):
            with pytest.raises(QuotaExceeded) as refused:
                client.documents.import_file(over, document_id="over", media_type="text/plain", timeout=TIME_LIMIT_S)
            assert (refused.value.code, refused.value.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
            with pytest.raises(NotFound):
                client.documents.get("over", corpus="default")

            with pytest.raises(QuotaExceeded) as failed:
                client.documents.import_file(
                    swelling, document_id="swelling", media_type="text/plain", timeout=TIME_LIMIT_S
                )
            assert failed.value.metadata["quota"] == "disk"

            assert str(client.answer(QUESTION)) == before
            assert client.documents.download("yaks", corpus="default") == YAKS
            assert not list((tmp_path / "data").rglob("uploads/*")), "nothing half-written stays"

        client.documents.import_file(swelling, document_id="swelling", media_type="text/plain", timeout=TIME_LIMIT_S)
        assert "lighthouse of Kampen" in str(client.answer("Where was the secret of passages hidden?"))
        assert str(client.answer(QUESTION)) == before
