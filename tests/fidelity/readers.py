"""Cuts of recordings as the readers see them: every place there is, without a server between.

A reader that is cut off knows the same as one that waits for more: so each body is read once, and a copy of the reader
is ended at each place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headwater_server.assistant.anthropic import MessageStream
from headwater_server.assistant.cohere import ChatStream as CohereStream
from headwater_server.assistant.gemini import ContentStream, ResponseParser
from headwater_server.assistant.ollama import LineStream
from headwater_server.assistant.openai_responses import ResponseStream
from headwater_server.assistant.openai_stream import ChatStream
from headwater_server.assistant.protocol import Event, Finished, FinishReason, Reasoning, Text
from headwater_server.errors import Reason, ServiceError
from headwater_server.outgoing.framing import CutOff
from headwater_server.outgoing.ndjson import LineParser
from headwater_server.outgoing.provider_errors import ProviderErrors
from headwater_server.outgoing.sse import EventParser
from tests.fidelity.recordings import Recording

_ERRORS = ProviderErrors("recorded")
_MADE: Mapping[str, Callable[[], tuple[Any, Any]]] = {
    "anthropic": lambda: (EventParser(), MessageStream(_ERRORS)),
    "azure-openai": lambda: (EventParser(), ChatStream(_ERRORS)),
    "cohere": lambda: (EventParser(), CohereStream(_ERRORS)),
    "gemini": lambda: (ResponseParser(), ContentStream(_ERRORS)),
    "mistral": lambda: (EventParser(), ChatStream(_ERRORS)),
    "ollama": lambda: (LineParser(), LineStream(_ERRORS)),
    "openai-chat": lambda: (EventParser(), ChatStream(_ERRORS)),
    "openai-responses": lambda: (EventParser(max_event_bytes=8 << 20), ResponseStream(_ERRORS)),
    "perplexity": lambda: (EventParser(), ChatStream(_ERRORS)),
}
_CUT = {Reason.PROVIDER_TRUNCATED, Reason.PROVIDER_PROTOCOL}


@dataclass
class _Read:
    """What came of a body so far."""

    text: str = ""
    reasoning: str = ""
    finished: Finished | None = None

    def see(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case Text(text):
                    self.text += text
                case Reasoning(text):
                    self.reasoning += text
                case Finished():
                    self.finished = event
                case _:
                    pass


def false_ends(recording: Recording, places: Sequence[int] | None = None) -> tuple[int, list[str]]:
    """Cuts a recording at places before its end.

    Args:
        recording: The recording.
        places: How many bytes come before each cut, in order. None: every number there is.

    Returns:
        How many cuts there were, and what is wrong with those that went wrong.
    """
    parser, reader = _MADE[recording.api]()
    read, done = _Read(), 0
    wrong: list[str] = []
    chosen = range(recording.end + 1) if places is None else places
    for place in chosen:
        try:
            for item in parser.feed(recording.body[done:place]):
                read.see(reader.feed(item))
        except ServiceError as error:  # an error, or a call of a tool: a body that is none of an answer
            return len(chosen), [*wrong, *_of_a_failure(recording, place, error)]
        done = place
        wrong += [
            f"{recording.name} cut at {place}: {problem}" for problem in _of_a_cut(recording, parser, reader, read)
        ]
    return len(chosen), wrong


def boundaries(recording: Recording) -> list[int]:
    """The places at which an event of the recording is complete, or a line, before its end."""
    parser, _ = _MADE[recording.api]()
    ends = [place + 1 for place in range(recording.end) if parser.feed(recording.body[place : place + 1])]
    return [0, *ends]


def _of_a_cut(recording: Recording, parser: Any, reader: Any, read: _Read) -> list[str]:
    parser, reader = copy.deepcopy((parser, reader))
    rest = _Read(read.text, read.reasoning)
    reason: Reason | None = None
    try:
        for item in parser.finish():
            rest.see(reader.feed(item))
        rest.see(reader.finish())
    except CutOff:
        reason = Reason.PROVIDER_TRUNCATED
    except ServiceError as error:
        reason = error.reason
    found = [] if recording.text.startswith(rest.text) else [f"text {rest.text[-80:]!r}"]
    if not str(recording.expected["reasoning"]).startswith(rest.reasoning):
        found.append(f"reasoning {rest.reasoning[-80:]!r}")
    if reason is not None:
        return found if reason in _CUT else [*found, f"reason {reason}"]
    is_known_to_be_silent = recording.protocol == "ollama"
    if rest.finished and is_known_to_be_silent and rest.finished.reason is FinishReason.UPSTREAM_UNKNOWN:
        return found
    return [*found, f"a false end: {rest.finished}"]


def _of_a_failure(recording: Recording, place: int, error: ServiceError) -> list[str]:
    if recording.finish is None:
        return []
    return [f"{recording.name} at {place}: {error.reason} {error.message}"]
