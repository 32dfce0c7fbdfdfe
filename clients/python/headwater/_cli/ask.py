"""`headwater ask`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from headwater._cli.answering import Question
from headwater._cli.answering import ask as answer_question
from headwater._cli.connecting import Connection, connecting, given_options
from headwater._cli.failures import USAGE, CommandFailed
from headwater._cli.verbose import Verbose, say_resumptions

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@connecting
def ask(
    connection: Connection,
    *,
    context: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(metavar="[PROMPT]", help="The question; `-`, or none, reads it from standard input.")
    ] = None,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files and folders to ask about, without a server."),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option("--corpus", "-c", metavar="NAME", help="A corpus to search; may be repeated.  [default: default]"),
    ] = None,
    chat: Annotated[
        str | None,
        typer.Option(
            "--chat", metavar="NAME", help="Ask in this chat, so that the question and the answer stay in it."
        ),
    ] = None,
    assistant: Annotated[
        str | None, typer.Option("--assistant", "-a", metavar="PROVIDER/MODEL", help="Who is to answer.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", metavar="N", min=1, max=100, help="How many sources at most.")
    ] = None,
    instructions: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Instructions to the assistant, such as a language.")
    ] = None,
    no_sources: Annotated[bool, typer.Option("--no-sources", help="Do not list the sources.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write each chunk of the stream as one line of JSON.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Ask a question. The answer streams to standard output, and its sources follow.

    With PATHs no server is needed: what is in them is read once and kept in a cache. Ctrl-C stops the answer.
    """
    say_resumptions(verbose)
    question = Question(
        prompt=_read_prompt(prompt),
        corpora=corpus or None,
        chat=chat,
        assistant=assistant,
        top_k=top_k,
        instructions=instructions,
    )
    if paths:
        if corpus:
            raise CommandFailed("PATHs are searched by themselves: leave out --corpus, or the PATHs", code=USAGE)
        if chat is not None:
            raise CommandFailed("a chat is on a server: leave out --chat, or the PATHs", code=USAGE)
        if given := given_options(context):
            raise CommandFailed(
                f"PATHs are asked about without a server: leave out {', '.join(given)}, or the PATHs", code=USAGE
            )
        from headwater._cli.local_files import ask_files  # noqa: PLC0415  # a question to a server needs none of it

        ask_files(question, paths, as_json=as_json, show_sources=not no_sources)
        return
    with connection.open() as client:
        answer_question(client, question, as_json=as_json, show_sources=not no_sources)


def _read_prompt(given: str | None) -> str:
    """The prompt, from standard input where that is asked for, or where nothing else is there.

    Raises:
        CommandFailed: There is none.
    """
    prompt = given
    if given == "-" or (given is None and not sys.stdin.isatty()):
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    if prompt is None or not prompt.strip():
        raise CommandFailed('there is no question: headwater ask "…", or pipe one in', code=USAGE)
    return prompt
