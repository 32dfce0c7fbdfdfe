"""The answer log: what has been said of every answer, kept before anybody hears it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer that is about to begin."""

    name: str
    """`answers/{answer}`; the last part of letters, digits, `-` and `_`."""
    tenant: str
    """Whose it is."""
    request: bytes
    """What was asked, a serialized `StreamAnswerRequest`: all that another owner needs to go on."""
    created: float
    """When it began, in seconds since 1970."""
    request_id: str = ""
    """The caller's; empty if it sent none."""
    chat: str = ""
    """`chats/{chat}`; empty outside a chat."""


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """What the log knows of an answer, its events apart."""

    name: str
    tenant: str
    request: bytes
    created: float
    request_id: str
    chat: str
    epoch: int
    """Which owner it has, from 1; each new one has a higher."""
    ending: bytes
    """How it ended, a serialized `Answer`, SUCCEEDED, FAILED or CANCELLED; empty while it has not."""
    state: int
    """`AnswerState`: that of the ending, or RUNNING."""
    last_sequence: int
    """Of the last event, once it has ended; 0 until then."""
    expires: float | None
    """When it may be forgotten, in seconds since 1970; None while it runs, or if never."""
    owner: str = field(default="", kw_only=True)
    """Which of the processes makes it that share the log; empty where one has it to itself."""


LISTED_BYTES = 16 * 1024 * 1024
"""How much a list of answers has at once, unless more is asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it was logged."""

    sequence: int
    """From 1, without a gap."""
    event: bytes
    """The event, a serialized `AnswerChunk`."""


class AnswerWriter(Protocol):
    """The right of one owner to write one answer; used by one task at a time."""

    @property
    def name(self) -> str:
        """The answer's name."""
        ...

    @property
    def epoch(self) -> int:
        """The owner's number."""
        ...

    @property
    def last_sequence(self) -> int:
        """The sequence of the last event that is logged; 0 before the first."""
        ...

    async def append(self, events: Sequence[bytes]) -> None:
        """Logs the next events, numbered from `last_sequence` + 1; once it has returned they may be sent.

        They are logged as a whole or not at all, also where the caller is cancelled: those that `last_sequence` then
        does not count may be on their way, and have to be given again, the same, before any others.

        Raises:
            Fenced: The answer has another owner by now; nothing was written that a reader will see.
            LogFull: There is no room. The writer can be used again.
            LogUnavailable: The log cannot be written.
        """
        ...

    async def seal(self, ending: bytes, *, state: int, expires: float | None) -> None:
        """Ends the answer; nothing can be appended after it.

        Args:
            ending: How it ended, a serialized `Answer`.
            state: Its `AnswerState`.
            expires: When it may be forgotten, in seconds since 1970; None: never.

        Raises:
            Fenced: The answer has another owner by now.
            LogFull: There is no room.
            LogUnavailable: The log cannot be written.
        """
        ...

    def close(self) -> None:
        """Lets go of the answer; it stays unsealed unless it was sealed."""
        ...


class AnswerLog(Protocol):
    """The events of answers, in order, from their begin to their expiry.

    Order: the events of an answer are numbered 1, 2, 3 … by its writer, and are read in that order without a gap.
    Events of several answers have no order among them.

    Acknowledgement: once `append` has returned, its events survive the death of any process; whether they survive a
    loss of power is the implementation's to say. Whoever sends an event only after that can have it replayed byte for
    byte. What was appended without being acknowledged is there as a whole, or not.

    Owners: an answer has one owner, who holds its writer. `begin` makes the first, of epoch 1; `claim` takes the answer
    from an owner who is dead, or is believed to be. From then on nothing that the earlier owner writes is ever read:
    it gets `Fenced`, at once or at its next call, even if it was only frozen.

    Reading: any number of readers at once, while the answer runs and after. `read` returns what is logged;
    `wait` follows.

    Request ids: (tenant, request_id) names one answer for as long as that is kept; of several that begin with one at
    the same time, one does.

    Expiry: what has ended and has expired is forgotten, and so is what ended first where more is kept than the
    implementation allows; answers that run are not. A forgotten answer is as one that never was.

    Concurrency: all methods may be called at any time from any task of the one event loop; none blocks it for longer
    than a write to a file.
    """

    async def begin(self, answer: NewAnswer) -> AnswerWriter:
        """Records an answer before anything has been said.

        Raises:
            RequestIdTaken: There is an answer with this request id.
            LogFull: There is no room.
            LogUnavailable: The log cannot be written.
        """
        ...

    async def claim(self, name: str) -> AnswerWriter:
        """Takes an answer over; its writer goes on after the last event that is whole.

        Raises:
            AnswerUnknown: There is none.
            AnswerSealed: It has ended.
            LogFull: There is no room.
            LogUnavailable: The log cannot be written.
        """
        ...

    async def find(self, name: str) -> AnswerRecord | None:
        """An answer, or None."""
        ...

    async def find_request(self, tenant: str, request_id: str) -> AnswerRecord | None:
        """The answer with a request id, or None."""
        ...

    async def list_answers(
        self,
        tenant: str,
        *,
        state: int | None = None,
        before: tuple[float, str] | None = None,
        limit: int,
        max_bytes: int = LISTED_BYTES,
    ) -> Sequence[AnswerRecord]:
        """A tenant's answers, newest first; none only where no more follow.

        Args:
            tenant: Whose.
            state: Only those in this `AnswerState`.
            before: Only those after this one in the list: its `created` and `name`.
            limit: How many at most.
            max_bytes: No more than so many bytes of requests and endings, but at least one answer.
        """
        ...

    async def unsealed(self) -> Sequence[AnswerRecord]:
        """The answers of all tenants that have not ended, oldest first."""
        ...

    async def read(self, name: str, *, after: int, max_bytes: int = 1024 * 1024) -> Sequence[Entry]:
        """The events that follow a sequence.

        Args:
            name: Which answer.
            after: The sequence; 0 reads from the beginning.
            max_bytes: No more than so many bytes of events, but at least one event.

        Returns:
            The next events; none where no more are logged.

        Raises:
            AnswerUnknown: There is none.
            EventsLost: They were logged and cannot be read; the ending, if there is one, is still to be had.
        """
        ...

    async def wait(self, name: str, *, after: int) -> None:
        """Returns once more than `after` is logged, or nobody writes the answer. The caller bounds the wait."""
        ...

    async def delete(self, name: str) -> None:
        """Forgets an answer at once; one that is not there is no error. A writer of it gets `Fenced`."""
        ...


class AnswerLogError(Exception):
    """A failure of the answer log."""


class AnswerUnknown(AnswerLogError):
    """There is no such answer."""


class AnswerSealed(AnswerLogError):
    """The answer has ended."""


class Fenced(AnswerLogError):
    """The answer has another owner, or was deleted."""


class EventsLost(AnswerLogError):
    """Events of an answer can no longer be read."""


class LogFull(AnswerLogError):
    """The disk, or a quota, is exhausted."""


class LogUnavailable(AnswerLogError):
    """The log cannot be written or read, or is closed."""


class RequestIdTaken(AnswerLogError):
    """There is an answer with this request id.

    Attributes:
        record: That answer.
    """

    def __init__(self, record: AnswerRecord) -> None:
        super().__init__(f"{record.name} has this request id")
        self.record = record
