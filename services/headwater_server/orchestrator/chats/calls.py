"""The calls about chats and their turns."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Literal

from google.protobuf.empty_pb2 import Empty

from headwater.v1 import answer_pb2, answer_service_pb2, chat_pb2
from headwater.v1.answer_service_pb2 import ListChatsResponse, ListTurnsResponse
from headwater_server.errors import InvalidRequest, Reason, ServiceError
from headwater_server.interfaces import Caller
from headwater_server.names import new_id
from headwater_server.orchestrator.chats import failures
from headwater_server.orchestrator.chats.answers import chat_id, chat_name, turn_ids, turn_message
from headwater_server.orchestrator.chats.conversations import Conversations
from headwater_server.orchestrator.chats.protocol import ChatBusy, ChatRecord, ChatUnknown, NewChat, TooMany, TurnRecord
from headwater_server.orchestrator.chats.settling import now_micros
from headwater_server.orchestrator.listed import clear_contents
from headwater_server.paging import MAX_PAGE_BYTES, PageTokens, page_of, page_size
from headwater_server.update_masks import fields_to_update

DEFAULT_PAGE = 50

_Field = Literal["assistant", "display_name", "labels", "retrieval"]
_CHANGEABLE: tuple[_Field, ...] = ("assistant", "display_name", "labels", "retrieval")
_CHAT = re.compile(r"chats/[A-Za-z0-9._~-]{1,64}")
_ASSISTANT = re.compile(r"(assistants/)?[A-Za-z0-9][A-Za-z0-9._-]*/.+")
_DELETE_TRIES = 5

Live = Callable[[Caller, str], Awaitable[answer_pb2.Answer | None]]
"""The caller's answer of this name as it stands, if this server makes it."""

Stop = Callable[[Caller, str], Awaitable[None]]
"""Stops the caller's answer of this name, if this server makes it."""


