"""`headwater chat`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headwater._cli.answering import Question
from headwater._cli.chat_session import ChatSession
from headwater._cli.connecting import Connection, connecting
from headwater._cli.failures import USAGE, CommandFailed
from headwater._cli.prompts import PipedPrompts, TypedPrompts
from headwater._cli.state import chat_history
from headwater._cli.verbose import Verbose, say_resumptions
from headwater._client import Client
from headwater.v1 import chat_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@connecting
def chat(
    connection: Connection,
    *,
    name: Annotated[str | None, typer.Option("--chat", metavar="NAME", help="Go on in this chat.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Go on in the chat that was last changed.")] = False,
    corpus: Annotated[
        list[str] | None,
        typer.Option("--corpus", "-c", metavar="NAME", help="A corpus to search; may be repeated.  [default: default]"),
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
    as_json: Annotated[
        bool, typer.Option("--json", help="Write each chunk of the answers as one line of JSON.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Ask questions one after the other, in a conversation that the server keeps.

    A new chat is made with the first question, and keeps the corpora and the assistant that it was begun with; in a
    chat that is gone on with, these options hold for the questions of this session.

    On a terminal: /sources shows what the last answer rests on, /new begins a new chat, /retry asks the last question
    again, /help shows all. What is pasted is one question, however many lines it has. Ctrl-C stops the answer, of which
    the part is kept; at the prompt it clears the line, and twice in a row it leaves with 130. Ctrl-D leaves.

    From a pipe or a file each line is a question, and the first failure ends the command. One question of several
    lines: headwater ask --chat NAME -
    """
    if name is not None and last:
        raise CommandFailed("--chat and --last say the same: leave one of them out", code=USAGE)
    say_resumptions(verbose)
    with connection.open() as client:
        found = _find(client, name, last=last)
        typed = sys.stdin.isatty()
        session = ChatSession(
            client,
            Question(prompt="", corpora=corpus or None, assistant=assistant, top_k=top_k, instructions=instructions),
            TypedPrompts(chat_history()) if typed else PipedPrompts(),
            chat=found,
            as_json=as_json,
        )
        session.run()


def _find(client: Client, name: str | None, *, last: bool) -> chat_pb2.Chat | None:
    """The chat to go on in. None: a new one.

    Raises:
        CommandFailed: There is none to go on in.
        CallError: The server cannot be reached, or has no such chat: said before anybody types a question.
    """
    if name is not None:
        return client.chats.get(name)
    latest = next(client.chats.list(page_size=1), None)
    if last and latest is None:
        raise CommandFailed("there is no chat yet: leave out --last, and one begins")
    return latest if last else None
