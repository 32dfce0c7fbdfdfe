"""The words and figures of charts and diagrams (SmartArt), as the files that PowerPoint keeps them in have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from pptx.oxml.ns import qn

from headwater_server.retrieval.parsing.limits import ParseLimits
from headwater_server.retrieval.parsing.number_formats import plain_number
from headwater_server.retrieval.parsing.text import one_line
from headwater_server.retrieval.parsing.xml_parts import Element, parse_xml

_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_D = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_MAX_SERIES = 100
_MAX_INDEX_DIGITS = 7


# python-pptx's part of a slide, by which what is in other files is found.
Part = Any


class Graphics:
    """Reads the charts and diagrams of a presentation, each once, however often it is referred to."""

    def __init__(self, limits: ParseLimits) -> None:
        self._limits = limits
        self._seen: set[str] = set()

    def read(self, frame: Element, part: Part) -> str:
        """Return the text of the chart or the diagram in a frame of a slide's part; empty if there is none."""
        for tag, attribute, to_text in ((f"{_C}chart", "r:id", chart_text), (f"{_D}relIds", "r:dm", diagram_text)):
            reference = next(frame.iter(tag), None)
            if reference is None:
                continue
            try:
                related = part.related_part(reference.get(qn(attribute)))
            except KeyError:  # nothing is there, and the slide says its part without it
                return ""
            if related.partname in self._seen:
                return ""
            self._seen.add(related.partname)
            return to_text(parse_xml(related.blob, limits=self._limits))
        return ""


def diagram_text(root: Element) -> str:
    """Return the texts of a diagram's data, a line each."""
    texts = (one_line("".join(text.text or "" for text in point.iter(f"{_A}t"))) for point in root.iter(f"{_D}t"))
    return "\n".join(f"- {text}" for text in texts if text)


def chart_text(root: Element) -> str:
    """Return a chart's titles, and its data as a table: a line a category, with a column a series."""
    titles = [one_line("".join(run.text or "" for run in title.iter(f"{_A}t"))) for title in root.iter(f"{_C}title")]
    lines = [title for title in titles if title]
    series = [_Series(element) for element in islice(root.iter(f"{_C}ser"), _MAX_SERIES)]
    if any(one.name for one in series):
        lines.append(" | ".join(["", *(one.name for one in series)]).strip())
    for index in sorted({index for one in series for index in one.values}):
        category = next((one.categories[index] for one in series if index in one.categories), "")
        lines.append(" | ".join([category, *(one.values.get(index, "") for one in series)]))
    return "\n".join(lines)


class _Series:
    def __init__(self, element: Element) -> None:
        self.name = one_line(" ".join(text for _, text in _points(element.iterchildren(f"{_C}tx"))))
        self.categories = dict(_points(element.iterchildren(f"{_C}cat", f"{_C}xVal")))
        self.values = dict(_points(element.iterchildren(f"{_C}val", f"{_C}yVal")))


def _points(elements: Iterable[Element]) -> Iterator[tuple[int, str]]:
    for element in elements:
        for point in element.iter(f"{_C}pt"):
            index, text = point.get("idx") or "", one_line(point.findtext(f"{_C}v") or "")
            if text and index.isdecimal() and len(index) <= _MAX_INDEX_DIGITS:
                yield int(index), plain_number(text)
