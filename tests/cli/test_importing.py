from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from headwater import Client
from headwater._cli.failures import CommandFailed
from headwater._cli.import_summary import Result, Summary
from headwater._cli.importing import import_all
from headwater._cli.jobs import Job, find_jobs
from headwater._cli.known_documents import KnownDocuments, known_documents
from headwater._cli.left_out import LeftOut
from headwater._collecting import ImportProgress
from headwater.v1 import document_pb2
from headwater.v1 import retrieval_service_pb2 as wire
from tests.client.retrieval_server import MemoryRetrieval, retrieval_server


class Seen:
    """A display that remembers."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.texts: list[str] = []
        self.under_way = self.most_under_way = 0

    def started(self, job: Job) -> None:  # noqa: ARG002 (as the protocol has it)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)

    def progressed(self, job: Job, progress: ImportProgress) -> None:
        assert progress.committed_bytes <= progress.size_bytes, job

    def ended(self, result: Result) -> None:
        self.under_way -= 1
        self.results.append(result)

    def said(self, text: str) -> None:
        self.texts.append(text)


class Counting(MemoryRetrieval):
    """Counts the uploads, and does to the first of them what it is told."""

    def __init__(self, *, fails: int = 0, code: grpc.StatusCode = grpc.StatusCode.OK, reason: str = "") -> None:
        super().__init__()
        self.uploads = 0
        self._fails = fails
        self._code = code
        self._reason = reason
        self._lock = threading.Lock()

    def ImportDocument(  # noqa: N802 (the generated servicer's name)
        self, request_iterator: Iterator[wire.ImportDocumentRequest], context: grpc.ServicerContext
    ) -> Iterator[wire.ImportDocumentResponse]:
        with self._lock:
            self.uploads += 1
            fails = self.uploads <= self._fails
        if fails:
            abort(context, self._code, self._reason)
        for response in super().ImportDocument(request_iterator, context):
            name = response.document.name
            if name in self.documents:
                document, content = self.documents[name]
                document.sha256 = hashlib.sha256(content).hexdigest()
            yield response


def abort(context: grpc.ServicerContext, code: grpc.StatusCode, reason: str) -> None:
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(error_details_pb2.ErrorInfo(reason=reason, domain="headwater"))
    details[1].Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=10_000_000)))
    number = code_pb2.Code.Value(code.name)
    status = status_pb2.Status(code=number, message="not now", details=details)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, "not now")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.txt").write_text(f"the text of number {number}")
    return folder


def jobs_of(folder: Path) -> Iterator[Job]:
    return find_jobs([folder], LeftOut())


def run(
    target: str, jobs: Iterator[Job], display: Seen, *, known: KnownDocuments | None = None, patience: float = 30.0
) -> Summary:
    with Client(target) as client:
        return import_all(client, jobs, corpus="c", display=display, known=known, patience=patience)


def test_every_document_is_imported_once_and_few_at_a_time(folder: Path) -> None:
    service, seen = Counting(), Seen()
    with retrieval_server(service) as target:
        summary = run(target, jobs_of(folder), seen)
    assert summary.counts == {"imported": 40}
    assert summary.passages == sum(result.passages for result in seen.results)
    assert service.uploads == len(service.documents) == 40
    assert 1 <= seen.most_under_way <= 16


def test_jobs_are_taken_as_they_are_needed(folder: Path) -> None:
    seen = Seen()

    def endless() -> Iterator[Job]:
        for job in jobs_of(folder):
            assert seen.under_way <= 16
            yield job

    with retrieval_server(Counting()) as target:
        assert run(target, endless(), seen).done == 40


def test_an_overloaded_server_is_asked_again_until_all_is_taken(folder: Path) -> None:
    service = Counting(fails=30, code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="OVERLOADED")
    with retrieval_server(service) as target:
        summary = run(target, jobs_of(folder), Seen())
    assert summary.counts == {"imported": 40}
    assert service.uploads == 70


def test_a_server_that_drains_and_comes_back_is_waited_for(folder: Path) -> None:
    service, seen = Counting(fails=5, code=grpc.StatusCode.UNAVAILABLE, reason="SERVER_DRAINING"), Seen()
    with retrieval_server(service) as target:
        summary = run(target, jobs_of(folder), seen)
    assert summary.counts == {"imported": 40}
    assert seen.texts[0].endswith("trying again for 30 s")
    assert seen.texts[-1] == "the server is back"


def test_a_server_that_stays_away_ends_the_import_in_one_line(folder: Path) -> None:
    with pytest.raises(CommandFailed, match="the same command again goes on where this one stopped") as failed:
        run("127.0.0.1:1", jobs_of(folder), Seen(), patience=0.2)
    assert "\n" not in failed.value.message
    assert "headwater serve" in failed.value.message


def test_a_disk_that_is_full_ends_the_import_at_once(folder: Path) -> None:
    service = Counting(fails=1000, code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="QUOTA_EXCEEDED")
    with retrieval_server(service) as target, pytest.raises(CommandFailed, match="not now; the same command again"):
        run(target, jobs_of(folder), Seen())
    assert service.uploads < 40


def test_an_error_in_the_search_for_files_is_that_of_the_import(folder: Path) -> None:
    def broken() -> Iterator[Job]:
        yield from jobs_of(folder)
        raise CommandFailed("the folder is gone")

    with retrieval_server(Counting()) as target, pytest.raises(CommandFailed, match="the folder is gone"):
        run(target, broken(), Seen())


def test_what_the_server_is_known_to_have_is_not_spoken_of(folder: Path) -> None:
    service = Counting()
    with retrieval_server(service) as target:
        run(target, jobs_of(folder), Seen())
        (folder / "07.txt").write_text("something else")
        (folder / "new.txt").write_text("something new")
        with Client(target) as client:
            known = known_documents(client, "c", documents=40, files=41, metadata={})
        summary = run(target, jobs_of(folder), Seen(), known=known)
    assert summary.counts == {"unchanged": 39, "imported": 2}
    assert service.uploads == 42


def test_documents_that_failed_or_say_otherwise_are_not_known(folder: Path) -> None:
    service = Counting()
    with retrieval_server(service) as target:
        run(target, jobs_of(folder), Seen())
        (first, _), (second, _), *_ = service.documents.values()
        first.state = document_pb2.DOCUMENT_STATE_FAILED
        second.metadata["year"].int64_value = 2024
        with Client(target) as client:
            known = known_documents(client, "c", documents=40, files=40, metadata={})
            said = known_documents(client, "c", documents=40, files=40, metadata={"year": 2024})
            few = known_documents(client, "c", documents=40, files=1, metadata={})
    ids = [name.rpartition("/")[2] for name in service.documents]
    assert [document_id in known for document_id in ids] == [False] + [True] * 39
    assert [document_id in said for document_id in ids] == [False, True] + [False] * 38
    assert not any(document_id in few for document_id in ids)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.txt", b"", "empty"),
        ("video.txt", b"\x47\x40\x00\x10\x00" * 500, "binary data"),
        ("page.html", b"<p>\0</p>", "binary data"),
    ],
)
def test_what_is_no_document_is_skipped_in_a_folder_and_tried_where_it_is_named(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with retrieval_server(Counting()) as target:
        assert run(target, jobs_of(tmp_path), Seen()).skipped == {reason: 1}
        assert run(target, jobs_of(tmp_path / name), Seen()).counts == {"imported": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8", "latin-1"])
def test_text_in_any_encoding_is_no_binary_data(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("Übrigens: the tide comes in twice a day.".encode(encoding))
    with retrieval_server(Counting()) as target:
        assert run(target, jobs_of(tmp_path), Seen()).counts == {"imported": 1}


def test_a_summary_keeps_little_of_any_number_of_failures(tmp_path: Path) -> None:
    summary = Summary()
    for number in range(5000):
        job = Job(tmp_path / f"{number}.pdf", f"id-{number}")
        summary.add(Result(job, "failed", f"page {number} of 'file {number}' is damaged"))
        summary.add(Result(job, "failed", "word " * (number % 500)))
    assert summary.counts["failed"] == 10_000
    assert len(summary.failures) == 1000
    assert len(summary.reasons) <= 201
    assert sum(reason.count for reason in summary.reasons.values()) == 10_000
    damaged = next(iter(summary.reasons.values()))
    assert (damaged.count, damaged.text) == (5000, "page … of … is damaged")
    assert len(damaged.examples) == 5
