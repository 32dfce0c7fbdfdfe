"""An answer's text as it is shown while it comes: with the numbers of its sources where they fall."""

from __future__ import annotations

from headwater.v1 import answer_pb2


class CitedText:
    """Puts `[1]` behind the text that rests on source 1.

    A citation comes after the text that it covers, as a rule right after it. White space at the end of what has come is
    held back until it is known whether a number belongs before it. A citation that comes later, when more text has been
    given already, is put at the end of that text.

    Each method returns what is to be written now.
    """

    def __init__(self) -> None:
        self._held = ""
        self._marks: list[str] = []

    def text(self, piece: str) -> str:
        """Takes a piece of text."""
        written = self._written_marks() + self._held + piece
        kept = written.rstrip()
        self._held = written[len(kept) :]
        return kept

    def citation(self, citation: answer_pb2.Citation) -> str:
        """Takes a citation. It is written with what comes next, together with others of the same place."""
        for evidence in citation.evidence:
            if evidence.source_id not in self._marks:
                self._marks.append(evidence.source_id)
        return ""

    def end(self) -> str:
        """Takes the end of the answer. White space at its very end is left out."""
        return self._written_marks()

    def _written_marks(self) -> str:
        marks = "".join(f"[{number}]" for number in sorted(self._marks, key=_numeric))
        self._marks.clear()
        return f" {marks}" if marks else ""


def _numeric(number: str) -> tuple[int, str]:
    return (int(number) if number.isdecimal() else 0, number)
