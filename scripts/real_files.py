"""Assembles a folder of real files of many kinds from Debian's documentation packages, to try imports with.

    python scripts/real_files.py FOLDER            some 4,000 files, half of them documents, from 39 packages (60 MB)
    headwater import FOLDER --corpus real

Needs `apt-get` and `dpkg-deb`, so Debian or one of its children; nothing is installed. Of each package it takes a
bounded number of files of each ending, spread over all that there are, so that no kind crowds out the others. What
Debian has compressed alone (`policy.pdf.gz`) is unpacked; one package becomes a ZIP archive. FOLDER/packages.tsv says
which package and version gave how many files: releases differ, and so will the files.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path

PACKAGES = tuple(
    """
    debian-policy developers-reference debmake-doc debian-faq debian-faq-de debian-faq-ru aptitude-doc-ja
    docutils-doc git-doc bash-doc perl-doc writer2latex-manual python-odf-doc python3-odf python3-docx
    r-cran-readxl r-cran-openxlsx r-cran-officer r-cran-readr libexcel-writer-xlsx-perl
    spamassassin iso-codes gnuplot-doc graphviz-doc ghostscript-doc texlive-fonts-recommended-doc
    libpython3.11-testsuite golang-github-spf13-cobra-dev libjs-jquery-ui-docs unrtf sqlite3-doc postgresql-doc-15
    asciidoctor-doc xmlstarlet lynx mutt python-nbconvert-doc docbook-website epubcheck
""".split()  # noqa: SIM905 (forty quoted names are no easier to read)
)
ZIPPED = "docutils-doc"
"""The package whose files come as an archive."""
_UNPACKED_ENDINGS = {".pdf", ".txt", ".html", ".epub", ".odt", ".csv", ".xml", ".md", ".rst", ".tex"}
_MOST_BYTES = 32 * 1024 * 1024


def main() -> int:
    """Assembles the folder."""
    parser = argparse.ArgumentParser(description="Assemble real files from Debian's documentation packages.")
    parser.add_argument("folder", type=Path, help="a folder that does not exist yet, or is empty")
    parser.add_argument("--most", type=int, default=60, help="files of one ending from one package at most")
    parser.add_argument("packages", nargs="*", default=list(PACKAGES), help="the packages; a list of our own if none")
    options = parser.parse_args()
    if options.folder.exists() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty")
    options.folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for package in options.packages:
        with tempfile.TemporaryDirectory() as name:
            version = download(package, Path(name))
            count = take(Path(name), options.folder / package, most=options.most) if version else 0
        if package == ZIPPED and count:
            pack(options.folder / package)
        print(f"{package} {version or 'cannot be had'}: {count} files", flush=True)
        lines.append(f"{package}\t{version}\t{count}\n")
    (options.folder / "packages.tsv").write_text("package\tversion\tfiles\n" + "".join(lines))
    return 0


def download(package: str, folder: Path) -> str:
    """Unpacks a package into a folder, and returns its version; empty if it cannot be had."""
    fetched = subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=False, capture_output=True)
    archives = list(folder.glob("*.deb"))
    if fetched.returncode or not archives:
        return ""
    subprocess.run(["dpkg-deb", "-x", archives[0], folder / "root"], check=True)
    shown = subprocess.run(["dpkg-deb", "-f", archives[0], "Version"], check=True, capture_output=True, text=True)
    archives[0].unlink()
    return shown.stdout.strip()


def take(source: Path, target: Path, *, most: int) -> int:
    """Copies files, so many of each ending, and returns how many; executables and links stay."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    root = source / "root"
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or not 0 < path.stat().st_size <= _MOST_BYTES:
            continue
        if path.is_relative_to(root / "usr") and "bin" not in path.parts:
            kinds["".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix.lower()].append(path)
    count = 0
    for paths in kinds.values():
        for path in paths[:: -(-len(paths) // most)]:
            copy(path, target / path.relative_to(root / "usr"))
            count += 1
    return count


def copy(path: Path, target: Path) -> None:
    """Copies a file, unpacked if it is a document that was compressed alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz" and path.with_suffix("").suffix.lower() in _UNPACKED_ENDINGS:
        with gzip.open(path) as packed, target.with_suffix("").open("wb") as file:
            shutil.copyfileobj(packed, file)
    else:
        shutil.copyfile(path, target)


def pack(folder: Path) -> None:
    """Makes a ZIP archive of a folder, in its place."""
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
