"""From a citation's bytes to Python's indices, and to numbers in the text."""

from __future__ import annotations

from collections.abc import Iterable

from headwater._answer_base import AnswerBase
from headwater._exceptions import ArgumentError
from headwater.v1 import answer_pb2


def citation_span(text: str, citation: answer_pb2.Citation) -> tuple[int, int]:
    """Where a citation's span stands in the text: `text[start:end]` is what it covers.

    Args:
        text: The answer's text.
        citation: One of its citations, whose offsets are bytes of UTF-8.

    Returns:
        The first index, and the index after the last.

    Raises:
        ArgumentError: The citation is not one of this text.
    """
    encoded = text.encode()
    if not 0 <= citation.start_byte <= citation.end_byte <= len(encoded):
        raise ArgumentError(
            f"bytes {citation.start_byte} to {citation.end_byte} are not in a text of {len(encoded)} bytes"
        )
    try:
        start = len(encoded[: citation.start_byte].decode())
        return start, start + len(encoded[citation.start_byte : citation.end_byte].decode())
    except UnicodeDecodeError:
        raise ArgumentError(
            f"bytes {citation.start_byte} to {citation.end_byte} begin or end inside a character of the text"
        ) from None


def render_citations(text: str, citations: Iterable[answer_pb2.Citation]) -> str:
    """The text with the numbers of the sources after each span that rests on them, as in `30 days [2][5]`.

    The numbers are the ids of the sources. A number is not repeated where the same span is cited twice.

    Raises:
        ArgumentError: A citation is not one of this text.
    """
    marks: dict[int, dict[str, None]] = {}
    for citation in citations:
        _, end = citation_span(text, citation)
        marks.setdefault(end, {}).update(dict.fromkeys(evidence.source_id for evidence in citation.evidence))
    pieces = []
    position = 0
    for end in sorted(marks):
        numbers = "".join(f"[{number}]" for number in sorted(marks[end], key=_numeric))
        pieces += [text[position:end], "" if text[:end].endswith((" ", "\n")) else " ", numbers]
        position = end
    return "".join([*pieces, text[position:]])


def render_with_citations(answer: AnswerBase | answer_pb2.Answer) -> str:
    """The text of a finished answer with the numbers of its sources, as `render_citations` has them.

    Args:
        answer: An `Answer` or `AsyncAnswer` that has been read to its end, or the protobuf message.

    Raises:
        AnswerNotFinished: The answer has not been read to its end.
    """
    message = answer.message if isinstance(answer, AnswerBase) else answer
    return render_citations(message.text, message.citations)


def _numeric(number: str) -> tuple[int, str]:
    return (int(number) if number.isdecimal() else 0, number)
