"""Documents made to harm whoever reads them, through a whole server, which must not notice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater import Client, DocumentError
from headwater.v1 import document_pb2
from tests.retrieval.parsing.hostile import HOSTILE, Hostile
from tests.serving import TIME_LIMIT_S, ServerProcess, serving

REASONS = {
    "unreadable": {"DOCUMENT_UNREADABLE"},
    "too large": {"DOCUMENT_TOO_LARGE"},
    "unsupported": {"DOCUMENT_UNSUPPORTED"},
    "aborts": {"DOCUMENT_UNREADABLE", "DOCUMENT_TOO_LARGE"},
}
HARMLESS = b"Every employee has thirty days of leave a year."


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[ServerProcess]:
    with serving(data, extra={"HEADWATER_RETRIEVAL__WORKERS": "2"}) as started:
        yield started


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.target) as opened:
        yield opened


def import_hostile(client: Client, hostile: Hostile) -> str:
    """The reason for which it was refused; empty if it was read."""
    try:
        client.documents.import_file(
            hostile.make(), document_id=hostile.name, uri=hostile.name, timeout=2 * TIME_LIMIT_S
        )
    except DocumentError as error:
        return error.reason
    return ""


@pytest.mark.parametrize(
    "hostile",
    [pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.outcome == "aborts" else []) for one in HOSTILE],
)
def test_a_hostile_document_ends_with_its_reason_and_nobody_else_notices(
    client: Client, server: ServerProcess, hostile: Hostile
) -> None:
    beside_it = f"beside-{hostile.name.replace('.', '-')}"
    neighbour: list[document_pb2.Document] = []

    def import_neighbour() -> None:
        neighbour.append(client.documents.import_file(HARMLESS, document_id=beside_it, media_type="text/plain"))

    beside = threading.Thread(target=import_neighbour)
    beside.start()
    try:
        reason = import_hostile(client, hostile)
    finally:
        beside.join(TIME_LIMIT_S)
    assert reason in REASONS.get(hostile.outcome, {""})
    assert [document.passage_count for document in neighbour] == [1]
    assert client.retrieve("How many days of leave?", top_k=1)[0].content.encode() == HARMLESS
    assert server.process.poll() is None
    client.documents.delete(hostile.name, corpus="default")
    client.documents.delete(beside_it, corpus="default")


def test_a_server_that_has_read_them_leaves_nothing_behind(data: Path, client: Client) -> None:
    """The last of this module."""
    assert list(client.documents.list("default")) == []
    assert not list(data.rglob("contents/*/*/*"))
    assert not list(data.rglob("uploads/*"))
