"""`headwater doctor --deep`: what it says, and what it puts right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater import Client
from tests.serving import headwater, serving

TEXT = "The lighthouse of Kampen was lit in 1856."


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "data"
    with serving(folder) as server, Client(server.target) as client:
        client.documents.import_file(TEXT.encode(), document_id="lighthouse", media_type="text/plain")
        client.documents.import_file(b"The cook makes soup.", document_id="soup", media_type="text/plain")
        while_used = headwater("doctor", "--deep", "--data-dir", folder)
        assert (while_used.returncode, while_used.stderr) == (0, "")
        assert "the index apart: a server is at work on it" in while_used.stdout
        refused = headwater("doctor", "--deep", "--repair", "--data-dir", folder)
        assert refused.returncode == 1
        assert "in use by process" in refused.stderr
        assert server.interrupt() == 130
    return folder


def test_a_damaged_passage_is_named_and_read_again(template: Path) -> None:
    well = headwater("doctor", "--deep", "--data-dir", template)
    assert (well.returncode, well.stdout) == (0, f"{template} is as it was written\n")
    database = template / "retrieval" / "store" / "truth.sqlite3"
    data = database.read_bytes()
    assert TEXT.encode() in data
    database.write_bytes(data.replace(b"lit in 1856", b"lit in 1956"))
    found = headwater("doctor", "--deep", "--json", "--data-dir", template)
    assert found.returncode == 1
    (finding,) = (json.loads(line) for line in found.stdout.splitlines())
    assert finding["subject"].startswith("store: passage 0-")
    assert finding["detail"] == "its row has changed"
    assert "--repair" in finding["advice"]
    repaired = headwater("doctor", "--deep", "--repair", "--data-dir", template)
    assert repaired.returncode == 0, repaired.stderr
    assert "reads 1 document again" in repaired.stdout
    with serving(template) as server, Client(server.target) as client:
        client.documents.watch("lighthouse", corpus="default")
        (source, *_) = client.retrieve("When was the lighthouse lit?")
        assert source.content == TEXT


def test_what_there_is_nothing_of_is_said_in_a_line(tmp_path: Path) -> None:
    for arguments, said in (
        (("--deep", "--data-dir", tmp_path / "nowhere"), "is not a data folder"),
        (("--deep", "--repair", "--data-dir", tmp_path), "is not a data folder"),
        (("--repair",), "go with --deep"),
    ):
        done = headwater("doctor", *arguments)
        assert done.returncode in {1, 2}
        assert len(done.stderr.splitlines()) == 1
        assert said in done.stderr
    assert not list(tmp_path.iterdir())
