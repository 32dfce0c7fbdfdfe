"""`headwater chats`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from headwater._cli.connecting import Connection, connecting
from headwater._cli.failures import CommandFailed
from headwater._cli.kept import as_markdown, show_answer
from headwater._cli.terminal import (
    json_line,
    line,
    local_time,
    note,
    output_is_utf8,
    plural,
    safe,
    size,
    table,
    write,
    write_json,
)
from headwater._client import Client
from headwater._files import replaced_file
from headwater.v1 import chat_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The chat.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Write each chat as one line of JSON.")]


@app.callback()
def chats() -> None:
    """List, show, rename, export or delete chats."""


@app.command("list")
@connecting
def list_chats(connection: Connection, *, as_json: AsJson = False) -> None:
    """List the chats, the last changed first."""
    with connection.open() as client:
        _show(client.chats.list(), as_json=as_json)


@app.command("get", hidden=True)  # as with corpora and documents
@app.command()
@connecting
def show(
    connection: Connection,
    *,
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="Write each turn as one line of JSON.")] = False,
) -> None:
    """Show the turns of a chat, oldest first, with the sources of their answers."""
    with connection.open() as client:
        turns = client.chats.list_turns(name)
        if as_json:
            for turn in turns:
                write_json(turn)
            return
        _show_turns(turns)


@app.command()
@connecting
def rename(
    connection: Connection,
    *,
    name: Name,
    display_name: Annotated[str, typer.Argument(metavar="TEXT", help="Its new name for people.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Give a chat another name for people."""
    with connection.open() as client:
        _show([client.chats.update(name, display_name=display_name)], as_json=as_json)


@app.command()
@connecting
def delete(connection: Connection, *, name: Name) -> None:
    """Delete a chat with its turns and answers. A running answer is stopped first."""
    with connection.open() as client:
        client.chats.delete(name)
    note(f"{_id(name)} is deleted")


@app.command()
@connecting
def export(
    connection: Connection,
    *,
    name: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to.  [default: standard output]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="As JSON: the chat on one line, then each turn, with what its sources say."),
    ] = False,
) -> None:
    """Write a chat as Markdown: its questions, answers and sources."""
    with connection.open() as client:
        chat = client.chats.get(name)
        if as_json:
            parts = _as_json(client, chat, ascii_only=output is None and not output_is_utf8())
        else:
            parts = as_markdown(chat, client.chats.list_turns(chat))
        if output is None:
            for part in parts:
                write(part)
            return
        if output.exists() and not force:
            raise CommandFailed(f"{output} exists: --force replaces it, --output names another")
        with replaced_file(output) as file:
            file.writelines(part.encode() for part in parts)
    note(f"{chat.display_name or _id(chat.name)} exported to {output}, {size(output.stat().st_size)}")


def _as_json(client: Client, chat: chat_pb2.Chat, *, ascii_only: bool) -> Iterable[str]:
    yield json_line(chat, ascii_only=ascii_only)
    for turn in client.chats.list_turns(chat):
        whole = client.chats.get_turn(turn.name)  # a list is without the sources' contents
        yield json_line(whole, ascii_only=ascii_only)


def _show(found: Iterable[chat_pb2.Chat], *, as_json: bool) -> None:
    if as_json:
        for chat in found:
            write_json(chat)
        return
    rows = [
        (
            _id(chat.name),
            plural(chat.turn_count, "turn"),
            local_time(chat.update_time),
            "answering" if chat.running_answer else "",
            chat.display_name,
        )
        for chat in found
    ]
    table(("CHAT", "TURNS", "CHANGED", "STATE", "NAME"), rows)


def _show_turns(turns: Iterable[chat_pb2.Turn]) -> None:
    for number, turn in enumerate(turns):
        if number:
            line("")
        line(Text(f"> {safe(turn.prompt)}", style="bold"))
        show_answer(turn.answer)


def _id(name: str) -> str:
    return name.removeprefix("chats/")
