"""Corpora, documents, searches and assistants, through both clients."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headwater import (
    AlreadyExists,
    ArgumentError,
    AsyncClient,
    Client,
    ConnectionLost,
    DataLoss,
    DocumentUnreadable,
    FailedPrecondition,
    ImportProgress,
    NotFound,
    ProtocolError,
    field,
    metadata_dict,
)
from headwater._values import MetadataPython
from tests.client.retrieval_server import MemoryRetrieval, retrieval_server

METADATA: dict[str, MetadataPython] = {
    "year": 2024,
    "draft": False,
    "tags": ["a", "b"],
    "since": datetime(2024, 5, 1, tzinfo=UTC),
    "weight": 0.5,
}
STAGES = ["received", "parsed", "split", "embedded", "stored"]
MEGABYTE = os.urandom(1024) * 1024


@pytest.fixture
def server() -> Iterator[tuple[MemoryRetrieval, str]]:
    retrieval = MemoryRetrieval()
    with retrieval_server(retrieval) as target:
        yield retrieval, target


@pytest.fixture
def memory(server: tuple[MemoryRetrieval, str]) -> MemoryRetrieval:
    return server[0]


@pytest.fixture
def client(server: tuple[MemoryRetrieval, str]) -> Iterator[Client]:
    with Client(server[1]) as client:
        yield client


@pytest.fixture
async def async_client(server: tuple[MemoryRetrieval, str], one_loop: None) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server[1]) as client:
        yield client


def check_import(progress: list[ImportProgress], size: int) -> None:
    uploading = [each.committed_bytes for each in progress if each.stage == "uploading"]
    assert uploading == sorted(uploading)
    assert uploading[-1] == size
    assert all(each.size_bytes == size for each in progress)
    assert [each.stage for each in progress if each.stage != "uploading"] == STAGES


def test_a_file_is_imported_with_its_metadata_and_progress(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "leave.txt"
    path.write_bytes(MEGABYTE)
    progress: list[ImportProgress] = []
    document = client.documents.import_file(
        path, corpus="handbook", document_id="leave", metadata=METADATA, on_progress=progress.append
    )
    assert document.name == "corpora/handbook/documents/leave"
    assert document.uri == str(path)
    assert metadata_dict(document.metadata) == METADATA
    check_import(progress, len(MEGABYTE))
    assert client.documents.download("leave", corpus="handbook") == MEGABYTE


@pytest.mark.anyio
async def test_a_file_is_imported_with_its_metadata_and_progress_async(
    async_client: AsyncClient, tmp_path: Path
) -> None:
    path = tmp_path / "leave.txt"
    path.write_bytes(MEGABYTE)
    progress: list[ImportProgress] = []
    document = await async_client.documents.import_file(
        str(path), corpus="handbook", document_id="leave", metadata=METADATA, on_progress=progress.append
    )
    assert metadata_dict(document.metadata) == METADATA
    check_import(progress, len(MEGABYTE))
    assert await async_client.documents.download(document.name) == MEGABYTE


class Pipe(io.BytesIO):
    """A file that cannot be sought in."""

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError(f"a pipe cannot go to {offset} from {whence}")


def test_bytes_file_objects_and_pipes_are_imported(client: Client) -> None:
    opened = io.BytesIO(b"skipped" + MEGABYTE)
    opened.seek(len(b"skipped"))
    contents = {"bytes": MEGABYTE, "object": opened, "pipe": Pipe(MEGABYTE), "empty": b""}
    for document_id, content in contents.items():
        client.documents.import_file(content, document_id=document_id)  # type: ignore[arg-type]  # a dict of several kinds
    for document_id in ("bytes", "object", "pipe"):
        assert client.documents.download(document_id, corpus="default") == MEGABYTE
    assert client.documents.download("empty", corpus="default") == b""


def test_what_is_no_content_is_refused_before_anything_is_sent(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot be read"):
        client.documents.import_file(tmp_path / "missing")
    with pytest.raises(ArgumentError, match="'rb'"):
        client.documents.import_file(io.StringIO("text"))  # type: ignore[arg-type]  # that it is refused is what is tried
    with pytest.raises(ArgumentError, match=r"metadata\['when'\].*time zone"):
        client.documents.import_file(b"x", metadata={"when": datetime(2024, 1, 1)})
    assert list(client.documents.list()) == []


def test_an_interrupted_upload_goes_on_where_the_server_says(client: Client, memory: MemoryRetrieval) -> None:
    memory.committed["leave"] = MEGABYTE[:700_000]
    progress: list[ImportProgress] = []
    client.documents.import_file(MEGABYTE, document_id="leave", on_progress=progress.append)
    assert progress[0].committed_bytes == 700_000
    assert client.documents.download("leave", corpus="default") == MEGABYTE


def test_a_failed_document_raises_its_reason(client: Client) -> None:
    with pytest.raises(DocumentUnreadable, match="encrypted") as raised:
        client.documents.import_file(b"x", corpus="handbook", document_id="broken")
    assert raised.value.resource == "corpora/handbook/documents/broken"
    assert raised.value.reason == "DOCUMENT_UNREADABLE"


@pytest.mark.parametrize(
    ("document_id", "error"),
    [("lossy", DataLoss), ("talkative", ProtocolError), ("refused", NotFound), ("breaks", ConnectionLost)],
)
def test_an_import_that_ends_wrongly_raises(client: Client, document_id: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        client.documents.import_file(MEGABYTE, document_id=document_id)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("document_id", "error"),
    [("lossy", DataLoss), ("broken", DocumentUnreadable), ("refused", NotFound), ("breaks", ConnectionLost)],
)
async def test_an_import_that_ends_wrongly_raises_async(
    async_client: AsyncClient, document_id: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await async_client.documents.import_file(MEGABYTE, document_id=document_id)


def test_a_document_that_is_there_already_comes_back_without_an_upload(client: Client) -> None:
    assert client.documents.import_file(b"x", document_id="hasty").name == "corpora/default/documents/hasty"


def test_an_exception_of_the_callback_ends_the_upload(client: Client) -> None:
    def refuse(progress: ImportProgress) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        client.documents.import_file(MEGABYTE, document_id="leave", on_progress=refuse)
    assert list(client.documents.list()) == []


class Failing(io.BytesIO):
    """A file that can be read once, and not again."""

    rewound = False

    def seek(self, offset: int, whence: int = 0) -> int:
        self.rewound = True
        return super().seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        if self.rewound:
            raise OSError("the disk is gone")
        return super().read(size)


def test_a_file_that_fails_while_it_is_sent_raises_its_own_error(client: Client) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        client.documents.import_file(Failing(MEGABYTE), document_id="leave")
    assert list(client.documents.list()) == []


@pytest.mark.anyio
async def test_a_file_that_fails_while_it_is_sent_raises_its_own_error_async(async_client: AsyncClient) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        await async_client.documents.import_file(Failing(MEGABYTE), document_id="leave")
    assert [each async for each in async_client.documents.list()] == []


def test_documents_are_created_watched_changed_and_deleted(client: Client, memory: MemoryRetrieval) -> None:
    document = client.documents.create("text", corpus="handbook", document_id="note", title="Note")
    assert (document.media_type, document.title) == ("text/plain", "Note")
    progress: list[ImportProgress] = []
    client.documents.watch(document.name, on_progress=progress.append)
    assert [each.stage for each in progress] == STAGES
    changed = client.documents.update("note", corpus="handbook", metadata={"year": 1})
    assert metadata_dict(changed.metadata) == {"year": 1}
    assert changed.title == "Note"
    assert list(memory.update_requests[0].update_mask.paths) == ["metadata"]
    with pytest.raises(ArgumentError, match="nothing to change"):
        client.documents.update(document.name)
    client.documents.delete(document.name)
    with pytest.raises(NotFound):
        client.documents.get(document.name)


def test_lists_go_on_over_all_pages(client: Client) -> None:
    for number in range(5):
        client.documents.create(b"x", corpus="handbook", document_id=f"d{number}")
        client.corpora.create(f"c{number}")
    assert [document.name[-2:] for document in client.documents.list("handbook")] == ["d0", "d1", "d2", "d3", "d4"]
    assert [corpus.name[-2:] for corpus in client.corpora.list()] == ["c0", "c1", "c2", "c3", "c4"]
    assert [each.name for each in client.assistants()] == ["assistants/builtin/first", "assistants/builtin/second"]


@pytest.mark.anyio
async def test_documents_and_corpora_async(async_client: AsyncClient) -> None:
    for number in range(3):
        await async_client.documents.create("x", corpus="handbook", document_id=f"d{number}")
        await async_client.corpora.create(f"c{number}")
    assert [document.name[-2:] async for document in async_client.documents.list("handbook")] == ["d0", "d1", "d2"]
    assert [corpus.name[-2:] async for corpus in async_client.corpora.list()] == ["c0", "c1", "c2"]
    assert [each.name[-6:] async for each in async_client.assistants()] == ["/first", "second"]
    assert (await async_client.documents.watch("d0", corpus="handbook")).name.endswith("d0")
    assert (await async_client.documents.update("d0", corpus="handbook", title="T")).title == "T"
    await async_client.documents.delete("d0", corpus="handbook")
    with pytest.raises(NotFound):
        await async_client.documents.get("d0", corpus="handbook")
    assert (await async_client.corpora.update("c0", display_name="C")).display_name == "C"
    assert (await async_client.corpora.create("c0", exist_ok=True)).display_name == "C"
    await async_client.corpora.delete("c0")
    with pytest.raises(NotFound):
        await async_client.corpora.get("c0")
    assert len(await async_client.retrieve("leave")) == 2


def test_corpora_are_created_changed_and_deleted(client: Client) -> None:
    assert client.corpora.create("handbook", display_name="Handbook").name == "corpora/handbook"
    with pytest.raises(AlreadyExists):
        client.corpora.create("handbook")
    assert client.corpora.create("handbook", exist_ok=True).display_name == "Handbook"
    assert client.corpora.update("corpora/handbook", display_name="").display_name == ""
    client.documents.create("x", corpus="handbook", document_id="note")
    with pytest.raises(FailedPrecondition, match="has documents"):
        client.corpora.delete("handbook")
    client.corpora.delete("handbook", force=True)
    with pytest.raises(NotFound):
        client.corpora.get("handbook")


def test_a_document_is_written_to_a_file_whole_or_not_at_all(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_bytes(b"before")
    for document_id, error in [("cut", DataLoss), ("altered", ProtocolError)]:
        client.documents.create(MEGABYTE, document_id=document_id)
        with pytest.raises(error):
            client.documents.download_to(path, document_id, corpus="default")
        assert path.read_bytes() == b"before"
    client.documents.create(MEGABYTE, document_id="good")
    assert client.documents.download_to(path, "good", corpus="default").size_bytes == len(MEGABYTE)
    assert path.read_bytes() == MEGABYTE
    assert [each.name for each in tmp_path.iterdir()] == ["out.txt"]


@pytest.mark.anyio
async def test_a_document_is_written_to_a_file_whole_or_not_at_all_async(
    async_client: AsyncClient, tmp_path: Path
) -> None:
    path = tmp_path / "out.txt"
    await async_client.documents.create(MEGABYTE, document_id="cut")
    with pytest.raises(DataLoss):
        await async_client.documents.download_to(path, "cut", corpus="default")
    assert os.listdir(tmp_path) == []  # noqa: PTH208 (pathlib's would block the loop in ruff's eyes)
    await async_client.documents.create(MEGABYTE, document_id="good")
    await async_client.documents.download_to(path, "good", corpus="default")
    assert path.read_bytes() == MEGABYTE


def test_a_search_gives_sources_and_statistics(client: Client, memory: MemoryRetrieval) -> None:
    found = client.retrieve(
        "leave", corpora=["a", "corpora/b"], filter=field("year") >= 2020, mode="dense", top_k=5, min_score=0.2
    )
    assert [source.content for source in found] == ["source 1", "source 2"]
    assert found[0].rank == 1
    assert [source.rank for source in found[1:]] == [2]
    assert found.statistics.candidates == 7
    options = memory.retrieve_requests[0].options
    assert list(options.corpora) == ["corpora/a", "corpora/b"]
    assert (options.top_k, options.min_score, options.filter.comparison.key) == (5, 0.2, "year")


@pytest.mark.parametrize(("query", "error"), [("lose the end", DataLoss), ("go on", ProtocolError)])
def test_a_search_without_its_required_end_raises(client: Client, query: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        client.retrieve(query)


def test_a_corpus_has_settings_of_its_own(client: Client) -> None:
    made = client.corpora.create("own", embedder="there/m", language="de", max_characters=500, overlap_characters=0)
    assert (made.embedder, made.language) == ("there/m", "de")
    assert made.splitting.max_characters == 500
    assert made.splitting.HasField("overlap_characters")
    changed = client.corpora.update("own", language="", max_characters=200)
    assert (changed.language, changed.splitting.max_characters) == ("", 200)
    assert not client.corpora.create("plain").HasField("splitting")
    with pytest.raises(ArgumentError, match="max_characters is a whole number"):
        client.corpora.create("wrong", max_characters=-1)


def test_a_corpus_is_embedded_anew(client: Client) -> None:
    client.corpora.create("own", embedder="there/m")
    assert client.corpora.reembed("own").reembedding.embedder == "there/m"
    assert client.corpora.reembed("corpora/own", embedder="here/m").reembedding.embedder == "here/m"


@pytest.mark.anyio
async def test_a_corpus_has_settings_and_is_embedded_anew_async(async_client: AsyncClient) -> None:
    made = await async_client.corpora.create("own", embedder="there/m", language="de", max_characters=500)
    assert (made.embedder, made.language, made.splitting.max_characters) == ("there/m", "de", 500)
    assert (await async_client.corpora.update("own", overlap_characters=3)).splitting.overlap_characters == 3
    assert (await async_client.corpora.reembed("own", embedder="here/m")).reembedding.embedder == "here/m"
