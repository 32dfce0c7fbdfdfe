"""The store of chats: what was asked in every conversation, and how it was answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class NewChat:
    """A chat that is about to be."""

    id: str
    tenant: str
    """Whose it is."""
    settings: bytes
    """A serialized `Chat` of the fields that callers set."""
    created: int
    """In microseconds since 1970, as all times here."""
    request_id: str = ""
    """The caller's; empty if it sent none."""
    request: bytes = b""
    """What was asked for, to tell the same request from another with its id."""


@dataclass(frozen=True, slots=True)
class ChatRecord:
    """A chat as it is kept."""

    id: str
    tenant: str
    settings: bytes
    request: bytes
    created: int
    changed: int
    """When it was last changed, by a turn or an update; later with each change."""
    turns: int
    """How many it has."""
    running: str
    """The answer that runs, `answers/{answer}`; empty if none does."""


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A prompt that is about to be answered."""

    id: str
    tenant: str
    chat: str
    """The chat's id."""
    answer: str
    """The name of its answer, `answers/{answer}`."""
    prompt: str
    outline: bytes
    """What is known of the answer as it begins; see `TurnRecord`."""
    created: int
    request_id: str = ""
    """The caller's; empty if it sent none."""
    digest: bytes = b""
    """Of what was asked, to tell the same request from another with its id."""


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A turn as it is kept."""

    id: str
    tenant: str
    chat: str
    number: int
    """Its place in the chat, from 1."""
    answer: str
    request_id: str
    digest: bytes
    created: int
    state: int
    """`AnswerState`: RUNNING until it is settled, UNSPECIFIED where the answer was forgotten."""
    prompt: str
    settings: bytes
    """The chat's settings when the turn began."""
    text: str
    """What the answer says; empty while it runs."""
    outline: bytes
    """The answer, a serialized `Answer`, without its prompt, its text and its sources' contents."""
    contents: bytes
    """The sources' contents, a serialized `Answer` of nothing else; empty where they were not asked for."""


@dataclass(frozen=True, slots=True)
class TurnEnding:
    """How a turn's answer has ended."""

    state: int
    """`AnswerState`: SUCCEEDED, FAILED or CANCELLED."""
    text: str
    outline: bytes
    contents: bytes
    """Both as in `TurnRecord`."""


@dataclass(frozen=True, slots=True)
class Said:
    """What was said in a chat before a turn."""

    turns: Sequence[tuple[str, str]]
    """Prompts and the texts that answered them, oldest first, without a gap among those that count."""
    earlier: int
    """How many more turns that count there are before them."""


Lost = Callable[[TurnRecord], TurnEnding]
"""How a turn ends whose owner is dead."""


