"""Chats, through a `Client`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence

from headwater._chat_requests import create_chat_request, update_chat_request
from headwater._checks import page
from headwater._enums import RetrievalModeName
from headwater._filters import FilterInput
from headwater._names import ChatInput, chat_name, turn_name
from headwater._transport import Transport
from headwater.v1 import answer_service_pb2, chat_pb2


class Chats:
    """The caller's chats: `client.chats`. Every method raises `CallError` if the call fails.

    A chat is given by its name, its bare id, or the `Chat` itself. `client.answer(prompt, chat=…)` answers in one.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        *,
        display_name: str = "",
        assistant: str = "",
        corpus: str | None = None,
        corpora: Sequence[str] | None = None,
        filter: FilterInput | None = None,  # noqa: A002  # the word of the contract
        mode: RetrievalModeName | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        token_budget: int | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: str | uuid.UUID | None = None,
    ) -> chat_pb2.Chat:
        """Creates a chat; the server names it. What it says of retrieval holds for turns that say nothing of it.

        Args:
            display_name: A name for people.
            assistant: The assistant of turns that name none, `provider/model`. Empty: the server's default.
            corpus: The corpus to search, by its name or bare id. None, and no `corpora`: `default`.
            corpora: Several corpora to search.
            filter: Which documents to search, such as `field("year") >= 2020`.
            mode: How to search.
            top_k: How many sources at most, 1 to 100.
            min_score: The least relevance of a source, 0 to 1; negative: no limit; not with `mode="lexical"`.
            token_budget: How many tokens the sources may have in all.
            labels: Labels of your own.
            request_id: A UUID that makes creating idempotent. None: a new one.

        Raises:
            ArgumentError: An argument is not as it must be.
        """
        request = create_chat_request(
            display_name=display_name,
            assistant=assistant,
            corpus=corpus,
            corpora=corpora,
            filter=filter,
            mode=mode,
            top_k=top_k,
            min_score=min_score,
            token_budget=token_budget,
            labels=labels,
            request_id=request_id,
        )
        return self._transport.unary(self._transport.answers.CreateChat, request)

    def get(self, chat: ChatInput) -> chat_pb2.Chat:
        """Returns a chat as it is now.

        Raises:
            NotFound: There is no such chat.
        """
        request = answer_service_pb2.GetChatRequest(name=chat_name(chat))
        return self._transport.unary(self._transport.answers.GetChat, request)

    def list(self, *, page_size: int = 0) -> Iterator[chat_pb2.Chat]:
        """Iterates over the chats, the last changed first, and fetches them a page at a time.

        Args:
            page_size: How many to fetch at once, up to 1,000. 0: as the server likes.
        """
        request = answer_service_pb2.ListChatsRequest(page_size=page(page_size))
        while True:
            found = self._transport.unary(self._transport.answers.ListChats, request)
            yield from found.chats
            if not found.next_page_token:
                return
            request.page_token = found.next_page_token

    def update(
        self,
        chat: ChatInput,
        *,
        display_name: str | None = None,
        assistant: str | None = None,
        corpus: str | None = None,
        corpora: Sequence[str] | None = None,
        filter: FilterInput | None = None,  # noqa: A002  # the word of the contract
        mode: RetrievalModeName | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        token_budget: int | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> chat_pb2.Chat:
        """Changes a chat; what is None stays, but for retrieval.

        What belongs to retrieval (`corpus` to `token_budget`) is replaced as a whole where any of it is given;
        `corpora=[]` alone takes it back to the server's defaults.

        Args:
            chat: The chat.
            display_name: A name for people.
            assistant: As for `create`; empty: the server's default.
            corpus: As for `create`.
            corpora: As for `create`.
            filter: As for `create`.
            mode: As for `create`.
            top_k: As for `create`.
            min_score: As for `create`.
            token_budget: As for `create`.
            labels: Labels of your own, all of them.

        Raises:
            ArgumentError: There is nothing to change, or an argument is not as it must be.
            NotFound: There is no such chat.
        """
        request = update_chat_request(
            chat,
            display_name=display_name,
            assistant=assistant,
            corpus=corpus,
            corpora=corpora,
            filter=filter,
            mode=mode,
            top_k=top_k,
            min_score=min_score,
            token_budget=token_budget,
            labels=labels,
        )
        return self._transport.unary(self._transport.answers.UpdateChat, request)

    def delete(self, chat: ChatInput) -> None:
        """Deletes a chat with its turns and answers; a running answer is stopped first.

        Raises:
            NotFound: There is no such chat.
        """
        request = answer_service_pb2.DeleteChatRequest(name=chat_name(chat))
        self._transport.unary(self._transport.answers.DeleteChat, request)

    def get_turn(self, turn: str, *, chat: ChatInput | None = None) -> chat_pb2.Turn:
        """Returns a turn: a prompt with its answer, as far as it has come, and its sources with their contents.

        Args:
            turn: Its name, `chats/{chat}/turns/{turn}`, or its bare id.
            chat: The chat of a turn that is given by its id.

        Raises:
            ArgumentError: It is a bare id without a chat.
            NotFound: There is no such turn.
        """
        request = answer_service_pb2.GetTurnRequest(name=turn_name(turn, chat))
        return self._transport.unary(self._transport.answers.GetTurn, request)

    def list_turns(self, chat: ChatInput, *, page_size: int = 0) -> Iterator[chat_pb2.Turn]:
        """Iterates over the turns of a chat, oldest first and without their sources' contents, a page at a time.

        Args:
            chat: The chat.
            page_size: How many to fetch at once, up to 1,000. 0: as the server likes.

        Raises:
            NotFound: There is no such chat.
        """
        request = answer_service_pb2.ListTurnsRequest(parent=chat_name(chat), page_size=page(page_size))
        while True:
            found = self._transport.unary(self._transport.answers.ListTurns, request)
            yield from found.turns
            if not found.next_page_token:
                return
            request.page_token = found.next_page_token
