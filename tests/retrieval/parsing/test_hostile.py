from __future__ import annotations

import multiprocessing
import re
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest

from headwater_server.retrieval.parsing import (
    DocumentError,
    DocumentTooLargeError,
    DocumentUnreadableError,
    DocumentUnsupportedError,
    parse,
)
from headwater_server.retrieval.splitting import parse_and_split
from tests.retrieval.parsing.hostile import (
    HOSTILE,
    NAMES_THAT_LEAD_ELSEWHERE,
    Hostile,
    archive_with_names_that_lead_elsewhere,
)

MEMORY = 2 * 1024 * 1024 * 1024  # of a worker, by default
OUTCOMES = {
    DocumentUnreadableError: "unreadable",
    DocumentTooLargeError: "too large",
    DocumentUnsupportedError: "unsupported",
}


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def outcome_of(name: str) -> tuple[str, str]:
    """Return what becomes of a hostile document, and the reason given or the text read."""
    (hostile,) = (one for one in HOSTILE if one.name == name)
    content = hostile.make()
    try:
        document = parse_and_split(content, name=name)
    except DocumentError as error:
        return OUTCOMES[type(error)], str(error)
    return "read", "\n".join(passage.text for passage in document.passages)


def made_worker() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=limit_memory)


@pytest.fixture(scope="module")
def worker() -> Iterator[ProcessPoolExecutor]:
    """A process with the memory of a worker."""
    with made_worker() as executor:
        yield executor


@pytest.mark.parametrize("hostile", [one for one in HOSTILE if one.outcome != "aborts"], ids=lambda one: one.name)
def test_a_hostile_document_is_read_or_refused_with_its_reason(worker: ProcessPoolExecutor, hostile: Hostile) -> None:
    outcome, said = worker.submit(outcome_of, hostile.name).result()
    assert (outcome, bool(re.search(hostile.says, said))) == (hostile.outcome, True), said


@pytest.mark.slow
@pytest.mark.parametrize("hostile", [one for one in HOSTILE if one.outcome == "aborts"], ids=lambda one: one.name)
def test_a_library_that_aborts_takes_its_process_along_and_no_more(hostile: Hostile) -> None:
    with made_worker() as executor, pytest.raises(BrokenProcessPool):
        executor.submit(outcome_of, hostile.name).result()


def test_nothing_is_written_where_names_of_an_archive_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    places = [folder / name.replace("\x00", "") for name in NAMES_THAT_LEAD_ELSEWHERE]
    assert parse(archive_with_names_that_lead_elsewhere(), name="a.docx").blocks
    assert not any(place.exists() for place in places)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", folder]


def test_every_hostile_document_has_a_name_of_its_own() -> None:
    names = [one.name for one in HOSTILE]
    assert len(set(names)) == len(names)
    assert all(isinstance(one.make, partial) or callable(one.make) for one in HOSTILE)
