"""Streams recorded from real providers, and what the manifest says must be found in each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from headwater.v1 import answer_pb2

SHARED = Path(os.environ.get("HEADWATER_SHARED", Path(__file__).parents[3] / "shared"))
MANIFEST = SHARED / "data/streams/manifest.json"

_APIS = {
    "anthropic": "anthropic",
    "cohere": "cohere",
    "gemini": "gemini",
    "gemini-array": "gemini",
    "mistral": "mistral",
    "ollama": "ollama",
    "openai-chat": "openai-chat",
    "openai-responses": "openai-responses",
}
_END_MARKS = {
    "anthropic": rb"message_stop",
    "cohere": rb'"message-end"',
    "gemini": rb'"finishReason"',
    "mistral": rb"\[DONE\]",
    "openai-chat": rb"\[DONE\]",
    "openai-responses": rb'"type":"response\.(?:completed|incomplete)"',
}
"""What stands in the event by which each protocol says that an answer has ended."""
_FINISH = {
    **dict.fromkeys(("stop", "completed", "end_turn", "STOP", "COMPLETE"), answer_pb2.FINISH_REASON_STOP),
    **dict.fromkeys(("length", "max_tokens", "MAX_TOKENS"), answer_pb2.FINISH_REASON_MAX_TOKENS),
    **dict.fromkeys(("stop_sequence", "STOP_SEQUENCE"), answer_pb2.FINISH_REASON_STOP_SEQUENCE),
    **dict.fromkeys(
        ("content_filter", "refusal", "SAFETY", "RECITATION", "PROHIBITED_CONTENT"),
        answer_pb2.FINISH_REASON_CONTENT_FILTER,
    ),
    "model_length": answer_pb2.FINISH_REASON_CONTEXT_LIMIT,
}


@dataclass(frozen=True)
class Recording:
    """One recorded body."""

    entry: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name, such as `anthropic/01`."""
        return str(self.entry["file"]).rpartition(".")[0]

    @property
    def provider(self) -> str:
        """Who said it."""
        return self.name.partition("/")[0]

    @property
    def protocol(self) -> str:
        """The form it is in."""
        return str(self.entry["protocol"])

    @property
    def api(self) -> str:
        """The API of ours that reads it."""
        return {"azure": "azure-openai", "perplexity": "perplexity"}.get(self.provider) or _APIS[self.protocol]

    @property
    def is_sse(self) -> bool:
        """Whether it is server-sent events."""
        return self.protocol not in {"ollama", "gemini-array"}

    @property
    def expected(self) -> dict[str, Any]:
        """What the manifest says."""
        return dict(self.entry["expected"])

    @property
    def text(self) -> str:
        """The text to be found; a refusal is said as text."""
        return str(self.expected["text"]) + str(self.expected.get("refusal") or "")

    @property
    def finish(self) -> int | None:
        """The finish reason to be found; None where the stream is no answer."""
        expected = self.expected
        if expected["tool_calls"] or expected["error"] or not expected["terminal"]:
            return None
        if expected.get("refusal"):
            return answer_pb2.FINISH_REASON_ABSTAINED
        return _FINISH.get(str(expected["finish"]), answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN)

    @cached_property
    def body(self) -> bytes:
        """Its bytes."""
        return (MANIFEST.parent / str(self.entry["file"])).read_bytes()

    @cached_property
    def end(self) -> int:
        """How many of its bytes may come without the answer having ended.

        An event counts when its empty line has come. Of several events with a finish reason, as Gemini sends them, the
        first counts, as nobody can know that another follows.
        """
        mark = _END_MARKS.get(self.protocol)
        if mark is None:  # the bracket or the brace at its end
            return len(self.body.rstrip()) - 1
        found = re.search(mark, self.body)
        if found is None:
            return len(self.body)
        empty_line = re.search(rb"\r\n\r\n|\n\n|\r\r", self.body[found.end() :])
        return found.end() + empty_line.start() + 1 if empty_line else len(self.body)


def recordings() -> Sequence[Recording]:
    """All that there are; none where the shared data are absent."""
    if not MANIFEST.exists():
        return []
    return [Recording(entry) for entry in json.loads(MANIFEST.read_text(encoding="utf-8"))]
