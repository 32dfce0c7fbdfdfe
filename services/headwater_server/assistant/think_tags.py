"""Reasoning that a server leaves in the text, between `<think>` and `</think>` at its start.

Off unless a provider's settings say `think_tags = true`: servers that know a model's template (llama.cpp, vLLM, SGLang,
LM Studio, the hosted APIs) tell its reasoning apart themselves, so that a tag which is still in the text may be what
the model wanted to say.
"""

from __future__ import annotations

from enum import Enum, auto

from headwater_server.assistant.protocol import Reasoning, Text

_OPEN = "<think>"
_CLOSE = "</think>"
_MAX_BLANKS = 64


class _Where(Enum):
    BEFORE = auto()
    INSIDE = auto()
    BETWEEN = auto()
    AFTER = auto()


class ThinkTags:
    """Splits a text, given in pieces, into reasoning and text. The tags and the blanks around them go away."""

    def __init__(self) -> None:
        self._where = _Where.BEFORE
        self._held = ""

    def feed(self, text: str) -> list[Reasoning | Text]:
        """Takes the next piece; returns what is certain."""
        self._held += text
        events: list[Reasoning | Text] = []
        if self._where is _Where.BEFORE:
            self._look_for_opening()
        if self._where is _Where.INSIDE:
            events += self._reason()
        if self._where is _Where.BETWEEN:
            self._held = self._held.lstrip()
            self._where = _Where.AFTER if self._held else _Where.BETWEEN
        if self._where is _Where.AFTER and self._held:
            events.append(Text(self._held))
            self._held = ""
        return events

    def finish(self) -> list[Reasoning | Text]:
        """Returns what was held back, when the text has ended."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [Reasoning(held)] if self._where is _Where.INSIDE else [Text(held)]

    def _look_for_opening(self) -> None:
        text = self._held.lstrip()
        if text.startswith(_OPEN):
            self._held = text.removeprefix(_OPEN)
            self._where = _Where.INSIDE
        elif not _OPEN.startswith(text) or len(self._held) - len(text) > _MAX_BLANKS:
            self._where = _Where.AFTER

    def _reason(self) -> list[Reasoning | Text]:
        before, close, after = self._held.partition(_CLOSE)
        if close:
            self._where = _Where.BETWEEN
            self._held = after
            return [Reasoning(before)] if before else []
        certain = len(self._held) - _overlap(self._held, _CLOSE)
        before, self._held = self._held[:certain], self._held[certain:]
        return [Reasoning(before)] if before else []


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of the text may be the beginning of the tag."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)
