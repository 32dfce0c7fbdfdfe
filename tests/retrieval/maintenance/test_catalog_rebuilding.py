"""A catalog that has lost a corpus, which the store still has."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headwater_server.retrieval.catalog.checksums import ensure_sealed, register
from headwater_server.retrieval.catalog.schema import ensure_settings, migrate
from headwater_server.retrieval.embedding import BUILTIN_EMBEDDER, MiniLmEmbedder
from headwater_server.retrieval.maintenance.catalog_rebuilding import rebuild_catalog

KEY = ("acme", "papers")
OPENAI = "openai/text-embedding-3-small/0123456789abcdef"


def rebuilt(folder: Path, fingerprint: str, *damaged: str) -> tuple[str, str, int]:
    """Name, fingerprint and dimension of the corpus once rebuilt; with an old row, damaged so, or with none."""
    with closing(sqlite3.connect(folder / "old", isolation_level=None)) as old:
        register(old)
        migrate(old)
        ensure_settings(old)
        ensure_sealed(old)
        if damaged:
            row = (*KEY, "Papers", "{}", "mine/text-embedding-3-small", OPENAI, 1536)
            columns = "tenant, corpus_id, display_name, labels, embedder_name, embedder, dimension"
            marks = ", ".join("?" * len(row))
            old.execute(
                f"INSERT INTO corpora ({columns}, create_time, update_time) VALUES ({marks}, 0, 0)",  # noqa: S608 (ours)
                row,
            )
            for (trigger,) in old.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                old.execute(f"DROP TRIGGER {trigger}")  # or it would seal the damage
            for change in damaged:
                old.execute(f"UPDATE corpora SET {change}")  # noqa: S608 (ours)
        rebuild_catalog(old, folder / "new", stored={}, embedders={KEY: (fingerprint, 1536)}, contents={})
    with closing(sqlite3.connect(folder / "new")) as new:
        found: tuple[str, str, int] = new.execute("SELECT embedder_name, embedder, dimension FROM corpora").fetchone()
        return found


def test_a_corpus_that_only_the_store_knows_has_the_embedder_of_its_vectors(tmp_path: Path) -> None:
    assert rebuilt(tmp_path, OPENAI) == ("openai/text-embedding-3-small", OPENAI, 1536)


def test_one_of_the_built_in_embedder_has_that(tmp_path: Path) -> None:
    fingerprint = MiniLmEmbedder().fingerprint
    assert rebuilt(tmp_path, fingerprint) == (BUILTIN_EMBEDDER, fingerprint, 1536)


@pytest.mark.parametrize("damage", ["labels = '{'", "dimension = 7", "embedder = 'openai/x'"])
def test_a_damaged_corpus_keeps_the_name_of_its_embedder_where_that_can_be(tmp_path: Path, damage: str) -> None:
    assert rebuilt(tmp_path, OPENAI, damage) == ("mine/text-embedding-3-small", OPENAI, 1536)


def test_a_damaged_name_gives_way_to_what_the_vectors_say(tmp_path: Path) -> None:
    damage = "embedder_name = 'mine/text-embeeding-3-small'"
    assert rebuilt(tmp_path, OPENAI, damage) == ("openai/text-embedding-3-small", OPENAI, 1536)
