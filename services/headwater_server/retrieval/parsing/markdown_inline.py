"""Taking the inline markup off a paragraph of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token

# The inline parser's time grows with the square of some inputs; no paragraph written by a person is like this.
_MAX_LENGTH = 20_000
_MAX_BRACKETS = 200

_MARKUP = re.compile(r"[\\`*_\[\]<&!]")
_LINE_EDGES = re.compile(r"[ \t]*\n[ \t]*")
_BREAK_TAG = re.compile(r"<br\s*/?>", re.I)


class InlineReader:
    """Reads inline Markdown as text: of a link its text, of an image its description, of code the code."""

    def __init__(self, markdown: MarkdownIt, environment: dict[str, object]) -> None:
        self._markdown = markdown
        self._environment = environment  # where the block parser put the link definitions

    def text(self, content: str) -> str:
        """Return the text of a paragraph's source. Its newlines stay newlines, but for those within markup."""
        if not _MARKUP.search(content) or len(content) > _MAX_LENGTH or content.count("[") > _MAX_BRACKETS:
            return _LINE_EDGES.sub("\n", content)
        tokens: list[Token] = []
        self._markdown.inline.parse(content, self._markdown, self._environment, tokens)
        return "".join(_texts(tokens))


def _texts(tokens: Iterable[Token]) -> Iterable[str]:
    for token in tokens:
        match token.type:
            case "text" | "text_special" | "code_inline":
                yield token.content
            case "softbreak" | "hardbreak":
                yield "\n"
            case "image":
                yield from _texts(token.children or ())
            case "html_inline":
                yield " " if _BREAK_TAG.match(token.content) else "\n" * token.content.count("\n")
