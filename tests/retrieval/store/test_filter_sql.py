"""SQLite's answer alone: behind the store's methods every hit is checked again, which would hide a wrong one."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.v1 import filter_pb2
from headwater_server.retrieval.store.filters import matches
from headwater_server.retrieval.store.protocol import CorpusKey, DocumentRecord
from headwater_server.retrieval.store.truth.connection import open_reader, reading
from headwater_server.retrieval.store.truth.reader import find_corpus, matching_documents
from headwater_server.retrieval.store.truth.writer import TruthWriter
from tests.retrieval.store.filter_strategies import documents_with_metadata, filters
from tests.retrieval.store.records import DIMENSION, EMBEDDER


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("truth") / "truth.sqlite3"


@settings(max_examples=200, deadline=None)
@given(documents=documents_with_metadata(), conditions=st.lists(filters(), min_size=5, max_size=20))
def test_sqlite_finds_exactly_the_documents_that_match(
    database: Path, documents: list[DocumentRecord], conditions: list[filter_pb2.Filter]
) -> None:
    corpus = CorpusKey("tenant", uuid.uuid4().hex)
    writer = TruthWriter(database)
    writer.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
    for document in documents:
        writer.replace_document(corpus, document, [])
    truth = open_reader(database)
    with reading(truth):
        state = find_corpus(truth, corpus)
        assert state is not None
        ids = dict(truth.execute("SELECT id, document_id FROM documents WHERE corpus_row = ?", (state.row,)))
        for condition in conditions:
            found = sorted(ids[row] for row in matching_documents(truth, state.row, condition))
            assert found == sorted(each.document_id for each in documents if matches(condition, each))
    truth.close()
    writer.close()
