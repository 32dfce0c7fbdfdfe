from __future__ import annotations

from pathlib import Path

from benchmarks.import_folder import counted, make_files
from headwater_server.retrieval.splitting import parse_and_split


def test_files_are_counted_by_outcome_code_and_kind() -> None:
    failed = {"outcome": "failed", "code": "DOCUMENT_UNREADABLE", "uri": "/a/x.pdf", "passages": 0}
    imported = [{"outcome": "imported", "uri": f"/a/{name}", "passages": 1} for name in ("a.TXT", "b.txt", "README")]
    assert list(counted([failed, *imported])) == [
        {"outcome": "failed", "code": "DOCUMENT_UNREADABLE", "kind": ".pdf", "files": 1},
        {"outcome": "imported", "code": "", "kind": ".txt", "files": 2},
        {"outcome": "imported", "code": "", "kind": "no ending", "files": 1},
    ]


def test_made_files_are_different_and_have_one_passage_each(tmp_path: Path) -> None:
    make_files(tmp_path / "made", 20)
    paths = sorted((tmp_path / "made").iterdir())
    assert len({path.read_bytes() for path in paths}) == 20
    assert {len(parse_and_split(path).passages) for path in paths} == {1}
