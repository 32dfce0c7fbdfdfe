"""What becomes of answers on a disk where nothing more can be written, not even a line of the log."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from headwater import Client, NotFound
from tests.arrangements.process_tree import tree
from tests.serving import serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits a running process by prlimit, which Linux has")

YAKS = b"A grown yak eats forty kilograms of hay a day. It lives in the mountains of Asia."
QUESTION = "How many kilograms of hay does a yak eat a day?"


@contextmanager
def no_room(pid: int) -> Iterator[None]:
    """A server none of whose files can grow."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    limit_all(pid, (0, before[1]))
    try:
        yield
    finally:
        limit_all(pid, before)


def limit_all(pid: int, limits: tuple[int, int]) -> None:
    for each in tree(pid):
        with suppress(PermissionError):  # a worker in its sandbox, which writes nothing anyway
            resource.prlimit(each, resource.RLIMIT_FSIZE, limits)


def test_answers_go_on_without_room_and_say_that_they_are_not_kept(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, Client(server.target) as client:
        client.documents.import_file(YAKS, document_id="yaks", media_type="text/plain")
        kept = client.answer(QUESTION)
        assert "forty kilograms" in str(kept)
        assert not kept.message.unlogged
        with pytest.raises(NotFound):
            client.get_answer("answers/none")  # whatever is made when it is first needed is there now

        with no_room(server.process.pid):
            unlogged = client.answer(QUESTION)
            assert str(unlogged) == str(kept)
            assert unlogged.message.unlogged
            with pytest.raises(NotFound):
                client.get_answer(unlogged.name)
            assert client.get_answer(kept.name).text == str(kept), "what was kept can still be had"

        again = client.answer(QUESTION)
        assert str(again) == str(kept)
        assert not again.message.unlogged
        assert client.get_answer(again.name).text == str(kept)
