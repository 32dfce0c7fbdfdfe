"""The fenced blocks and the links of a Markdown page.

What becomes of a fence is said by its first line:

- `python`: run, all of a page in order and in one namespace, against a real server (`HEADWATER_TARGET`);
- `bash`: run likewise, in the repository's root, with `headwater` as a command;
- `text output`, `json output`: what the block before it printed; `…` in it stands for anything;
- `toml`: settings that `headwater serve --config` takes; one with a table `project` is only parsed;
- `json`: parsed;
- `python no-run`: compiled and not run;
- `console`, `text`, `go`, `typescript`, `protobuf`, `jinja`, or nothing: only shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

RUN = frozenset({"python", "bash"})
SHOWN = frozenset({"console", "text", "go", "typescript", "protobuf", "jinja", ""})
KNOWN = RUN | SHOWN | {"toml", "json"}

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^ *(?P=ticks) *$", re.DOTALL | re.MULTILINE
)
_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]\((?P<target>[^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#* *$", re.MULTILINE)


def page_id(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True, slots=True)
class Fence:
    """One fenced block."""

    page: Path
    line: int
    """The line of its first line of code."""
    language: str
    flags: tuple[str, ...]
    code: str

    @property
    def where(self) -> str:
        """Where it stands, for messages."""
        return f"{page_id(self.page)}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether it is run."""
        return self.language in RUN and "no-run" not in self.flags

    @property
    def is_output(self) -> bool:
        """Whether it shows what the block before it printed."""
        return "output" in self.flags


def fences(page: Path) -> Iterator[Fence]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        language, *flags = match["info"].split() or [""]
        indent = len(match["indent"])
        code = "".join(line[indent:] if not line[:indent].strip() else line for line in match["code"].splitlines(True))
        yield Fence(page, text.count("\n", 0, match.start("code")) + 1, language, tuple(flags), code)


def prose(page: Path) -> str:
    """A page without its fences."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[str]:
    """Where a page links to."""
    for match in _LINK.finditer(_SPAN.sub("code", prose(page))):
        yield match["target"]


def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for match in _HEADING.finditer(prose(page)):
        slug = re.sub(r"[^\w\- ]", "", match["text"].lower()).strip().replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return frozenset(
        slug if number == 0 else f"{slug}-{number}" for slug, last in found.items() for number in range(last + 1)
    )