class ChatStore(Protocol):
    """Chats and their turns, each tenant's own.

    Durability: what a call has done when it returns survives a loss of power.

    Tenants: a chat is found only under its tenant; to any other it does not exist. The methods that take an answer's
    name and no tenant are for the owner of the answer.

    One running answer: a chat has at most one turn that is not settled. `begin_turn` and `settle` are atomic, also
    among several processes that use one database.

    Owners: a turn that runs belongs to the store through which it began, which has an owner's name. An owner says that
    it lives with `renew`; one whose lease has lapsed is believed to be dead, and its turns are settled by whoever comes
    next: by `begin_turn` in their chat, or by `settle_lapsed`. The first to settle a turn does; every later try changes
    nothing, so that an owner who was only frozen cannot undo it.

    Request ids: (tenant, request_id) names one chat, or one turn, for as long as that is kept.

    Concurrency: all methods may be called at any time from any task of the one event loop; none blocks it. A call whose
    task is cancelled is done as a whole, or not at all.

    Every method raises:
        ChatsFull: There is no room on the disk; nothing was changed.
        ChatsUnavailable: The database cannot be used.
    """

    async def create(self, chat: NewChat, *, at_most: int) -> ChatRecord:
        """Makes a chat; where there is one with its request id, returns that.

        Args:
            chat: The chat.
            at_most: How many the tenant may have.

        Raises:
            TooMany: It has as many.
        """
        ...

    async def get(self, tenant: str, chat: str) -> ChatRecord:
        """A chat.

        Raises:
            ChatUnknown: There is none.
        """
        ...

    async def list_chats(
        self, tenant: str, *, before: tuple[int, str] | None = None, limit: int
    ) -> Sequence[ChatRecord]:
        """A tenant's chats, the last changed first.

        Args:
            tenant: Whose.
            before: Only those after this one in the list: its `changed` and `id`.
            limit: How many at most.
        """
        ...

    async def update(self, tenant: str, chat: str, change: Callable[[bytes], bytes], *, now: int) -> ChatRecord:
        """Changes a chat's settings.

        Args:
            tenant: Whose.
            chat: Its id.
            change: Makes the new settings of those that there are; what it raises comes out, and nothing is changed.
            now: When.

        Raises:
            ChatUnknown: There is none.
        """
        ...

    async def begin_turn(self, turn: NewTurn, *, at_most: int, lost: Lost) -> TurnRecord:
        """Stores a prompt; its answer is the one that runs in the chat from now on.

        Args:
            turn: The turn.
            at_most: How many turns the chat may have.
            lost: How the turn ends that runs there, if its owner is dead.

        Raises:
            ChatUnknown: There is no such chat.
            ChatBusy: An answer runs there.
            TurnExists: There is a turn with this request id.
            TooMany: The chat has as many turns.
        """
        ...

    async def withdraw(self, answer: str) -> None:
        """Takes a turn back that has begun and whose answer never did; one that is settled stays."""
        ...

    async def settle(self, answer: str, ending: TurnEnding, *, now: int) -> bool:
        """Notes how a turn's answer has ended, and lets the next one begin.

        Returns:
            Whether it was this call that did; False where the turn was settled before, or is not there any more.
        """
        ...

    async def forget_answer(self, answer: str) -> None:
        """Takes the answer out of a turn that is settled; the prompt stays."""
        ...

    async def take_on(self, answer: str) -> TurnRecord | None:
        """Makes this owner that of an answer it goes on with; returns the answer's turn, settled or not, or None."""
        ...

    async def find_answer(self, answer: str) -> TurnRecord | None:
        """The turn of an answer, with its sources' contents, or None."""
        ...

    async def find_request(self, tenant: str, request_id: str) -> TurnRecord | None:
        """The turn with a request id, with its sources' contents, or None."""
        ...

    async def kept(self, answers: Sequence[str]) -> AbstractSet[str]:
        """Which of these answers a turn has: that is not forgotten, of a chat that is not deleted."""
        ...

    async def get_turn(self, tenant: str, chat: str, turn: str) -> TurnRecord:
        """A turn, with its sources' contents.

        Raises:
            ChatUnknown: There is no such chat or turn.
        """
        ...

    async def list_turns(
        self, tenant: str, chat: str, *, after: int, limit: int, max_bytes: int
    ) -> Sequence[TurnRecord]:
        """The turns of a chat, oldest first, without their sources' contents.

        Args:
            tenant: Whose.
            chat: The chat's id.
            after: Only those with a higher number.
            limit: How many at most.
            max_bytes: Stops once it has more than so many bytes.

        Raises:
            ChatUnknown: There is no such chat.
        """
        ...

    async def said(self, chat: str, *, before: int, limit: int, max_bytes: int) -> Said:
        """What was said before a turn: by those that have succeeded or were cancelled, and of which there is a text.

        Args:
            chat: The chat's id.
            before: The number of the turn.
            limit: How many turns at most, the last ones.
            max_bytes: How many bytes of prompts and texts at most; whole turns.
        """
        ...

    async def mark_deleted(self, tenant: str, chat: str, *, although_running: str = "") -> Sequence[str]:
        """Makes a chat unknown to everyone, before it is removed.

        Args:
            tenant: Whose.
            chat: Its id.
            although_running: An answer that may run there; empty: none may.

        Returns:
            The names of its answers.

        Raises:
            ChatUnknown: There is none.
            ChatBusy: Another answer runs there.
        """
        ...

    async def deleted(self) -> Sequence[tuple[str, Sequence[str]]]:
        """The chats that are marked as deleted and not removed yet: their ids, and their answers' names."""
        ...

    async def remove(self, chat: str) -> None:
        """Removes a chat that is marked as deleted, with its turns."""
        ...

    async def running(self) -> Sequence[TurnRecord]:
        """The turns that are not settled and that this owner may settle, by what became of their answers.

        They are its own, those of an earlier process of its name, and those of owners that are known to be dead.
        """
        ...

    async def renew(self) -> None:
        """Says that this owner lives, for another lease."""
        ...

    async def settle_lapsed(self, lost: Lost, *, now: int) -> Sequence[str]:
        """Settles the turns whose owners are dead.

        Returns:
            The names of their answers.
        """
        ...

    async def aclose(self) -> None:
        """Lets go of the database."""
        ...


class ChatStoreError(Exception):
    """A failure of the store of chats."""


class ChatUnknown(ChatStoreError):
    """There is no such chat, or turn, of this tenant."""


class ChatBusy(ChatStoreError):
    """An answer runs in the chat.

    Attributes:
        answer: Its name.
    """

    def __init__(self, answer: str) -> None:
        super().__init__(f"{answer} runs in the chat")
        self.answer = answer


class TurnExists(ChatStoreError):
    """There is a turn with this request id.

    Attributes:
        turn: That turn.
    """

    def __init__(self, turn: TurnRecord) -> None:
        super().__init__(f"{turn.answer} has this request id")
        self.turn = turn


class TooMany(ChatStoreError):
    """There are as many chats, or turns, as may be."""


class ChatsFull(ChatStoreError):
    """The disk is exhausted."""


class ChatsUnavailable(ChatStoreError):
    """The database cannot be used."""
