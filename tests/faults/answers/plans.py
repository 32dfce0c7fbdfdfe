"""What each answer of a run is to be: what its assistant says, where that fails, and who reads it; all by the seed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from headwater.v1 import answer_service_pb2, source_pb2
from headwater.v1.answer_service_pb2 import StreamAnswerRequest

_WORDS = (  # noqa: SIM905 (many of them, and short)
    "river stone Größe naïve façade 水源 грунт ночь 👩‍🔬 e\u0301tude data: [DONE] \u2028line \u0085next tab\tstop "
    "leave holiday water spring source headland \u200dzero \ufeffmark end."
).split(" ")
CORPUS = "water"
SOURCES = ("Rivers rise from springs in the hills.", "A headwater is where a river begins.", "Water flows downhill.")


class ProviderFault(StrEnum):
    """How the assistant's provider fails, the first time it is asked."""

    RATE_LIMITED = "429"
    SERVER_ERROR = "503"
    RESET_AT_ONCE = "reset before a response"
    RESET_FIRST = "reset before the first token"
    RESET_BETWEEN = "reset between tokens"
    CUT = "a clean end of HTTP between tokens"
    HANG_FIRST = "silence before the first token"
    HANG_BETWEEN = "silence between tokens"
    GARBAGE = "bytes that are no JSON"


class Habit(StrEnum):
    """How a caller reads."""

    CLIENT = "the Python client, asyncio"
    BLOCKING = "the Python client, blocking"
    RAW = "gRPC by hand, resuming after its last sequence"
    SLOW = "gRPC by hand, slowly"
    SNAPSHOT = "gRPC by hand, joining by a snapshot"
    REPEATING = "gRPC by hand, asking with the same request_id"
    CANCELLING = "the Python client, which stops the answer"
    LEAVING = "gRPC by hand, hanging up for good"


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer."""

    number: int
    request: StreamAnswerRequest
    said: Sequence[str]
    """What the assistant says, piece by piece, markers of sources included."""
    truth: str
    """The text that this makes."""
    markers: Mapping[int, bytes]
    """The markers of sources that were said, by where they stood in the text, in bytes."""
    pause: float
    """Before each piece, in seconds."""
    fault: ProviderFault | None
    fault_at: int
    """How many pieces come before the fault."""
    habits: Sequence[Habit]
    """Who reads it; the first begins it."""
    stop_after: int
    """How many pieces of text a caller reads who stops or leaves."""

    @property
    def continues(self) -> bool:
        """Whether the assistant can go on from a part of its own answer."""
        return self.request.assistant.startswith("going/")


@dataclass(slots=True)
class Mix:
    """What is drawn, and how often."""

    provider_faults: float = 0.15
    leavers: float = 0.08
    cancellers: float = 0.08
    companions: float = 0.35
    blocking: float = 0.05
    continuing: float = 0.5
    assistants: Collection[str] = field(default_factory=lambda: ("plain", "going"))


def make(seed: int, number: int, mix: Mix) -> Plan:
    """The plan of the answer with this number."""
    chance = random.Random(f"{seed}/answer/{number}")  # noqa: S311 (chooses what to do)
    grounding = chance.choices(("none", "provided", "retrieval"), (60, 25, 15))[0]
    grounded = grounding == "provided"
    said, truth, markers = _long(chance) if chance.random() < 0.02 else _text(chance, grounded=grounded)
    fault = chance.choice(list(ProviderFault)) if chance.random() < mix.provider_faults else None
    habits, leaving = _habits(chance, mix)
    assistant = "going" if "going" in mix.assistants and chance.random() < mix.continuing else "plain"
    return Plan(
        number=number,
        request=_request(chance, number, assistant=assistant, grounding=grounding, fault=fault, leaving=leaving),
        said=said,
        truth=truth,
        markers=markers,
        pause=0.0 if len(said) > 100 else chance.choice((0.002, 0.01, 0.02, 0.04)),
        fault=fault,
        fault_at=chance.randrange(1, max(2, len(said) - 1)),
        habits=habits,
        stop_after=chance.randrange(0, 12),
    )


def _habits(chance: random.Random, mix: Mix) -> tuple[list[Habit], bool]:
    """Who reads, the first of whom begins; and whether nobody may be left in the end."""
    draw = chance.random()
    if draw < mix.leavers:
        return [Habit.LEAVING], True
    if draw < mix.leavers + mix.cancellers:
        habits = [Habit.CANCELLING]
    elif draw < mix.leavers + mix.cancellers + mix.blocking:
        habits = [Habit.BLOCKING]
    else:
        habits = [chance.choice((Habit.CLIENT, Habit.CLIENT, Habit.RAW))]
    while chance.random() < mix.companions:
        habits.append(chance.choice((Habit.RAW, Habit.SLOW, Habit.SNAPSHOT, Habit.SNAPSHOT, Habit.REPEATING)))
    return habits, False


def _request(
    chance: random.Random, number: int, *, assistant: str, grounding: str, fault: ProviderFault | None, leaving: bool
) -> StreamAnswerRequest:
    request = StreamAnswerRequest(
        request_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        prompt=f"Tell me story {number}#, please.",
        assistant=f"{assistant}/teller",
        labels={"number": str(number), "kind": "fault run"},
    )
    request.limits.first_token.FromMilliseconds(1_500 if fault is ProviderFault.HANG_FIRST else 60_000)
    request.limits.between_tokens.FromMilliseconds(1_500 if fault is ProviderFault.HANG_BETWEEN else 60_000)
    request.limits.total.FromSeconds(86_400)  # between two owners it is counted by a clock that is turned
    if grounding == "retrieval":
        request.retrieval.corpora.append(f"corpora/{CORPUS}")
    elif grounding == "provided":
        request.provided.sources.extend(source_pb2.Source(content=content) for content in SOURCES)
    else:
        request.ungrounded.SetInParent()
    if leaving and chance.random() < 0.5:
        request.on_disconnect = answer_service_pb2.DISCONNECT_POLICY_CONTINUE
    elif not leaving:
        request.resume_window.FromSeconds(20)  # as the Python client sends it
    return request


def _text(chance: random.Random, *, grounded: bool) -> tuple[list[str], str, dict[int, bytes]]:
    """Sentences, cut anywhere; what is left of them without the markers; and those."""
    said = truth = ""
    markers: dict[int, bytes] = {}
    for _ in range(chance.randrange(3, 12)):
        words = " ".join(chance.choice(_WORDS) for _ in range(chance.randrange(2, 9))) + f" w{chance.randrange(999)}"
        marker = f" [{chance.randrange(1, len(SOURCES) + 1)}]" if grounded else ""
        said += f"{words}{marker}. "
        truth += words
        if marker:
            markers[len(truth.encode())] = marker.encode()
        truth += ". "
    return _cut(chance, said + "The end", 1, 16), truth + "The end", markers


def _long(chance: random.Random) -> tuple[list[str], str, dict[int, bytes]]:
    """More than a reader who is behind finds in memory."""
    text = "".join(f"{number} {chance.choice(_WORDS)} {chance.random()} " for number in range(8_000)) + "The end"
    return _cut(chance, text, 200, 900), text, {}


def _cut(chance: random.Random, text: str, least: int, most: int) -> list[str]:
    pieces, position = [], 0
    while position < len(text):
        size = chance.randrange(least, most)
        pieces.append(text[position : position + size])
        position += size
    return pieces
