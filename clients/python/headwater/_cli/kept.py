"""Showing what a server keeps: answers, and the turns of chats."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from headwater._citations import render_with_citations
from headwater._cli.outcomes import abstention, ending
from headwater._cli.sources import by_use, source_line
from headwater._cli.terminal import line, local_time, safe
from headwater._enums import FinishReason
from headwater.v1 import answer_pb2, chat_pb2


def cited_text(answer: answer_pb2.Answer) -> str:
    """An answer's text with the numbers of its sources; what it says instead, where it has none."""
    if not answer.text and FinishReason(answer.finish_reason) is FinishReason.ABSTAINED:
        return abstention(answer)
    return safe(render_with_citations(answer)).strip()


def source_lines(answer: answer_pb2.Answer) -> list[Text]:
    """A line for each source that belongs under an answer: those it cites, or all where it cites none."""
    cited, others = by_use(answer.sources)
    return [source_line(source, source.id) for source in cited or others]


def show_answer(answer: answer_pb2.Answer) -> None:
    """Shows a kept answer as it was shown when it came: its text, why it ends where it does, its sources."""
    if text := cited_text(answer):
        line(text)
    if said := ending(answer):
        line(Text(f"({safe(said)})", style="dim"))
    if answer.text and (sources := source_lines(answer)):
        line(Text("\nSources", style="bold"))
        for source in sources:
            line(source)


def as_markdown(chat: chat_pb2.Chat, turns: Iterable[chat_pb2.Turn]) -> Iterable[str]:
    """A chat as Markdown, a part at a time: a heading, then each prompt as a quotation, its answer and its sources."""
    yield f"# {' '.join(safe(chat.display_name).split()) or chat.name}\n\n{chat.name}, {local_time(chat.create_time)}\n"
    for turn in turns:
        quoted = "\n".join(f"> {words}".rstrip() for words in safe(turn.prompt).splitlines())
        parts = [quoted, cited_text(turn.answer)]
        if said := ending(turn.answer):
            parts.append(f"*({safe(said)})*")
        if turn.answer.text and (sources := source_lines(turn.answer)):
            parts.append("\n".join(f"- {source.plain}" for source in sources))
        yield "\n" + "\n\n".join(filter(None, parts)) + "\n"
