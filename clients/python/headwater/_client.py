"""The blocking client."""

from __future__ import annotations

import contextlib
import uuid
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from headwater._answer import Answer
from headwater._answer_calls import AnswerCalls
from headwater._chat_requests import list_answers_request
from headwater._chats import Chats
from headwater._checks import page
from headwater._collecting import RetrievalCheck
from headwater._connection import DEFAULT_KEEPALIVE, DEFAULT_TIMEOUT, TlsSettings, resolve_endpoint
from headwater._corpora import Corpora
from headwater._documents import Documents
from headwater._enums import AbstainPolicyName, AnswerStateName, RetrievalModeName
from headwater._filters import FilterInput
from headwater._names import ChatInput, answer_name
from headwater._requests import (
    HistoryMessage,
    Limits,
    SourceInput,
    answer_request,
    cancel_request,
    retrieval_options,
)
from headwater._retrieval import RetrievalResult
from headwater._transport import Transport
from headwater.v1 import answer_pb2, answer_service_pb2, assistant_service_pb2, retrieval_service_pb2


class Client:
    """A connection to a Headwater server, for threads. Any number of threads may share one.

    Attributes:
        target: The address of the server.
        corpora: The corpora: create, get, list, update, delete.
        documents: The documents: import, create, get, list, watch, update, delete, download.
        chats: The chats: create, get, list, update, delete, and their turns.

    Example:
        >>> from headwater import Client
        >>> with Client() as client:  # doctest: +SKIP
        ...     print(client.answer("What does the handbook say about leave?", corpus="handbook"))
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        token: str | None = None,
        tls: TlsSettings | None = None,
        insecure: bool = False,
        timeout: float | None = DEFAULT_TIMEOUT,
        keepalive: float | None = DEFAULT_KEEPALIVE,
        user_agent: str = "",
    ) -> None:
        """Prepares the connection; it is made with the first call.

        Args:
            target: The server, `host:port`. None: the environment variable HEADWATER_TARGET, or 127.0.0.1:50051.
            token: Sent with each call as a bearer token; never in plain text beyond this machine.
            tls: How to secure the connection. None: plain text to this machine, and TLS with gRPC's own certificates
                elsewhere.
            insecure: Whether to use plain text beyond this machine too.
            timeout: Seconds that a call may take that is not a stream, and a search. None: without limit.
            keepalive: Seconds of silence in a call after which the connection is tried. None: never.
            user_agent: What goes before this library's own name and version.

        Raises:
            ArgumentError: The arguments contradict each other, or a certificate cannot be read.
        """
        endpoint = resolve_endpoint(
            target, token=token, tls=tls, insecure=insecure, keepalive=keepalive, user_agent=user_agent
        )
        self._transport = Transport(endpoint, timeout=timeout)
        self._answers: weakref.WeakSet[Answer] = weakref.WeakSet()
        self.target = endpoint.target
        self.corpora = Corpora(self._transport)
        self.documents = Documents(self._transport)
        self.chats = Chats(self._transport)

    def answer(
        self,
        prompt: str,
        *,
        corpus: str | None = None,
        corpora: Sequence[str] | None = None,
        chat: ChatInput | None = None,
        history: Iterable[HistoryMessage] | None = None,
        assistant: str | None = None,
        sources: Iterable[SourceInput] | None = None,
        grounded: bool = True,
        query: str | None = None,
        filter: FilterInput | None = None,  # noqa: A002  # the word of the contract
        mode: RetrievalModeName | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        token_budget: int | None = None,
        instructions: str | None = None,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop_sequences: Sequence[str] | None = None,
        seed: int | None = None,
        provider_options: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        abstain: AbstainPolicyName | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: str | uuid.UUID | None = None,
        timeout: float | None = None,
        resume: bool = True,
    ) -> Answer:
        """Asks, and returns the handle of the streamed answer at once. What is None is left to the server.

        Args:
            prompt: What to ask.
            corpus: The corpus to search, by its name or bare id. None, and no `corpora`: `default`, or the chat's.
            corpora: Several corpora to search.
            chat: The chat to answer in: its name, its bare id, or the `Chat`. It has one running answer at most; a
                second raises `ChatBusy`, which names the first, from reading.
            history: The conversation before, oldest first, for callers that keep it themselves; not with `chat`.
            assistant: The assistant, `provider/model`.
            sources: Sources to answer from instead of a search.
            grounded: False asks for an answer from the model's own knowledge, without sources.
            query: What to search for. None: the prompt.
            filter: Which documents to search, such as `field("year") >= 2020`.
            mode: How to search.
            top_k: How many sources at most, 1 to 100.
            min_score: The least relevance of a source, 0 to 1; negative: no limit; not with `mode="lexical"`.
            token_budget: How many tokens the sources may have in all.
            instructions: Instructions to the assistant, such as a tone or a language.
            max_output_tokens: How many tokens to write at most.
            temperature: The sampling temperature, 0 to 2.
            top_p: The probability mass to sample from, over 0 and up to 1.
            stop_sequences: Texts that end the answer and are not part of it.
            seed: A seed, for providers that take one.
            provider_options: Fields for the provider's own request.
            limits: How long the server waits for the assistant.
            abstain: When the assistant abstains.
            labels: Labels of your own, given back with the answer.
            request_id: A UUID that makes asking idempotent. None: a new one.
            timeout: Seconds that reading the whole answer may take. None: without limit.
            resume: Whether to resume unseen where the connection breaks or the server stops: the server then keeps the
                answer going for 20 s without a reader. False: a broken connection raises `ConnectionLost`, which has
                the part.

        Raises:
            ArgumentError: An argument is not as it must be. Nothing was sent.
            ClientClosed: The client was closed.
        """
        request = answer_request(
            prompt,
            corpus=corpus,
            corpora=corpora,
            chat=chat,
            history=history,
            assistant=assistant,
            sources=sources,
            grounded=grounded,
            query=query,
            filter=filter,
            mode=mode,
            top_k=top_k,
            min_score=min_score,
            token_budget=token_budget,
            instructions=instructions,
            max_output_tokens=max_output_tokens,
            temperature=temperature,
            top_p=top_p,
            stop_sequences=stop_sequences,
            seed=seed,
            provider_options=provider_options,
            limits=limits,
            abstain=abstain,
            labels=labels,
            request_id=request_id,
            resume=resume,
        )
        answer = Answer(AnswerCalls(self._transport, request, timeout=timeout), resume=resume)
        self._answers.add(answer)
        return answer

    def resume(self, name: str, *, timeout: float | None = None) -> Answer:
        """Reads an answer that was asked for earlier, running or ended, from its beginning.

        Closing the handle does not stop the answer: `cancel()` does.

        Args:
            name: Its name, `answers/{answer}`, or the bare id.
            timeout: Seconds that reading it may take. None: without limit.

        Raises:
            ArgumentError: The name is none.
            ClientClosed: The client was closed.
            NotFound: From reading: there is no such answer, or it has expired.
        """
        answer = Answer(AnswerCalls(self._transport, None, timeout=timeout), resume=True, name=answer_name(name))
        self._answers.add(answer)
        return answer

    def get_answer(self, name: str) -> answer_pb2.Answer:
        """Returns an answer, running or ended, as protobuf.

        Raises:
            NotFound: There is no such answer, or it has expired.
            CallError: The call failed.
        """
        request = answer_service_pb2.GetAnswerRequest(name=answer_name(name))
        return self._transport.unary(self._transport.answers.GetAnswer, request)

    def cancel_answer(self, name: str | None = None, *, request_id: str | uuid.UUID | None = None) -> answer_pb2.Answer:
        """Stops an answer, by its name or its request_id, and returns it as it ended.

        Raises:
            ArgumentError: Both are given, or none.
            NotFound: There is no such answer, or it has expired.
            CallError: The call failed.
        """
        return self._cancel_answer(cancel_request(name, request_id))

    def list_answers(self, *, state: AnswerStateName | None = None, page_size: int = 0) -> Iterator[answer_pb2.Answer]:
        """Iterates over the answers that are kept, newest first, and fetches them a page at a time.

        They are as protobuf, and without their sources' contents, which `get_answer` has.

        Args:
            state: Only those in this state. None: all.
            page_size: How many to fetch at once, up to 1,000. 0: as the server likes.

        Raises:
            ArgumentError: The state is none.
            CallError: A call failed.
        """
        request = list_answers_request(state, page_size)
        while True:
            found = self._transport.unary(self._transport.answers.ListAnswers, request)
            yield from found.answers
            if not found.next_page_token:
                return
            request.page_token = found.next_page_token

    def delete_answer(self, name: str) -> None:
        """Forgets an answer; one that runs is stopped first.

        Raises:
            NotFound: There is no such answer, or it has expired.
            CallError: The call failed.
        """
        request = answer_service_pb2.DeleteAnswerRequest(name=answer_name(name))
        self._transport.unary(self._transport.answers.DeleteAnswer, request)

    def retrieve(
        self,
        query: str,
        *,
        corpus: str | None = None,
        corpora: Sequence[str] | None = None,
        filter: FilterInput | None = None,  # noqa: A002  # the word of the contract
        mode: RetrievalModeName | None = None,
        top_k: int | None = None,
        min_score: float | None = None,
        token_budget: int | None = None,
    ) -> RetrievalResult:
        """Finds the passages that fit a query best. What is None is left to the server.

        Args:
            query: What to search for.
            corpus: The corpus, by its name or bare id. None, and no `corpora`: `default`.
            corpora: Several corpora.
            filter: Which documents to search, such as `field("year") >= 2020`.
            mode: How to search.
            top_k: How many sources at most, 1 to 100.
            min_score: The least relevance of a source, 0 to 1; negative: no limit; not with `mode="lexical"`.
            token_budget: How many tokens the sources may have in all.

        Returns:
            The sources, best first, with the statistics of the search.

        Raises:
            ArgumentError: An argument is not as it must be.
            CallError: The call failed.
            ProtocolError: The server broke the protocol.
        """
        options = retrieval_options(
            query=query,
            corpus=corpus,
            corpora=corpora,
            filter=filter,
            mode=mode,
            top_k=top_k,
            min_score=min_score,
            token_budget=token_budget,
        )
        request = retrieval_service_pb2.RetrieveRequest(options=options)
        check = RetrievalCheck()
        responses = self._transport.stream(self._transport.retrieval.Retrieve, request, timeout=self._transport.timeout)
        with contextlib.closing(responses):
            for response in responses:
                check.accept(response)
        return check.finish()

    def assistants(self, *, page_size: int = 0) -> Iterator[assistant_service_pb2.Assistant]:
        """Iterates over the assistants that can be asked, by name, and fetches them a page at a time.

        Args:
            page_size: How many to fetch at once, up to 1,000. 0: as the server likes.

        Raises:
            CallError: A call failed.
        """
        request = assistant_service_pb2.ListAssistantsRequest(page_size=page(page_size))
        while True:
            found = self._transport.unary(self._transport.assistants.ListAssistants, request)
            yield from found.assistants
            if not found.next_page_token:
                return
            request.page_token = found.next_page_token

    def close(self) -> None:
        """Closes the connection and every answer that is not finished. Closing twice is fine."""
        for answer in list(self._answers):
            answer.close()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.target}>"

    def _cancel_answer(self, request: answer_service_pb2.CancelAnswerRequest) -> answer_pb2.Answer:
        return self._transport.unary(self._transport.answers.CancelAnswer, request)
