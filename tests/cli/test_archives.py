from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater._cli import archives
from headwater._cli.archives import Archive, ArchiveRefused, Entry
from headwater._cli.jobs import Job, find_jobs
from headwater._cli.left_out import LeftOut

Fill = Callable[[zipfile.ZipFile], object]


def make_zip(path: Path, fill: Fill, *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        fill(archive)
    return path


def with_texts(*names: str) -> Fill:
    def fill(archive: zipfile.ZipFile) -> None:
        for name in names:
            archive.writestr(name, f"the text of {name}")

    return fill


def documents(path: Path, left_out: LeftOut | None = None) -> list[Entry]:
    return list(Archive(path).documents(left_out or LeftOut()))


def read(archive: Archive, entry: Entry) -> bytes:
    with archive.open(entry) as file:
        return file.read()


def test_documents_come_by_the_rules_of_a_folder(tmp_path: Path) -> None:
    names = ("b/z.md", "a.txt", "picture.png", ".hidden.txt", "__MACOSX/._a.txt", "node_modules/x.md", "inner.zip")
    left_out = LeftOut()
    path = make_zip(tmp_path / "docs.zip", with_texts("folder/", *names))
    assert [entry.name for entry in documents(path, left_out)] == ["b/z.md", "a.txt"]
    assert left_out.kinds == {".png": 1, ".zip": 1}
    assert left_out.files == {"hidden": 2, "software": 1}


def test_an_entry_is_read_whole_and_again_from_its_beginning(tmp_path: Path) -> None:
    archive = Archive(make_zip(tmp_path / "docs.zip", with_texts("a.txt")))
    (entry,) = archive.documents(LeftOut())
    with archive.open(entry) as file:
        assert file.seekable()
        assert file.read(5) == b"the t"
        file.seek(0)
        assert file.read() == b"the text of a.txt"
        assert file.read() == b""


def test_many_threads_may_read_one_archive(tmp_path: Path) -> None:
    names = [f"{number:03}.txt" for number in range(200)]
    archive = Archive(make_zip(tmp_path / "docs.zip", with_texts(*names)))
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda entry: read(archive, entry), archive.documents(LeftOut())))
    assert contents == [f"the text of {name}".encode() for name in names]


def test_jobs_name_the_archive_and_the_entry_and_have_the_same_ids_each_time(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "docs.zip", with_texts("a/b.txt", "b.txt"))
    make_zip(tmp_path / "more.zip", with_texts("a/b.txt"))
    jobs = list(find_jobs([tmp_path], LeftOut()))
    assert [job.uri for job in jobs] == [f"{path}!/a/b.txt", f"{path}!/b.txt", f"{tmp_path}/more.zip!/a/b.txt"]
    assert len({job.document_id for job in jobs}) == 3
    assert all(job.document_id.startswith("b.txt-") for job in jobs)
    assert jobs == list(find_jobs([path, tmp_path], LeftOut()))


@pytest.mark.parametrize("name", ["../up.txt", "/etc/up.txt", "C:\\up.txt", "a/../../up.txt", "..\\up.txt"])
def test_names_that_lead_out_of_the_archive_are_told_of(tmp_path: Path, name: str) -> None:
    path = make_zip(tmp_path / "docs.zip", with_texts(name, "a.txt"))
    faults = {entry.name: entry.fault for entry in documents(path)}
    assert faults.pop("a.txt") == ""
    assert list(faults.values()) == ["its name leads out of the archive"]


def test_folders_may_be_separated_by_backslashes(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "docs.zip", with_texts("a\\b.txt"))
    assert [entry.name for entry in documents(path)] == ["a/b.txt"]


def test_names_in_utf_8_that_do_not_say_so_are_read_as_utf_8(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "docs.zip", with_texts("caf\xe9.txt"))
    data = path.read_bytes()
    for signature, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + flags_at
        data = data[:at] + b"\0\0" + data[at + 2 :]
    path.write_bytes(data)
    (entry,) = documents(path)
    assert entry.name == "caf\xe9.txt"
    assert read(Archive(path), entry) == "the text of café.txt".encode()


