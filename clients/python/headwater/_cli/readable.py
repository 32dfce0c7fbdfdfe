"""Which files of a folder are documents, by their names."""

from __future__ import annotations

import re

_TEXT = """
    .txt .text .log .md .markdown .mdown .mkd .rst .rest .adoc .asciidoc .tex .ltx .org
    .html .htm .xhtml .xml .rss .atom .dbk
    .csv .tsv .tab .json .geojson .jsonld .jsonl .ndjson .ipynb
"""
_CODE = """
    .py .pyi .pyw .pyx .pxd .c .h .cc .cpp .cxx .hh .hpp .hxx .cu .ino .cs .java .kt .kts .scala .sc .groovy .gradle
    .js .mjs .cjs .jsx .ts .tsx .mts .cts .vue .svelte .go .rs .zig .swift .m .mm .dart .rb .rake .gemspec .php
    .pl .pm .t .pod .lua .tcl .r .jl .hs .lhs .ml .mli .fs .fsi .fsx .ex .exs .erl .hrl .lisp .lsp .el .scm .ss .rkt
    .clj .cljs .cljc .edn .nim .f .for .f90 .f95 .f03 .f08 .pas .dpr .adb .ads .cob .cbl .bas .vb .vbs .s .asm
    .v .sv .vhd .vhdl .sh .bash .zsh .fish .ksh .ps1 .psm1 .psd1 .bat .cmd .awk .vim .sql .ddl .graphql .gql
    .proto .thrift .avdl .css .scss .sass .less .cmake .mk .mak .make .tf .tfvars .hcl .yaml .yml .toml
    .ini .cfg .conf .properties
"""
_OFFICE = """
    .pdf .docx .docm .dotx .dotm .pptx .pptm .ppsx .ppsm .potx .potm .xlsx .xlsm .xltx .xltm .odt .ott .epub .rtf .eml
"""

TEXT = frozenset(f"{_TEXT} {_CODE}".split())
"""The endings of text files, which binary files have as well."""
READABLE = TEXT | frozenset(_OFFICE.split())
"""The endings of files that a folder's import takes. A file that is named itself is left to the server to judge."""

ARCHIVES = frozenset({".zip"})
"""The endings of archives that are entered like folders."""

_NAMES = frozenset(
    {
        "changelog",
        "copyright",
        "containerfile",
        "dockerfile",
        "gemfile",
        "jenkinsfile",
        "makefile",
        "rakefile",
        "vagrantfile",
    }
)
_TITLE = re.compile(r"[A-Z][A-Z0-9_-]{2,}")
_LOCK_FILES = frozenset(
    {
        "bun.lock",
        "cargo.lock",
        "composer.lock",
        "deno.lock",
        "flake.lock",
        "gemfile.lock",
        "go.sum",
        "npm-shrinkwrap.json",
        "package-lock.json",
        "packages.lock.json",
        "pipfile.lock",
        "pnpm-lock.yaml",
        "poetry.lock",
        "uv.lock",
        "yarn.lock",
    }
)
_MINIFIED = (".min.js", "-min.js", ".min.mjs", ".min.css", "-min.css", ".bundle.js", ".min.html")

HIDDEN = "hidden"
LOCK_FILE = "lock file"
MINIFIED = "minified"


def ending(name: str) -> str:
    """The ending of a file's name with its dot, in lower case. Empty: it has none, or nothing stands before it."""
    stem, dot, last = name.rpartition(".")
    return f".{last.lower()}" if stem.strip(".") and dot and last else ""


def is_document(name: str) -> bool:
    """Whether a file of a folder is taken for a document, by its name.

    Without an ending it is one if it is called as documents are: `README` and other names in capitals, `copyright`.
    """
    suffix = ending(name)
    if suffix:
        return suffix in READABLE
    return name.lower() in _NAMES or _TITLE.fullmatch(name) is not None


def no_document(name: str) -> str:
    """Why a file of a folder is not for readers, whatever its ending: `HIDDEN`, … Empty: it may be."""
    lower = name.lower()
    if name.startswith("."):
        return HIDDEN
    if lower in _LOCK_FILES:
        return LOCK_FILE
    return MINIFIED if lower.endswith(_MINIFIED) else ""
