"""The wire's enumerations as Python's: equal to its integers, with short names."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

RetrievalModeName = Literal["hybrid", "dense", "lexical"]
"""How passages are searched: by words and meaning together, by meaning, or by words."""

AbstainPolicyName = Literal["without_sources", "never"]
"""When an assistant abstains: where there is no source to answer from, or only when it has been asked and declines."""


AnswerStateName = Literal["running", "succeeded", "failed", "cancelled"]
"""Whether an answer runs, and how it ended."""


class _OpenEnum(IntEnum):
    """An enumeration to which newer servers may add: an unknown value becomes a member without a place in the list."""

    @classmethod
    def _missing_(cls, value: object) -> _OpenEnum | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = value
        return member


class FinishReason(_OpenEnum):
    """Why an answer's text ends where it ends."""

    UNSPECIFIED = 0
    """Not known."""
    STOP = 1
    """The assistant had said all it wanted to say."""
    MAX_TOKENS = 2
    """The limit of tokens, or of 1 MiB of text, was reached."""
    STOP_SEQUENCE = 3
    """One of the stop sequences came up."""
    CONTEXT_LIMIT = 4
    """The model's context was full."""
    TIME_LIMIT = 5
    """The limit `total` was reached."""
    CONTENT_FILTER = 6
    """The provider withheld the rest, or all, of the answer."""
    ABSTAINED = 7
    """There was nothing to answer from; `abstain_reason` says why."""
    CANCELLED = 8
    """The answer was stopped."""
    UPSTREAM_UNKNOWN = 9
    """The provider ended without a reason, where its protocol allows that."""


class AnswerState(_OpenEnum):
    """Whether an answer runs, and how it ended."""

    UNSPECIFIED = 0
    """Not known."""
    RUNNING = 1
    """It has not ended."""
    SUCCEEDED = 2
    """It ended by itself; the finish reason says why."""
    FAILED = 3
    """It failed; `error` says why. The text so far is kept."""
    CANCELLED = 4
    """It was stopped, or its readers had gone. The text so far is kept."""


class AbstainReason(_OpenEnum):
    """Why an assistant abstained."""

    UNSPECIFIED = 0
    """Not known, or it did not abstain."""
    NO_SOURCES = 1
    """No source was found, or provided."""
    LOW_RELEVANCE = 2
    """Sources were found, but none is relevant enough."""
    ASSISTANT_DECLINED = 3
    """The assistant was asked and declined."""
