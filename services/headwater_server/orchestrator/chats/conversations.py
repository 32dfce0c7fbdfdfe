"""What answers have of the chats they belong to: a turn that is stored before they begin, and settled when they end."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import structlog
from anyio.abc import TaskGroup

from headwater.v1 import answer_pb2
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.chat_pb2 import Chat
from headwater_server.errors import PreconditionFailed, Reason, ServiceError
from headwater_server.interfaces import Caller
from headwater_server.names import new_id
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, AnswerLogError, AnswerRecord
from headwater_server.orchestrator.chats import failures
from headwater_server.orchestrator.chats.answers import chat_id, digest_of
from headwater_server.orchestrator.chats.conversation import Conversation
from headwater_server.orchestrator.chats.history import MAX_TURNS, in_chat, room_beside
from headwater_server.orchestrator.chats.protocol import (
    ChatBusy,
    ChatStore,
    ChatStoreError,
    ChatUnknown,
    NewTurn,
    TooMany,
    TurnExists,
    TurnRecord,
)
from headwater_server.orchestrator.chats.settling import Settling
from headwater_server.orchestrator.failures import DescribeFailure
from headwater_server.orchestrator.transcript import header_of
from headwater_server.owned_tasks import owned_tasks

log = structlog.get_logger("headwater.chats")

LEASE_SECONDS = 30.0
"""How long a server that shares its database with others counts as alive after it last said so."""

_ROUND_SECONDS = LEASE_SECONDS / 3
_RETRY_SECONDS = 1.0
_SETTLE_SECONDS = 5.0
"""How long the end of an answer waits to be stored with its turn, before that is tried again behind its back."""

_REFUSALS = frozenset({Reason.CHAT_BUSY, Reason.RESOURCE_NOT_FOUND, Reason.QUOTA_EXCEEDED})
"""Why a turn is not stored, said by a database that works."""

OpenStore = Callable[[], Awaitable[ChatStore]]
"""Opens the store of chats."""

AnyChats = Callable[[], bool]
"""Whether there may be chats in the store, which is not opened for it."""


class Conversations:
    """The conversations of a server's answers; made by `open_conversations`.

    The store is opened when a chat is first used, and not for those who never do. Turns that an earlier process did
    not bring to their end are settled then, as far as the log knows how they ended; those whose answers go on are left
    to them.

    Args:
        open_store: Opens the store; None: this server keeps no chats.
        answer_log: Where answers are kept.
        describe: Makes a status of a failure.
        max_turns: How many turns a chat may have.
        tasks: Where turns are settled; cancelled in the end.
        any_chats: Whether there may be any; nothing is looked for in the store where there are none.
    """

    def __init__(
        self,
        open_store: OpenStore | None,
        *,
        answer_log: AnswerLog,
        describe: DescribeFailure,
        max_turns: int,
        tasks: TaskGroup,
        any_chats: AnyChats,
    ) -> None:
        self._open_store = open_store
        self._any_chats = any_chats
        self._tasks = tasks
        self._log = answer_log
        self._settling = Settling(answer_log=answer_log, describe=describe)
        self._max_turns = max_turns
        self._store: ChatStore | None = None
        self._opening = anyio.Lock()
        self._failure: ServiceError | None = None  # of the last try to open it
        self._failed = 0.0

    async def store(self) -> ChatStore:
        """The store, opened.

        Raises:
            ServiceError: It cannot be used now, or its disk is full.
            PreconditionFailed: This server keeps no chats.
        """
        if self._store is None:
            if self._open_store is None:
                raise PreconditionFailed("this server keeps no chats")
            async with self._opening:
                if self._store is None:
                    self._store = await self._opened(self._open_store)
                    self._tasks.start_soon(self._keep_up, self._store)
        return self._store

    async def begin(self, request: StreamAnswerRequest, caller: Caller, *, answer: str, created: float) -> Conversation:
        """The conversation of an answer that is about to begin; in a chat, its prompt is stored.

        Args:
            request: What is asked.
            caller: Who asks.
            answer: The answer's name.
            created: When it begins, in seconds since 1970.

        Raises:
            TurnExists: There is a turn with this request id.
            ServiceError: An answer runs in the chat (CHAT_BUSY), there is no such chat (RESOURCE_NOT_FOUND), or it has
                as many turns as may be (QUOTA_EXCEEDED).
        """
        if not request.chat:
            return Conversation(request)
        store = await self.store()
        turn = NewTurn(
            id=new_id(),
            tenant=caller.tenant,
            chat=chat_id(request.chat),
            answer=answer,
            prompt=request.prompt,
            outline=_outline(answer, request, created),
            created=round(created * 1_000_000),
            request_id=request.request_id,
            digest=digest_of(request),
        )
        self._settling.begin(answer)
        try:
            with failures.translated():
                return await self._joined(request, await self._begun(store, turn, request))
        except BaseException as error:
            if _refuses(error):
                self._settling.let_go(answer)
            else:  # it may be stored although the database did not say so
                with anyio.CancelScope(shield=True):
                    await self.withdraw(answer)
            raise

    async def withdraw(self, answer: str) -> None:
        """Takes back the turn of an answer that did not begin after all; of one outside a chat there is none.

        Where that fails, the turn is settled later, as one whose answer nobody makes.
        """
        if self._settling.is_live(answer):
            try:
                store = await self.store()
                with failures.translated():
                    await store.withdraw(answer)
            except ServiceError as error:
                log.warning("turn.not_withdrawn", answer=answer, error=str(error))
            finally:
                self._settling.let_go(answer)

    async def go_on(self, request: StreamAnswerRequest, *, answer: str) -> Conversation | None:
        """The conversation of an answer that an earlier owner has begun.

        None where nobody should go on with it: its chat was deleted meanwhile, or has settled its turn, or this server
        keeps no chats.

        Raises:
            ServiceError: The chat cannot be read now. Who does not go on with the answer says so by `let_go`.
        """
        if not request.chat:
            return Conversation(request)
        if self._open_store is None:
            return None
        store = await self.store()
        with failures.translated():
            turn = await store.take_on(answer)
            if turn is None or turn.state != answer_pb2.ANSWER_STATE_RUNNING:
                return None
            self._settling.begin(answer)
            try:
                return await self._joined(request, turn)
            except BaseException:
                self._settling.let_go(answer)
                raise

    def let_go(self, answer: str) -> None:
        """Notes that an answer is made here no more; where that was not its end, its turn is settled when it can be."""
        self._settling.let_go(answer)

    async def ended(self, answer: str, ending: answer_pb2.Answer) -> None:
        """Stores how an answer of a chat has ended; where that fails, it is tried again later."""
        self._settling.end(answer, ending)
        settled = anyio.Event()
        self._tasks.start_soon(self._settle_behind, answer, settled)
        with anyio.move_on_after(_SETTLE_SECONDS):
            await settled.wait()

    async def find(self, caller: Caller, answer: str) -> TurnRecord | None:
        """The caller's turn with this answer, or None."""
        if not self._is_used():
            return None
        store = await self.store()
        with failures.translated():
            turn = await store.find_answer(answer)
        return turn if turn is not None and turn.tenant == caller.tenant else None

    async def find_request(self, caller: Caller, request_id: str) -> TurnRecord | None:
        """The caller's turn with this request id, or None."""
        if not request_id or not self._is_used():
            return None
        store = await self.store()
        with failures.translated():
            return await store.find_request(caller.tenant, request_id)

    async def still_kept(self, records: Sequence[AnswerRecord]) -> list[AnswerRecord]:
        """Those of these records of ended answers that may be shown.

        Another server may have deleted an answer of a chat, or the whole chat: what the log here has of it is then
        forgotten too. Where the chats cannot be read, the log is believed.
        """
        of_chats = [record.name for record in records if record.chat and record.ending]
        if not of_chats or self._open_store is None:
            return list(records)
        try:
            store = await self.store()
            with failures.translated():
                gone = set(of_chats) - await store.kept(of_chats)
        except ServiceError as error:
            log.warning("chats.unreachable", error=str(error))
            return list(records)
        for answer in gone:
            await self._log.delete(answer)
        return [record for record in records if record.name not in gone]

    async def forget(self, answer: str) -> None:
        """Takes an answer out of its turn, if it has one."""
        if self._open_store is not None:
            store = await self.store()
            with failures.translated():
                await self._settling.release(store, answer)  # or its turn would have the text again later
                await store.forget_answer(answer)

    async def release(self, answer: str) -> None:
        """Settles a turn whose answer has ended without its conversation; where that fails, it is tried again later."""
        try:
            store = await self.store()
            with failures.translated():
                await self._settling.release(store, answer)
        except (ServiceError, PreconditionFailed) as error:
            log.warning("turn.unsettled", answer=answer, error=str(error))

    async def remove_deleted(self, chat: str, answers: Sequence[str]) -> None:
        """Removes a chat that is marked as deleted, and what the log has of its answers."""
        store = await self.store()
        with failures.translated():
            await self._settling.remove(store, chat, answers)

    def _is_used(self) -> bool:
        """Whether there is anything to look for: most who ask for an answer that is not there have never had a chat."""
        return self._store is not None or (self._open_store is not None and self._any_chats())

    async def _keep_up(self, store: ChatStore) -> None:
        """Tells other servers that this one lives, and settles what is left to settle; until it is cancelled."""
        while True:
            await anyio.sleep(_ROUND_SECONDS)
            try:
                await self._settling.tidy_up(store)
            except (ChatStoreError, AnswerLogError) as error:
                log.warning("chats.unreachable", error=str(error))
            except Exception:
                log.exception("chats.defect")  # what one round meets stops neither the next nor the server

    async def aclose(self) -> None:
        """Lets go of the store."""
        if self._store is not None:
            await self._store.aclose()

    async def _settle_behind(self, answer: str, settled: anyio.Event) -> None:
        """Settles a turn in a task that nobody who waits for it can cancel."""
        try:
            await self._settling.settle(await self.store(), answer)
        except (ChatStoreError, AnswerLogError, ServiceError) as error:
            log.warning("turn.unsettled", answer=answer, error=str(error))
        except Exception:
            log.exception("turn.unsettled", answer=answer)  # one turn's defect ends no other's task
        finally:
            settled.set()

    async def _opened(self, open_store: OpenStore) -> ChatStore:
        """The store, opened; those who waited for a try that failed do not wait for another of their own."""
        if self._failure is not None and time.monotonic() < self._failed + _RETRY_SECONDS:
            raise self._failure
        try:
            with failures.translated():
                store = await open_store()
                try:
                    await self._settling.tidy(store)
                except BaseException:
                    with anyio.CancelScope(shield=True):
                        await store.aclose()
                    raise
        except ServiceError as error:
            self._failure, self._failed = error, time.monotonic()
            raise
        return store

    async def _begun(self, store: ChatStore, turn: NewTurn, request: StreamAnswerRequest) -> TurnRecord:
        """The turn, stored; where the chat is busy with an answer that has ended unnoticed, that is settled first."""
        for last_try in (False, True):
            try:
                return await store.begin_turn(turn, at_most=self._max_turns, lost=self._settling.lost)
            except ChatBusy as busy:
                if last_try or not await self._settling.release(store, busy.answer):
                    raise failures.busy(request.chat, busy.answer) from None
            except ChatUnknown:
                raise failures.unknown(request.chat) from None
            except TooMany:
                raise failures.too_many("turns", self._max_turns) from None
        raise AssertionError("the last try returns or raises")

    async def _joined(self, request: StreamAnswerRequest, turn: TurnRecord) -> Conversation:
        """The conversation of a turn that is stored."""
        store = await self.store()
        said = await store.said(turn.chat, before=turn.number, limit=MAX_TURNS, max_bytes=room_beside(request))
        whole = in_chat(request, Chat.FromString(turn.settings), said)

        async def ended(ending: answer_pb2.Answer) -> None:
            await self.ended(turn.answer, ending)

        return Conversation(whole, earlier_messages=2 * said.earlier, ended=ended)


@asynccontextmanager
async def open_conversations(
    open_store: OpenStore | None,
    *,
    answer_log: AnswerLog,
    describe: DescribeFailure,
    max_turns: int,
    any_chats: AnyChats,
) -> AsyncGenerator[Conversations]:
    """Keeps conversations, in tasks of its own; see `Conversations`."""
    async with owned_tasks(cancel=True) as tasks:
        conversations = Conversations(
            open_store,
            answer_log=answer_log,
            describe=describe,
            max_turns=max_turns,
            tasks=tasks,
            any_chats=any_chats,
        )
        try:
            yield conversations
        finally:
            with anyio.CancelScope(shield=True):
                await conversations.aclose()


def _refuses(error: BaseException) -> bool:
    """Whether an error says for certain that the turn was not stored."""
    return isinstance(error, TurnExists) or (isinstance(error, ServiceError) and error.reason in _REFUSALS)


def _outline(answer: str, request: StreamAnswerRequest, created: float) -> bytes:
    """What is known of an answer before it begins."""
    outline = header_of(answer, request, created=created)
    outline.ClearField("prompt")
    outline.state = answer_pb2.ANSWER_STATE_RUNNING
    return outline.SerializeToString()
