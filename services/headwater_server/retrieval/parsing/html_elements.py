"""The elements of HTML, by what they mean for reading a page as text."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What a reader does not see as text, and navigation, which is the same on every page ("-comment" is the tree's name).
DROPPED = _names("""
    head script style template noscript nav iframe frameset object embed canvas audio video svg
    select button input textarea datalist -comment
""")
PARAGRAPHS = _names("""
    address article aside blockquote body center details dialog dir div dl fieldset figcaption figure footer form
    header hgroup hr legend main menu ol p pre search section summary table ul
""")
LINES = _names("br caption dd dt li option tr")
LISTS = _names("ol ul menu dir")
CELLS = _names("td th")
HEADINGS = {f"h{level}": level for level in range(1, 7)}

# Formatting within a line, which text has none of.
INLINE = _names("""
    a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark nobr plaintext q rb rp rt rtc ruby s samp
    small span strike strong sub sup tt u var wbr
""")
VOID = _names("area base br col embed hr image img input link meta param source track")
# Elements that a parser closes by itself when the next of their kind opens: they do not pile up.
SELF_LIMITING = _names("html head body p li dt dd tr td th tbody thead tfoot caption colgroup option")
FOREIGN = _names("svg math")
