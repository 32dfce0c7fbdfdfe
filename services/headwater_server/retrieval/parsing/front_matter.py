"""The metadata block at the top of many Markdown files: YAML between `---` lines, or TOML between `+++` lines."""

from __future__ import annotations

import re
import tomllib

_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.*?)^(?:\1|\.\.\.)[ \t]*(?:\n|\Z)", re.M | re.S)
_YAML_TITLE = re.compile(r"^title[ \t]*:[ \t](.*)$", re.M | re.I)
# A thematic break at the top of a text looks the same; metadata has at least one key, and blank lines seldom.
_YAML_KEY = re.compile(r"^[A-Za-z_][\w.-]*[ \t]*:(?:[ \t]|$)", re.M)


def take_front_matter(text: str) -> tuple[str, str]:
    """Return the title in a text's front matter (empty if none), and the text with the front matter's lines blank.

    Blank, not gone: every other line keeps its number. Of YAML only a `title:` on one line is understood.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        return "", text
    title = _toml_title(match[2]) if match[1] == "+++" else _yaml_title(match[2])
    if title is None:
        return "", text
    return title, "\n" * text.count("\n", 0, match.end()) + text[match.end() :]


def _yaml_title(text: str) -> str | None:
    if not _YAML_KEY.search(text):
        return None
    title = _YAML_TITLE.search(text)
    return _unquoted(title[1].strip(" \t")) if title else ""


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 2 and value[0] in "\"'" and value[-1] == value[0]
    return value[1:-1] if is_quoted else value


def _toml_title(text: str) -> str | None:
    try:
        title = tomllib.loads(text).get("title", "")
    except tomllib.TOMLDecodeError:
        return None
    return title if isinstance(title, str) else ""
