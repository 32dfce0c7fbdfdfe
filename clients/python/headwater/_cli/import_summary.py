"""What became of the documents of an import, counted."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from headwater._cli.jobs import Job

Outcome = Literal["imported", "unchanged", "updated", "skipped", "failed"]

_MOST_FAILURES = 1000
_MOST_REASONS = 200
_MOST_EXAMPLES = 5
_OTHER = "for other reasons"
_NUMBERS = re.compile(r"\d[\d,.]*\d|\d|'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a document."""

    job: Job
    """Which one."""
    outcome: Outcome
    """What became of it."""
    reason: str = ""
    """Why it failed, or was skipped."""
    code: str = ""
    """The server's name for the reason, such as `DOCUMENT_UNREADABLE`. Empty if there is none."""
    passages: int = 0
    """How many passages it was split into."""
    seconds: float = 0.0
    """How long it took."""


@dataclass(slots=True)
class Reason:
    """The failures that have one reason in common, whatever the numbers and names in it."""

    text: str
    """The reason; `…` stands for what is not the same in all of them."""
    count: int = 0
    """How many there are."""
    examples: list[Result] = field(default_factory=list)
    """The first few."""


@dataclass(slots=True)
class Summary:
    """What became of all documents. It keeps little of each: there may be any number."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    """How many documents came to each outcome."""
    passages: int = 0
    """How many passages all of them have."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How many were skipped, by reason."""
    failures: list[Result] = field(default_factory=list)
    """Those that failed; the first 1,000."""
    reasons: dict[str, Reason] = field(default_factory=dict)
    """Why they failed."""

    @property
    def done(self) -> int:
        """How many documents came to an end."""
        return self.counts.total()

    def add(self, result: Result) -> None:
        """Counts a result."""
        self.counts[result.outcome] += 1
        self.passages += result.passages
        if result.outcome == "skipped":
            self.skipped[result.reason] += 1
        if result.outcome != "failed":
            return
        if len(self.failures) < _MOST_FAILURES:
            self.failures.append(result)
        reason = self._reason(result.reason)
        reason.count += 1
        if reason.text not in {result.reason, _OTHER}:
            reason.text = _NUMBERS.sub("…", result.reason)
        if len(reason.examples) < _MOST_EXAMPLES:
            reason.examples.append(result)

    def _reason(self, text: str) -> Reason:
        key = _NUMBERS.sub("#", text)
        if key not in self.reasons and len(self.reasons) >= _MOST_REASONS:
            key = text = _OTHER
        return self.reasons.setdefault(key, Reason(text))
