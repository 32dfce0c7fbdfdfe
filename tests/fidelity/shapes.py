"""What may happen to a body on its way: harmless shapes, which change nothing, and cuts, which end it.

Shapes are options of the replay tool, whose own words say what each means.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.fidelity.readers import boundaries
from tests.fidelity.recordings import Recording

_ANY = {
    "pieces": ("split=whole", "split=event", "split=line", "split=byte", "split=utf8"),
    "random pieces": tuple(
        f"split=random,seed={seed},max={most}" for seed, most in ((1, 3), (2, 7), (3, 60), (4, 900))
    ),
    "line ends": ("eol=lf,split=byte", "eol=crlf,split=line", "eol=cr,split=event"),
    "byte order mark": ("bom=1", "bom=1,split=byte"),
    "compression": ("gzip=1", "gzip=1,split=random,max=9", "gzip=1,split=byte,te=length"),
    "transfer": ("te=length,split=whole", "te=close,split=random,max=400", "te=chunked,split=line"),
    "content type": ("ct=text/plain", "ct=application/octet-stream"),
    "pauses": ("ttft=40", "stall=60:40"),
}
_EVENTS = {
    "comments": ("ka=1", "ka=2,split=byte"),
    "no space": ("nospace=1", "nospace=1,split=byte"),
    "two data lines": ("multi=1", "multi=1,split=random,seed=5", "multi=1,eol=cr,split=byte"),
    "all at once": (
        "bom=1,nospace=1,multi=1,ka=1,eol=crlf,split=byte",
        "bom=1,nospace=1,multi=1,ka=1,eol=cr,split=random",
        "multi=1,ka=3,eol=crlf,gzip=1,te=close",
    ),
}
_LINES = {"comments": ("ka=1", "ka=2,split=byte")}
CUT_GROUPS = ("clean cuts", "resets")
GROUPS = (*_ANY, *_EVENTS, *CUT_GROUPS)


@dataclass(frozen=True)
class Case:
    """One recording in one shape."""

    recording: Recording
    group: str
    options: str

    @property
    def is_cut(self) -> bool:
        """Whether the answer does not come to its end."""
        return self.group in CUT_GROUPS

    @property
    def path(self) -> str:
        """Where the replay tool serves it."""
        return f"/c/{self.recording.name},{self.options}"


def harmless(recording: Recording) -> list[Case]:
    """All harmless shapes that the recording can take."""
    groups: Mapping[str, Sequence[str]] = {**_ANY, **(_EVENTS if recording.is_sse else {})}
    if recording.protocol == "ollama":
        groups = {**groups, **_LINES}
    return [Case(recording, group, options) for group, shapes in groups.items() for options in shapes]


def cuts(recording: Recording, *, places: int, seed: int = 0) -> list[Case]:
    """Cuts of a recording before its end, each clean, without the end of its coding, and by a reset.

    Args:
        recording: The recording.
        places: How many places anywhere, and how many between two events, beside the first and the last ones where a
            cut does harm.
        seed: Which.
    """
    chosen = random.Random(f"{recording.name} {seed}")  # noqa: S311 (test data)
    last = recording.end
    between = boundaries(recording)
    where = {0, 1, last, *(chosen.randint(1, last) for _ in range(places))}
    where |= {between[-1], *chosen.sample(between, min(places, len(between)))}
    found = [
        Case(recording, group, f"split=random,seed={place},max=300,cut={place},cutmode={mode}")
        for place in sorted(where)
        for group, mode in (("clean cuts", "fin"), ("resets", "rst"), ("resets", "eof"))
    ]
    if recording.protocol != "gemini-array" and recording.finish is not None:
        found.append(Case(recording, "clean cuts", "nodone=1"))
    return found
