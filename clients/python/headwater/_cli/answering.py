"""Asking a question, and showing its answer while it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.status import Status
from rich.text import Text

from headwater._answer import Answer
from headwater._cli.cited_text import CitedText
from headwater._cli.failures import say
from headwater._cli.sources import by_use, source_line
from headwater._cli.terminal import errors, line, moves, note, plural, safe, write, write_json
from headwater._client import Client
from headwater._enums import AbstainReason, FinishReason
from headwater._exceptions import HeadwaterError
from headwater.v1 import answer_pb2

_EXTRACTIVE = "assistants/builtin/extractive"

_ABSTAINED = {
    AbstainReason.NO_SOURCES: "Nothing was found that could answer this.",
    AbstainReason.LOW_RELEVANCE: "What was found does not answer this.",
    AbstainReason.ASSISTANT_DECLINED: "The assistant found no answer to this in the sources.",
}
_CUT_SHORT = {
    FinishReason.MAX_TOKENS: "the answer ends here, because it reached the limit of its length",
    FinishReason.CONTEXT_LIMIT: "the answer ends here, because the model's context is full",
    FinishReason.TIME_LIMIT: "the answer ends here, because its time was up",
    FinishReason.CONTENT_FILTER: "the provider withheld the rest of the answer",
    FinishReason.CANCELLED: "the answer was stopped",
    FinishReason.UPSTREAM_UNKNOWN: "the provider ended without saying why, so the answer may be incomplete",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    prompt: str
    """The question."""
    corpora: Sequence[str] | None = None
    """The corpora to search. None: the default one."""
    assistant: str | None = None
    """Who is to answer. None: the server's default."""
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
    answer = client.answer(
        question.prompt,
        corpora=question.corpora,
        assistant=question.assistant,
        top_k=question.top_k,
        instructions=question.instructions,
    )
    with answer:
        try:
            if as_json:
                for chunk in answer.chunks():
                    write_json(chunk)
            else:
                _show(answer, show_sources=show_sources)
        except KeyboardInterrupt:
            _stop(answer)
            raise


def _stop(answer: Answer) -> None:
    """Tells the server to stop. A server that does not hear that still stops, as its reader goes away."""
    with contextlib.suppress(HeadwaterError):
        if answer.name:  # which raises where nothing has come yet: then closing the call is all there is to do
            answer.cancel()


def _show(answer: Answer, *, show_sources: bool) -> None:
    screen = _Screen()
    with screen:
        for chunk in answer.chunks():
            screen.take(chunk)
    _conclude(answer.message, written=screen.written, show_sources=show_sources)


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


def _conclude(answer: answer_pb2.Answer, *, written: bool, show_sources: bool) -> None:
    reason = FinishReason(answer.finish_reason)
    if reason is FinishReason.ABSTAINED:
        said = _ABSTAINED.get(AbstainReason(answer.abstain_reason), "The assistant did not answer this.")
        if not written:
            line(said)
        if not answer.sources:
            note("is anything imported there? `headwater corpora list` shows it, `headwater import PATH` adds to it")
    elif reason in _CUT_SHORT:
        say(_CUT_SHORT[reason])
    if show_sources:
        _list_sources(answer)
    if answer.assistant == _EXTRACTIVE and written:
        note("answered by builtin/extractive: sentences of the sources, quoted; no language model took part")


def _list_sources(answer: answer_pb2.Answer) -> None:
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
