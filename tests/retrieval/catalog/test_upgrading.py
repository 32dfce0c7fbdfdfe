from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from headwater_server.retrieval.catalog import (
    ContentKey,
    CorpusSetup,
    DocumentKey,
    DocumentState,
    EmbedderIdentity,
    SqliteCatalog,
)
from headwater_server.retrieval.catalog.schema import MIGRATIONS
from headwater_server.retrieval.embedding import BUILTIN_EMBEDDER
from headwater_server.retrieval.store.protocol import CorpusKey

pytestmark = pytest.mark.anyio

CORPUS = CorpusKey("acme", "handbook")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a catalog of version 1."""
    script = Path(__file__).with_name("version_1.sql").read_text(encoding="utf-8")
    with sqlite3.connect(tmp_path / "catalog.sqlite") as connection:
        connection.executescript(script)
    connection.close()
    return tmp_path


async def test_a_catalog_of_version_1_opens_with_all_that_is_in_it(folder: Path) -> None:
    async with SqliteCatalog.open(folder) as catalog:
        assert catalog.token_key == b"Z" * 32
        corpus = await catalog.get_corpus(CORPUS)
        assert corpus is not None
        assert (corpus.display_name, corpus.labels) == ("The handbook", {"team": "people"})
        assert (corpus.document_count, corpus.passage_count) == (4, 2)
        states = {
            name: document.state
            for name in ("leave", "pending", "broken", "working")
            if (document := await catalog.get_document(DocumentKey("acme", "handbook", name)))
        }
        assert states == {
            "leave": DocumentState.READY,
            "pending": DocumentState.PENDING,
            "broken": DocumentState.FAILED,
            "working": DocumentState.PROCESSING,
        }
        unfinished = await catalog.recover()
        assert list(unfinished.deleted_corpora) == [CorpusKey("acme", "leaving")]
        claimed = await catalog.claim_job()
        assert claimed is not None
        assert claimed.state is DocumentState.PROCESSING
        assert catalog.content_path(ContentKey("acme", claimed.sha256)).name == claimed.sha256


async def test_its_corpora_have_the_built_in_embedder_and_no_settings_of_their_own(folder: Path) -> None:
    async with SqliteCatalog.open(folder) as catalog:
        embedder = EmbedderIdentity(BUILTIN_EMBEDDER, "all-MiniLM-L6-v2/int8/0123456789abcdef", 384)
        assert await catalog.corpus_setup(CORPUS) == CorpusSetup(embedder)
        assert await catalog.list_reembeddings() == []


async def test_it_is_brought_to_the_newest_version_once(folder: Path) -> None:
    for _ in range(2):
        async with SqliteCatalog.open(folder):
            pass
        with sqlite3.connect(folder / "catalog.sqlite") as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        connection.close()
