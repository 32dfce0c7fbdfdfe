"""Archives of corpora: what goes out comes in again, and nothing else does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import Client, NotFound
from headwater._cli.corpus_archive import VERSION, ArchivedDocument, ArchiveError, ArchiveReader, ArchiveWriter
from headwater._values import MetadataInput
from headwater.v1 import document_pb2, filter_pb2
from tests.serving import HEADWATER, TIME_LIMIT_S, ServerProcess, environment, headwater, serving, started

TEXTS = {
    "lighthouse": "# Lighthouse\n\nThe lighthouse of Kampen was lit in 1856.\n",
    "ferry": "Die Fähre nach Sylt fährt täglich um neun Uhr.\n",
    "same": "Die Fähre nach Sylt fährt täglich um neun Uhr.\n",
    "soup": "The cook makes soup on Mondays.\n",
}
METADATA: dict[str, MetadataInput] = {
    "year": 1856,
    "height": 38.5,
    "lit": True,
    "tags": ["sea", "light"],
    "checked": datetime(2026, 5, 1, 12, 0, 0, 123, tzinfo=UTC),
}
QUESTIONS = ("When was the lighthouse lit?", "Wann fährt die Fähre?", "What does the cook make?")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serving(tmp_path_factory.mktemp("archives") / "data") as server, Client(server.target) as client:
        client.corpora.create("harbour", display_name="Der Hafen", labels={"team": "sea", "größe": "klein"})
        for name, text in TEXTS.items():
            client.documents.import_file(
                text.encode(),
                corpus="harbour",
                document_id=name,
                uri=f"docs/{name}.{'md' if text.startswith('#') else 'txt'}",
                title="Supper" if name == "soup" else None,
                metadata=METADATA if name == "lighthouse" else {"name": name},
            )
        client.documents.create(b"", corpus="harbour", document_id="nothing", uri="nothing.pdf")
        yield server


@pytest.fixture(scope="module")
def archive(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "harbour.tar"
    done = headwater("corpora", "export", "harbour", "--output", path, target=server.target)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return path


def said(client: Client, corpus: str) -> dict[str, tuple[object, ...]]:
    return {
        each.name.rpartition("/")[2]: (
            each.title,
            each.uri,
            each.media_type,
            sorted((key, value.SerializeToString()) for key, value in each.metadata.items()),
            each.size_bytes,
            each.sha256,
            each.state,
            each.passage_count,
        )
        for each in client.documents.list(corpus)
    }


def found(client: Client, corpus: str) -> list[list[tuple[str, str, float]]]:
    """What questions find: a document's text instead of its name, because which of two equal ones is given is open."""
    results = [client.retrieve(question, corpus=corpus, top_k=3) for question in QUESTIONS]
    return [
        [(TEXTS[source.document.rpartition("/")[2]], source.content, round(source.score, 4)) for source in result]
        for result in results
    ]


def test_what_was_exported_is_imported_as_it_was(server: ServerProcess, archive: Path) -> None:
    done = headwater("corpora", "import", archive, "--corpus", "copy", target=server.target)
    assert done.returncode == 1, done.stderr  # the empty document, which fails here as it did there
    assert "4 documents imported into copy" in done.stdout
    assert "failed nothing: " in done.stdout
    with Client(server.target) as client:
        assert said(client, "copy") == said(client, "harbour")
        original, copy = client.corpora.get("harbour"), client.corpora.get("copy")
        assert (copy.display_name, dict(copy.labels)) == (original.display_name, dict(original.labels))
        assert (copy.embedder, copy.language, copy.splitting) == (
            original.embedder,
            original.language,
            original.splitting,
        )
        assert found(client, "copy") == found(client, "harbour")
        assert any(found(client, "copy"))


