"""Is only type-checked: what a user's type checker must accept, and what it must refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from headwater import (
    Answer,
    AnswerChunk,
    AsyncAnswer,
    AsyncClient,
    Chat,
    Citation,
    Client,
    Corpus,
    Document,
    Filter,
    FinishReason,
    ImportProgress,
    RetrievalResult,
    Source,
    Turn,
    Usage,
    citation_span,
    field,
)
from headwater.v1 import answer_pb2


def blocking(client: Client) -> None:
    answer = client.answer("Why?", corpus="handbook", filter=(field("year") >= 2020) & field("tag").in_(["a"]))
    assert_type(answer, Answer)
    assert_type(iter(answer), Iterator[str])
    assert_type(answer.chunks(), Iterator[AnswerChunk])
    assert_type(answer.content(), str)
    assert_type(answer.retrieved(), RetrievalResult)
    assert_type(answer.retrieved()[0], Source)
    assert_type(answer.finish_reason, FinishReason)
    assert_type(answer.usage, Usage | None)
    assert_type(client.get_answer("x"), answer_pb2.Answer)
    assert_type(client.list_answers(state="running"), Iterator[answer_pb2.Answer])
    assert_type(client.answer("Why?", chat=client.chats.create(corpus="handbook")).unlogged, bool)
    assert_type(client.chats.list(), Iterator[Chat])
    assert_type(client.chats.list_turns("x"), Iterator[Turn])
    assert_type(client.chats.get_turn("x", chat=Chat()), Turn)
    assert_type(client.documents.import_file(b"x", on_progress=show), Document)
    assert_type(client.corpora.create("x", embedder="openai/m", language="en", max_characters=500), Corpus)
    assert_type(client.corpora.reembed("x", embedder="openai/m"), Corpus)
    assert_type(client.corpora.list(), Iterator[Corpus])
    assert_type(client.documents.download("x"), bytes)
    for citation in answer.citations:
        assert_type(citation, Citation)
        assert_type(citation_span(answer.content(), citation), tuple[int, int])
    with client as same:
        assert_type(same, Client)


async def asynchronous(client: AsyncClient) -> None:
    answer = client.answer("Why?", history=[("user", "Hello"), ("assistant", "Hi")], sources=["text", Source()])
    assert_type(answer, AsyncAnswer)
    assert_type(await answer, AsyncAnswer)
    assert_type(aiter(answer), AsyncIterator[str])
    assert_type(answer.chunks(), AsyncIterator[AnswerChunk])
    assert_type(await answer.content(), str)
    assert_type(await client.documents.import_file("x"), Document)
    assert_type(client.corpora.list(), AsyncIterator[Corpus])
    assert_type(await client.chats.update("x", display_name="y"), Chat)
    assert_type(client.chats.list_turns("x"), AsyncIterator[Turn])
    assert_type(client.list_answers(), AsyncIterator[answer_pb2.Answer])
    async with client.answer("Why?") as other:
        assert_type(other, AsyncAnswer)


def refused(client: Client) -> None:
    client.answer("Why?", "handbook")  # type: ignore[call-arg]  # only the prompt is positional
    client.answer("Why?", mode="semantic")  # type: ignore[arg-type]  # not one of the three
    client.retrieve(3)  # type: ignore[arg-type]  # a query is text
    client.chats.create("x")  # type: ignore[call-arg]  # the server names chats
    client.list_answers(state="paused")  # type: ignore[arg-type]  # not one of the four
    client.answer("Why?", colour="red")  # type: ignore[call-arg]  # no such option
    _ = field("year") >= None  # type: ignore[operator]  # None is no value


def show(progress: ImportProgress) -> None:
    assert_type(progress.committed_bytes, int)
    assert_type(field("year") == 2020, Filter)
