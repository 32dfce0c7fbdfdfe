from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater import Client
from tests.serving import ServerProcess, headwater, serving

TEXT = " ".join(f"Sentence number {number} is about bells." for number in range(40))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("corpora") / "data") as served:
        yield served


def test_a_corpus_is_created_with_settings_and_shows_them(server: ServerProcess) -> None:
    options = ("--embedder", "builtin/all-MiniLM-L6-v2", "--language", "en", "--max-characters", "200")
    made = headwater("corpora", "create", "own", *options, "--overlap", "20", target=server.target)
    assert made.returncode == 0, made.stderr
    for command in (["list"], ["get", "own"], ["show", "own"]):
        shown = headwater("corpora", *command, target=server.target)
        assert "builtin/all-MiniLM-L6-v2\ten, 200 characters, overlap 20" in shown.stdout
    changed = headwater("corpora", "update", "own", "--language", "", "--max-characters", "300", target=server.target)
    assert "\t300 characters\t" in changed.stdout


def test_what_a_server_has_not_is_refused_in_one_line(server: ServerProcess) -> None:
    refused = headwater("corpora", "create", "x", "--embedder", "ours/m", target=server.target)
    assert refused.returncode == 1
    assert "this server has no embedder 'ours/m'" in refused.stderr
    refused = headwater("corpora", "create", "x", "--max-characters", "100", "--overlap", "51", target=server.target)
    assert refused.returncode != 0
    assert "at most half of max_characters, which is 100" in refused.stderr


def test_a_corpus_is_embedded_anew_and_can_be_waited_for(server: ServerProcess) -> None:
    with Client(server.target) as client:
        client.corpora.create("anew")
        before = client.documents.import_file(TEXT.encode(), document_id="bells", corpus="anew")
        client.corpora.update("anew", max_characters=100)
        done = headwater("corpora", "reembed", "anew", "--wait", "--json", target=server.target)
        assert done.returncode == 0, done.stderr
        corpus = json.loads(done.stdout)
        assert "reembedding" not in corpus
        assert corpus["passageCount"] > 2 * before.passage_count
        assert len(client.retrieve("bells", corpus="anew")) > 0
    begun = headwater("corpora", "reembed", "anew", target=server.target)
    assert begun.returncode == 0, begun.stderr
    assert "`headwater corpora get anew` says how far it is" in begun.stderr
    missing = headwater("corpora", "reembed", "nowhere", target=server.target)
    assert missing.returncode == 1
    assert "nowhere" in missing.stderr


def test_the_orchestrator_forwards_it(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "retrieval", "retrieval") as retrieval,
        serving(tmp_path / "front", "orchestrator", "--retrieval-target", retrieval.target) as front,
    ):
        headwater("corpora", "create", "anew", target=front.target)
        done = headwater("corpora", "reembed", "anew", "--wait", target=front.target)
        assert done.returncode == 0, done.stderr