def test_equal_corpora_make_equal_archives(server: ServerProcess, archive: Path, tmp_path: Path) -> None:
    again = headwater("corpora", "export", "corpora/harbour", "-o", tmp_path / "again.tar", target=server.target)
    assert again.returncode == 0
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()
    with tarfile.open(archive) as tar:  # and any program that knows tar can read them
        assert tar.getnames()[:3] == ["corpus.json", "documents/ferry/document.json", "documents/ferry/content"]
        content = tar.extractfile("documents/soup/content")
        assert content is not None
        assert content.read().decode() == TEXTS["soup"]


def test_an_import_again_sends_nothing_and_puts_right_what_differs(server: ServerProcess, archive: Path) -> None:
    with Client(server.target) as client:
        client.corpora.create("again", exist_ok=True)
        headwater("corpora", "import", archive, "--corpus", "again", target=server.target)
        client.documents.update("soup", corpus="again", title="Dinner", metadata={})
        done = headwater("corpora", "import", archive, "--corpus", "again", target=server.target)
        assert "is there already" in done.stderr
        assert said(client, "again") == said(client, "harbour")


def test_archives_go_through_pipes(server: ServerProcess, archive: Path) -> None:
    command = [*HEADWATER, "corpora", "export", "harbour", "--output", "-"]
    extra = environment({"HEADWATER_TARGET": server.target})
    exported = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT_S, env=extra, check=True)
    assert exported.stdout == archive.read_bytes()
    command = [*HEADWATER, "corpora", "import", "-", "--corpus", "piped"]
    done = subprocess.run(
        command, input=exported.stdout, capture_output=True, timeout=TIME_LIMIT_S, env=extra, check=False
    )
    assert b"4 documents imported into piped" in done.stdout
    with Client(server.target) as client:
        assert said(client, "piped") == said(client, "harbour")


