"""What `headwater doctor` says of each thing that it has looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """What."""
    verdict: Verdict
    """`ok`, `note` (fine, but worth knowing) or `problem` (something is broken)."""
    detail: str
    """How it is."""
    advice: str = ""
    """What to do. Empty: nothing."""
