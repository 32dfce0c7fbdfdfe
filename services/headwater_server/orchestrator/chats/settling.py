"""Bringing turns to their end: with how their answers ended, or as lost where nobody makes them any more."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio
import structlog

from headwater.v1 import answer_pb2
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, AnswerLogError
from headwater_server.orchestrator.chats import failures
from headwater_server.orchestrator.chats.answers import ending_of
from headwater_server.orchestrator.chats.protocol import ChatStore, ChatStoreError, TurnEnding, TurnRecord
from headwater_server.orchestrator.failures import DescribeFailure

log = structlog.get_logger("headwater.chats")


class Settling:
    """Settles the turns of a server's answers.

    Args:
        answer_log: Where answers are kept.
        describe: Makes a status of a failure.
    """

    def __init__(self, *, answer_log: AnswerLog, describe: DescribeFailure) -> None:
        self._log = answer_log
        self._describe = describe
        self._live: set[str] = set()  # answers that are being made here
        self._unsettled: dict[str, _Unsettled] = {}  # answers that have ended, and whose turns do not know yet

    def is_live(self, answer: str) -> bool:
        """Whether an answer is being made here."""
        return answer in self._live

    def begin(self, answer: str) -> None:
        """Notes that an answer is made here: its turn is left alone."""
        self._live.add(answer)

    def let_go(self, answer: str) -> None:
        """Notes that an answer is made here no more."""
        self._live.discard(answer)

    def end(self, answer: str, ending: answer_pb2.Answer) -> None:
        """Notes how an answer has ended, until its turn is settled with that."""
        self._unsettled[answer] = _Unsettled(ending)
        self._live.discard(answer)

    async def settle(self, store: ChatStore, answer: str) -> None:
        """Stores how an answer has ended with its turn, if that is known here and not done yet."""
        unsettled = self._unsettled.get(answer)
        if unsettled is None:
            return
        async with unsettled.lock:
            if self._unsettled.get(answer) is not unsettled:
                return  # another task has done it meanwhile
            settled = await store.settle(answer, ending_of(unsettled.ending), now=now_micros())
            del self._unsettled[answer]
        if not settled:
            log.warning("turn.settled_by_another", answer=answer)
            if await store.find_answer(answer) is None:  # its chat was deleted, by way of another server
                await self._log.delete(answer)

    async def release(self, store: ChatStore, answer: str) -> bool:
        """Settles the turn of an answer that nobody makes any more; returns whether that was to be done."""
        if answer in self._live:
            return False
        if answer in self._unsettled:
            await self.settle(store, answer)
            return True
        ending = await self._ending(store, answer)
        return ending is not None and await store.settle(answer, ending, now=now_micros())

    async def tidy(self, store: ChatStore) -> None:
        """Finishes what an earlier process left undone."""
        for chat, answers in await store.deleted():
            try:
                await self.remove(store, chat, answers)
            except AnswerLogError as error:
                log.warning("chat.unremoved", chat=chat, error=str(error))  # it is left for the next time
        for turn in await store.running():
            with _apart(turn.answer):
                await self.release(store, turn.answer)
        await store.renew()

    async def tidy_up(self, store: ChatStore) -> None:
        """Tells other servers that this one lives, and settles what is left to settle."""
        await store.renew()
        for answer in list(self._unsettled):  # also those whose turns another server has settled meanwhile
            with _apart(answer):
                await self.settle(store, answer)
        for turn in await store.running():
            with _apart(turn.answer):
                await self.release(store, turn.answer)
        for answer in await store.settle_lapsed(self.lost, now=now_micros()):
            log.warning("turn.owner_lost", answer=answer)

    async def remove(self, store: ChatStore, chat: str, answers: Sequence[str]) -> None:
        """Removes a chat that is marked as deleted, and what the log has of its answers."""
        for answer in answers:
            await self._log.delete(answer)
        await store.remove(chat)

    def lost(self, turn: TurnRecord) -> TurnEnding:
        """How a turn ends whose answer nobody makes any more, and whose events nobody has."""
        ending = answer_pb2.Answer.FromString(turn.outline)
        ending.state = answer_pb2.ANSWER_STATE_FAILED
        ending.error.CopyFrom(self._describe(failures.lost(turn.answer), ""))
        ending.text_crc32c = 0
        ending.complete_time.FromMicroseconds(now_micros())
        return ending_of(ending)

    async def _ending(self, store: ChatStore, answer: str) -> TurnEnding | None:
        """How an answer has ended that nobody makes here; None where it has not, or another server makes it."""
        record = await self._log.find(answer)
        if record is not None:
            return ending_of(answer_pb2.Answer.FromString(record.ending)) if record.ending else None
        for turn in await store.running():  # of this server
            if turn.answer == answer:
                return self.lost(turn)
        return None


@contextmanager
def _apart(answer: str) -> Iterator[None]:
    """Keeps what is wrong with one turn from the others; a store or log that fails does so for all."""
    try:
        yield
    except (ChatStoreError, AnswerLogError):
        raise
    except Exception:
        log.exception("turn.unsettled", answer=answer)


class _Unsettled:
    """How an answer has ended whose turn does not know yet."""

    def __init__(self, ending: answer_pb2.Answer) -> None:
        self.ending = ending
        self.lock = anyio.Lock()


def now_micros() -> int:
    """The time, in microseconds since 1970."""
    return time.time_ns() // 1000
