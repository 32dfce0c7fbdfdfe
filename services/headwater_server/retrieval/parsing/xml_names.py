"""What elements mean whose names are used alike in many vocabularies: DocBook, DITA, TEI, JATS, RSS."""

from __future__ import annotations

HEADINGS = frozenset({"title", "head", "heading", "h1", "h2", "h3", "h4", "h5", "h6"})
PROSE = frozenset(
    {"p", "para", "simpara", "formalpara", "li", "listitem", "entry", "td", "th", "dd", "dt", "caption", "verse"}
    | {"bridgehead", "subtitle", "shortdesc", "stentry"}
)
"""Elements whose text needs no name before it."""
PREFORMATTED = frozenset(
    {"programlisting", "screen", "literallayout", "synopsis", "pre", "preformat", "codeblock", "verbatim", "eg"}
)
NOISE = frozenset({"id", "class", "style", "href", "src", "lang", "space", "base", "role", "rend", "schemalocation"})
"""Attributes that say nothing to a reader."""