class ChatCalls:
    """Chats, as callers see them.

    Args:
        conversations: Has the store.
        live: Finds an answer that runs.
        stop: Stops one.
        max_chats: How many chats a tenant may have.
    """

    def __init__(self, conversations: Conversations, *, live: Live, stop: Stop, max_chats: int) -> None:
        self._conversations = conversations
        self._live = live
        self._stop = stop
        self._max_chats = max_chats
        self._tokens = PageTokens()

    async def create_chat(self, request: answer_service_pb2.CreateChatRequest, caller: Caller) -> chat_pb2.Chat:
        """Makes a chat.

        Raises:
            ServiceError: There are as many as may be (QUOTA_EXCEEDED), or the request_id was used for another request
                (REQUEST_ID_REUSED).
        """
        asked = answer_service_pb2.CreateChatRequest(chat=_settings(request.chat), request_id=request.request_id)
        new = NewChat(
            id=new_id(),
            tenant=caller.tenant,
            settings=asked.chat.SerializeToString(),
            created=now_micros(),
            request_id=request.request_id,
            request=asked.SerializeToString(),
        )
        store = await self._conversations.store()
        with failures.translated():
            try:
                record = await store.create(new, at_most=self._max_chats)
            except TooMany:
                raise failures.too_many("chats", self._max_chats) from None
        if answer_service_pb2.CreateChatRequest.FromString(record.request) != asked:
            raise ServiceError(
                Reason.REQUEST_ID_REUSED,
                "the request_id was used for another chat: use a new one",
                metadata={"request_id": request.request_id, "chat": chat_name(record.id)},
            )
        return _chat(record)

    async def get_chat(self, request: answer_service_pb2.GetChatRequest, caller: Caller) -> chat_pb2.Chat:
        """A chat."""
        return _chat(await self._found(request.name, caller))

    async def list_chats(self, request: answer_service_pb2.ListChatsRequest, caller: Caller) -> ListChatsResponse:
        """A page of the caller's chats, the last changed first.

        Raises:
            InvalidRequest: The page token is none of ours.
        """
        size = page_size(request.page_size, default=DEFAULT_PAGE)
        scope = ("chats", caller.tenant)
        changed, _, last = self._tokens.read(request.page_token, *scope).partition(" ")
        store = await self._conversations.store()
        with failures.translated():
            records = await store.list_chats(
                caller.tenant, before=(int(changed), last) if last else None, limit=size + 1
            )
        page, more = page_of(map(_chat, records), limit=size)
        response = ListChatsResponse(chats=page)
        if more:
            end = records[len(page) - 1]
            response.next_page_token = self._tokens.make(*scope, last=f"{end.changed} {end.id}")
        return response

    async def update_chat(self, request: answer_service_pb2.UpdateChatRequest, caller: Caller) -> chat_pb2.Chat:
        """Changes a chat.

        Raises:
            InvalidRequest: The mask names what cannot be changed.
            ResourceNotFound: There is no such chat.
        """
        new = request.chat
        if not _CHAT.fullmatch(new.name):
            raise InvalidRequest("chat.name", "must be `chats/{chat}`")
        present = {name for name in _CHANGEABLE if _is_set(new, name)}
        fields = fields_to_update(request.update_mask, allowed=_CHANGEABLE, present=present)

        wanted = _settings(new)
        changing = [field for field in _CHANGEABLE if field in fields]
        for field in set(_CHANGEABLE).difference(changing):
            wanted.ClearField(field)

        def changed(old: bytes) -> bytes:
            settings = chat_pb2.Chat.FromString(old)
            for field in changing:
                settings.ClearField(field)
            settings.MergeFrom(wanted)
            return settings.SerializeToString()

        store = await self._conversations.store()
        with failures.translated():
            try:
                return _chat(await store.update(caller.tenant, chat_id(new.name), changed, now=now_micros()))
            except ChatUnknown:
                raise failures.unknown(new.name) from None

    async def delete_chat(self, request: answer_service_pb2.DeleteChatRequest, caller: Caller) -> Empty:
        """Deletes a chat with its turns and answers, and stops a running one first.

        Raises:
            ServiceError: There is no such chat, or new answers keep beginning in it (CHAT_BUSY).
        """
        store = await self._conversations.store()
        chat, stopped = chat_id(request.name), ""
        for _ in range(_DELETE_TRIES):
            with failures.translated():
                try:
                    answers = await store.mark_deleted(caller.tenant, chat, although_running=stopped)
                except ChatUnknown:
                    raise failures.unknown(request.name) from None
                except ChatBusy as busy:
                    stopped = busy.answer
                else:
                    await self._conversations.remove_deleted(chat, answers)
                    return Empty()
            await self._stop(caller, stopped)
        raise failures.busy(request.name, stopped)

    async def get_turn(self, request: answer_service_pb2.GetTurnRequest, caller: Caller) -> chat_pb2.Turn:
        """A turn."""
        store = await self._conversations.store()
        with failures.translated():
            try:
                turn = await store.get_turn(caller.tenant, *turn_ids(request.name))
            except ChatUnknown:
                raise failures.unknown(request.name) from None
        return await self._turn(turn, caller)

    async def list_turns(self, request: answer_service_pb2.ListTurnsRequest, caller: Caller) -> ListTurnsResponse:
        """A page of a chat's turns, oldest first, without their sources' contents.

        Raises:
            InvalidRequest: The page token is none of ours.
            ResourceNotFound: There is no such chat.
        """
        size = page_size(request.page_size, default=DEFAULT_PAGE)
        scope = ("turns", caller.tenant, request.parent)
        after = int(self._tokens.read(request.page_token, *scope) or 0)
        store = await self._conversations.store()
        with failures.translated():
            try:
                records = await store.list_turns(
                    caller.tenant, chat_id(request.parent), after=after, limit=size + 1, max_bytes=MAX_PAGE_BYTES
                )
            except ChatUnknown:
                raise failures.unknown(request.parent) from None
        turns = [_listed(await self._turn(record, caller)) for record in records]
        page, more = page_of(turns, limit=size)
        response = ListTurnsResponse(turns=page)
        if more:
            response.next_page_token = self._tokens.make(*scope, last=str(records[len(page) - 1].number))
        return response

    async def _found(self, name: str, caller: Caller) -> ChatRecord:
        store = await self._conversations.store()
        with failures.translated():
            try:
                return await store.get(caller.tenant, chat_id(name))
            except ChatUnknown:
                raise failures.unknown(name) from None

    async def _turn(self, record: TurnRecord, caller: Caller) -> chat_pb2.Turn:
        running = await self._live(caller, record.answer) if record.state == answer_pb2.ANSWER_STATE_RUNNING else None
        return turn_message(record, running)


def _chat(record: ChatRecord) -> chat_pb2.Chat:
    """A chat as callers get it."""
    chat = chat_pb2.Chat.FromString(record.settings)
    chat.name = chat_name(record.id)
    chat.running_answer = record.running
    chat.turn_count = record.turns
    chat.create_time.FromMicroseconds(record.created)
    chat.update_time.FromMicroseconds(record.changed)
    return chat


def _settings(chat: chat_pb2.Chat) -> chat_pb2.Chat:
    """What callers may set of a chat, and nothing else.

    Raises:
        InvalidRequest: The assistant is none.
    """
    if chat.assistant and not _ASSISTANT.match(chat.assistant):
        raise InvalidRequest("chat.assistant", "must be `assistants/{provider}/{model}`, or `{provider}/{model}`")
    return chat_pb2.Chat(
        display_name=chat.display_name,
        assistant=chat.assistant,
        retrieval=chat.retrieval if chat.HasField("retrieval") else None,
        labels=chat.labels,
    )


def _is_set(chat: chat_pb2.Chat, field: str) -> bool:
    return chat.HasField("retrieval") if field == "retrieval" else bool(getattr(chat, field))


def _listed(turn: chat_pb2.Turn) -> chat_pb2.Turn:
    """A turn for a list; the store has left the contents out already, but one that runs still has them."""
    if any(source.content for source in turn.answer.sources):
        clear_contents(turn.answer)
    return turn