def test_an_embedder_that_the_server_has_not_is_named_with_the_way_out(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    with path.open("wb") as file:
        writer = ArchiveWriter(file, document_pb2.Corpus(name="corpora/other", embedder="nowhere/none"))
        _add(writer, "a", b"The tide comes in twice a day.", uri="a.txt")
        writer.finish()
    refused = headwater("corpora", "import", path, target=server.target)
    assert refused.returncode == 1
    assert "nowhere/none" in refused.stderr
    assert '--embedder ""' in refused.stderr
    with Client(server.target) as client:
        with pytest.raises(NotFound):
            client.corpora.get("other")
        done = headwater("corpora", "import", path, "--embedder", "", target=server.target)
        assert done.returncode == 0, done.stderr
        assert client.corpora.get("other").embedder == client.corpora.get("harbour").embedder


def test_an_export_replaces_no_file_by_accident_and_leaves_no_half_one(
    server: ServerProcess, archive: Path, tmp_path: Path
) -> None:
    (tmp_path / "harbour.tar").write_text("precious")
    done = headwater("corpora", "export", "harbour", target=server.target, cwd=tmp_path)
    assert done.returncode == 1
    assert "--force replaces it" in done.stderr
    assert (tmp_path / "harbour.tar").read_text() == "precious"
    missing = headwater("corpora", "export", "nowhere", target=server.target, cwd=tmp_path)
    assert missing.returncode == 1
    forced = headwater("corpora", "export", "harbour", "--force", target=server.target, cwd=tmp_path)
    assert forced.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["harbour.tar"]
    assert (tmp_path / "harbour.tar").read_bytes() == archive.read_bytes()


def test_an_import_that_was_interrupted_goes_on(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "many.tar"
    with path.open("wb") as file:
        writer = ArchiveWriter(file, document_pb2.Corpus(name="corpora/many"))
        for number in range(60):
            text = f"Buoy number{number:03d} is painted in colour{number * 31}. " * 20
            _add(writer, f"b{number:03d}", text.encode())
        writer.finish()
    with started("corpora", "import", path, target=server.target) as importing, Client(server.target) as client:
        _until(lambda: len(_names(client, "many")) >= 5)
        importing.send_signal(signal.SIGINT)
        assert importing.wait(TIME_LIMIT_S) == 130
        before = len(_names(client, "many"))
        assert before < 60
        done = headwater("corpora", "import", path, target=server.target)
        assert done.returncode == 0, done.stderr
        assert len(_names(client, "many")) == 60


def _names(client: Client, corpus: str) -> list[str]:
    try:
        return [document.name for document in client.documents.list(corpus)]
    except NotFound:
        return []


def _until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(TIME_LIMIT_S * 20):
        if condition():
            return
        waiting.wait(0.05)
    pytest.fail("it did not happen in time")


def _add(writer: ArchiveWriter, document_id: str, content: bytes, **fields: object) -> None:
    document = document_pb2.Document(
        name=f"corpora/x/documents/{document_id}",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        **fields,  # type: ignore[arg-type]  # fields of a document, as the caller knows
    )
    writer.add(document, [content])


def archived(*documents: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    writer = ArchiveWriter(file, document_pb2.Corpus(name="corpora/x", labels={"a": "b"}))
    for document_id, content in documents:
        _add(writer, document_id, content, title=document_id)
    writer.finish()
    return file.getvalue()


def tar_of(*entries: tuple[str, bytes] | tarfile.TarInfo, end: bytes = bytes(1024)) -> bytes:
    file = io.BytesIO()
    for entry in entries:
        if isinstance(entry, tarfile.TarInfo):
            file.write(entry.tobuf(tarfile.USTAR_FORMAT))
            continue
        name, data = entry
        header = tarfile.TarInfo(name)
        header.size = len(data)
        file.write(header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
    return file.getvalue() + end


def read_all(data: bytes) -> list[tuple[str, bytes]]:
    return [(each.document_id, each.content.read()) for each in ArchiveReader(io.BytesIO(data)).documents()]


HEAD = (
    "corpus.json",
    json.dumps({"format": "headwater-corpus", "version": 1, "corpus": {"name": "corpora/x"}}).encode(),
)
DOCUMENT = json.dumps({"size_bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}).encode()
ONE = (("documents/a/document.json", DOCUMENT), ("documents/a/content", b"x"))
END = ("end.json", b'{"documents":1}')


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def large(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "cut off"),
    "a text": (b"The harbour is closed. " * 100, "not an archive"),
    "another tar": (tar_of(("etc/passwd", b"root")), "not an archive"),
    "a newer version": (
        tar_of(("corpus.json", json.dumps({"format": "headwater-corpus", "version": VERSION + 1}).encode())),
        "newer Headwater",
    ),
    "a path out of the archive": (tar_of(HEAD, ("documents/../../x/document.json", DOCUMENT)), "does not belong"),
    "an absolute path": (tar_of(HEAD, ("/etc/passwd", b"root")), "does not belong"),
    "a link": (tar_of(HEAD, link("documents/a/document.json", "/etc/passwd")), "no plain file"),
    "a hard link": (tar_of(HEAD, link("documents/a/document.json", "x", tarfile.LNKTYPE)), "no plain file"),
    "a device": (tar_of(HEAD, link("documents/a/document.json", "", tarfile.CHRTYPE)), "no plain file"),
    "huge JSON": (tar_of(HEAD, large("documents/a/document.json", 2**30)), "too large"),
    "huge content": (tar_of(HEAD, ONE[0], large("documents/a/content", 2**33 - 1)), "too large"),
    "deep JSON": (tar_of(HEAD, ("documents/a/document.json", b'{"a":' * 200_000)), "not JSON"),
    "a document twice": (tar_of(HEAD, *ONE, *ONE, END), "twice"),
    "content of another": (tar_of(HEAD, ONE[0], ("documents/b/content", b"x"), END), "not where it belongs"),
    "content of another size": (tar_of(HEAD, ONE[0], ("documents/a/content", b"xx"), END), "not where it belongs"),
    "a wrong checksum": (tar_of(HEAD, ONE[0], ("documents/a/content", b"y"), END), "checksum is wrong"),
    "no checksum": (tar_of(HEAD, ("documents/a/document.json", b'{"size_bytes":1}'), ONE[1], END), "does not say"),
    "fields of the server's": (tar_of(HEAD, ("documents/a/document.json", b'{"state":3}')), "do not belong"),
    "a value of another type": (tar_of(HEAD, ("documents/a/document.json", b'{"title":3}')), "not as it must be"),
    "no end": (tar_of(HEAD, *ONE, end=b""), "cut off"),
    "too few documents": (tar_of(HEAD, END), "says that it has 1"),
    "something after its end": (tar_of(HEAD, *ONE, END, ("more", b"x")), "goes on"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_imported_of_an_archive_that_is_not_right(server: ServerProcess, tmp_path: Path, name: str) -> None:
    data, reason = HOSTILE[name]
    path = tmp_path / "hostile.tar"
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=reason):
        read_all(data)
    if name in {"a wrong checksum", "a newer version", "no end"}:  # the command does the same with each
        before = os.listdir(tmp_path)  # noqa: PTH208  # names are all that is wanted
        done = headwater("corpora", "import", path, "--corpus", "hostile", target=server.target)
        assert done.returncode == 1
        assert reason in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert os.listdir(tmp_path) == before  # noqa: PTH208  # as above
        with Client(server.target) as client, pytest.raises(NotFound):
            client.corpora.get("hostile")


@given(st.data())
def test_no_damage_goes_unnoticed(data: st.DataObject) -> None:
    """A flipped bit or a cut anywhere is noticed, or is in what nobody reads: an entry's owner or time."""
    whole = archived(("a", b"The tide comes in twice a day."), ("b", b""), ("c", b"x" * 600))
    expected = read_all(whole)
    damaged = bytearray(whole)
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(whole) - 1))
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del damaged[data.draw(st.integers(0, len(whole) - 1)) :]
    try:
        found = read_all(bytes(damaged))
    except ArchiveError:
        return
    assert [content for _, content in found] == [content for _, content in expected]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}", fullmatch=True),
        st.tuples(st.binary(max_size=2000), TEXT, st.dictionaries(TEXT.filter(bool), st.floats(allow_nan=False))),
        max_size=5,
    )
)
def test_whatever_is_written_is_read_as_it_was(documents: dict[str, tuple[bytes, str, dict[str, float]]]) -> None:
    file = io.BytesIO()
    writer = ArchiveWriter(file, document_pb2.Corpus(name="corpora/x", display_name="x"))
    wanted = []
    for document_id, (content, title, metadata) in sorted(documents.items()):
        values = {key: filter_pb2.MetadataValue(double_value=value) for key, value in metadata.items()}
        _add(writer, document_id, content, title=title, metadata=values)
        wanted.append((document_id, content, title, values))
    writer.finish()
    file.seek(0)
    reader = ArchiveReader(file)
    assert reader.corpus == document_pb2.Corpus(name="corpora/x", display_name="x")
    assert [_read(each) for each in reader.documents()] == wanted


def _read(each: ArchivedDocument) -> tuple[str, bytes, str, dict[str, filter_pb2.MetadataValue]]:
    return each.document_id, each.content.read(), each.document.title, dict(each.document.metadata)


def test_what_is_asked_for_is_what_is_read() -> None:
    """A document whose content nobody reads is passed over, and verified all the same."""
    whole = archived(("a", b"x" * 3000), ("b", b"y"))
    assert [each.document_id for each in ArchiveReader(io.BytesIO(whole)).documents()] == ["a", "b"]
    damaged = whole.replace(b"x" * 3000, b"x" * 2999 + b"z")
    with pytest.raises(ArchiveError, match="checksum"):
        _consume(ArchiveReader(io.BytesIO(damaged)).documents())


def _consume(documents: Iterable[object]) -> None:
    for _ in documents:
        pass