def test_symbolic_links_are_left_out(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    left_out = LeftOut()
    path = make_zip(tmp_path / "docs.zip", lambda archive: archive.writestr(link, "/etc/passwd"))
    assert documents(path, left_out) == []
    assert left_out.files == {"symbolic link": 1}


def test_of_two_entries_with_one_name_the_last_is_meant(tmp_path: Path) -> None:
    def fill(archive: zipfile.ZipFile) -> None:
        archive.writestr("a.txt", "first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.txt", "second")

    archive = Archive(make_zip(tmp_path / "docs.zip", fill))
    left_out = LeftOut()
    (entry,) = archive.documents(left_out)
    assert read(archive, entry) == b"second"
    assert left_out.files == {"replaced by a later entry": 1}


def test_an_encrypted_entry_says_what_to_do(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "docs.zip", with_texts("a.txt", "b.txt"))
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02") + 8
    path.write_bytes(data[:at] + b"\x01\x00" + data[at + 2 :])
    locked, open_ = documents(path)
    assert "encrypted: unpack the archive with its password" in locked.fault
    assert open_.fault == ""


def test_an_entry_that_is_packed_otherwise_says_so(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "docs.zip", with_texts("a.txt"), method=zipfile.ZIP_BZIP2)
    (entry,) = documents(path)
    assert "compressed by bzip2, which is not read" in entry.fault


def test_a_damaged_entry_is_an_error_that_names_the_damage(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "docs.zip", with_texts("a.txt"), method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"the text", b"THE TEXT"))
    archive = Archive(path)
    (entry,) = archive.documents(LeftOut())
    with pytest.raises(OSError, match="damaged in the archive: Bad CRC-32"):
        read(archive, entry)


def test_an_entry_that_unpacks_to_far_more_than_it_is_is_not_read(tmp_path: Path) -> None:
    def fill(archive: zipfile.ZipFile) -> None:
        archive.writestr("bomb.txt", bytes(archives.LARGE_BYTES + 1))
        archive.writestr("small.txt", bytes(100_000))

    bomb, small = documents(make_zip(tmp_path / "docs.zip", fill))
    assert f"unpacks to {archives.LARGE_BYTES + 1:,}" in bomb.fault
    assert small.fault == ""


def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGE_TOTAL_BYTES", 1_000_000)

    def fill(archive: zipfile.ZipFile) -> None:
        for number in range(9):
            archive.writestr(f"{number}.txt", bytes(500_000))

    path = make_zip(tmp_path / "docs.zip", fill)
    with pytest.raises(ArchiveRefused, match="unpacks to 4,500,000"):
        Archive(path)


def test_too_many_entries_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_ENTRIES", 5)
    path = make_zip(tmp_path / "docs.zip", with_texts(*(f"{number}.txt" for number in range(6))))
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArchiveRefused, match="more than 5 entries"):
        Archive(path)


def test_a_table_of_contents_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "docs.zip", with_texts("a.txt"))
    data = path.read_bytes()
    at = data.rindex(b"PK\x05\x06") + 12
    path.write_bytes(data[:at] + struct.pack("<L", archives.MOST_DIRECTORY_BYTES + 1) + data[at + 4 :])
    with pytest.raises(ArchiveRefused, match="table of contents"):
        Archive(path)


@pytest.mark.slow
def test_a_million_entries_are_refused(tmp_path: Path) -> None:
    record = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)
    directory = b"".join(record + b"%05d" % (number % 100_000) for number in range(1_000_000))
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, len(directory), 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path = tmp_path / "million.zip"
    path.write_bytes(directory + end_64 + locator + end)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.infolist()) == 1_000_000
    with pytest.raises(ArchiveRefused, match="more than 100,000 entries"):
        Archive(path)


def test_an_archive_with_64_bit_sizes_is_read(tmp_path: Path) -> None:
    def fill(archive: zipfile.ZipFile) -> None:
        with archive.open("a.txt", "w", force_zip64=True) as file:
            file.write(b"text")

    archive = Archive(make_zip(tmp_path / "docs.zip", fill))
    assert [read(archive, entry) for entry in archive.documents(LeftOut())] == [b"text"]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short", b"PK\x05\x06"])
def test_what_is_no_archive_is_one_job_with_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.zip"
    path.write_bytes(content)
    (job,) = find_jobs([path], LeftOut())
    assert job == Job(path, job.document_id, fault=job.fault)
    assert job.fault.startswith("the archive is damaged, or none: ")


@given(data=st.data())
def test_a_damaged_archive_is_refused_or_read_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "some text, more text, and text again")
        archive.writestr("b/c.md", "# Heading\n\nText.")
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "docs.zip"
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    for job in find_jobs([path], LeftOut()):
        assert job.fault or what_reading_says(job) in {"", "damaged"}


def what_reading_says(job: Job) -> str:
    try:
        with job.open() as file:
            file.read()
    except OSError as error:
        return "damaged" if "damaged" in str(error) else str(error)
    return ""
