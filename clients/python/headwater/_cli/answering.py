"""Asking a question, and showing its answer while it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.status import Status
from rich.text import Text

from headwater._answer import Answer
from headwater._cli.cited_text import CitedText
from headwater._cli.failures import say
from headwater._cli.outcomes import abstention, ending
from headwater._cli.sources import by_use, source_line
from headwater._cli.terminal import errors, line, moves, note, plural, safe, write, write_json
from headwater._client import Client
from headwater._enums import FinishReason
from headwater._exceptions import HeadwaterError
from headwater.v1 import answer_pb2

_EXTRACTIVE = "assistants/builtin/extractive"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    prompt: str
    """The question."""
    corpora: Sequence[str] | None = None
    """The corpora to search. None: those of the chat, or the default one."""
    chat: str | None = None
    """The chat to ask in. None: none."""
    assistant: str | None = None
    """Who is to answer. None: the chat's assistant, or the server's default."""
    top_k: int | None = None
    """How many sources at most. None: the server's setting."""
    instructions: str | None = None
    """Instructions to the assistant. None: none."""


def ask(client: Client, question: Question, *, as_json: bool, show_sources: bool) -> None:
    """Asks, and shows the answer while it comes. Ctrl-C stops the answer at the server, too.

    Args:
        client: The server.
        question: What to ask.
        as_json: Whether to write each chunk as a line of JSON instead.
        show_sources: Whether to list the sources under the answer.

    Raises:
        CallError: The answer failed.
        ProtocolError: The server broke the protocol.
        KeyboardInterrupt: Ctrl-C.
    """
    with begin(client, question) as answer, stopped_with_the_program(answer):
        show(answer, as_json=as_json, show_sources=show_sources)


def begin(client: Client, question: Question) -> Answer:
    """Asks.

    Raises:
        ArgumentError: The question is not as it must be.
    """
    return client.answer(
        question.prompt,
        corpora=question.corpora,
        chat=question.chat,
        assistant=question.assistant,
        top_k=question.top_k,
        instructions=question.instructions,
    )


def show(answer: Answer, *, as_json: bool = False, show_sources: bool = True, say_how: bool = True) -> None:
    """Shows an answer while it comes, and then what there is to say about it.

    Args:
        answer: The answer.
        as_json: Whether to write each chunk as a line of JSON instead.
        show_sources: Whether to list the sources under the answer.
        say_how: Whether to say what kind of answer it is, where that is not plain.

    Raises:
        CallError: The answer failed.
        ProtocolError: The server broke the protocol.
    """
    if as_json:
        for chunk in answer.chunks():
            write_json(chunk)
        return
    screen = _Screen()
    with screen:
        for chunk in answer.chunks():
            screen.take(chunk)
    _conclude(answer.message, written=screen.written, show_sources=show_sources, say_how=say_how)


@contextmanager
def stopped_with_the_program(answer: Answer) -> Iterator[None]:
    """Tells the server to stop at Ctrl-C. A server that does not hear that still stops, as its reader goes away.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(HeadwaterError):
            if answer.name:  # which raises where nothing has come yet: then closing the call is all there is to do
                answer.cancel()
        raise


class _Screen:
    """Shows the text as it comes, and until then what is being waited for."""

    def __init__(self) -> None:
        self.written = False
        self._text = CitedText()
        self._status = Status("connecting …", console=errors()) if moves() else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_waiting()
        if kind is None:
            self._write(self._text.end())
        if self.written and not isinstance(error, BrokenPipeError):
            write("\n")

    def take(self, chunk: answer_pb2.AnswerChunk) -> None:
        match chunk.WhichOneof("event"):
            case "started":
                self._wait_for("searching …")
            case "retrieved" if chunk.retrieved.HasField("statistics"):
                self._wait_for("waiting for the assistant …")
            case "reasoning":
                self._wait_for("the assistant is thinking …")
            case "text":
                self._write(self._text.text(chunk.text.text))
            case "citation":
                self._write(self._text.citation(chunk.citation))

    def _write(self, text: str) -> None:
        if text:
            self._stop_waiting()
            self.written = True
            write(safe(text))

    def _wait_for(self, what: str) -> None:
        if self._status is not None:
            self._status.update(what)

    def _stop_waiting(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


def _conclude(answer: answer_pb2.Answer, *, written: bool, show_sources: bool, say_how: bool) -> None:
    if FinishReason(answer.finish_reason) is FinishReason.ABSTAINED:
        if not written:
            line(abstention(answer))
        if not answer.sources:
            note("is anything imported there? `headwater corpora list` shows it, `headwater import PATH` adds to it")
    elif said := ending(answer):
        say(said)
    if answer.unlogged:
        say("the server has no room to keep this answer: it cannot be shown again")
    if show_sources:
        list_sources(answer)
    if say_how and answer.assistant == _EXTRACTIVE and written:
        note("answered by builtin/extractive: sentences of the sources, quoted; no language model took part")


def list_sources(answer: answer_pb2.Answer) -> None:
    """Lists the sources of an answer: those that it cites, or what was found where it cites none."""
    cited, others = by_use(answer.sources)
    if not cited and FinishReason(answer.finish_reason) is FinishReason.ABSTAINED:
        if others:
            line(Text(f"\nThe nearest of {plural(len(others), 'passage')} found:", style="bold"))
            for source in others[:3]:
                line(source_line(source, source.id))
        return
    if cited or others:
        line(Text("\nSources", style="bold"))
    for source in cited or others:
        line(source_line(source, source.id))
    if cited and others:
        note(f"{plural(len(others), 'more passage')} found and not cited")
