"""`headwater answers`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.text import Text

from headwater._cli.answering import show as show_stream
from headwater._cli.connecting import Connection, connecting
from headwater._cli.kept import show_answer
from headwater._cli.outcomes import state as in_words
from headwater._cli.terminal import first_line, line, local_time, note, safe, table, write_json
from headwater._cli.verbose import Verbose, say_resumptions
from headwater._enums import AnswerStateName
from headwater.v1 import answer_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The answer.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Write each answer as one line of JSON.")]


@app.callback()
def answers() -> None:
    """List, show, resume, cancel or delete answers."""


@app.command("list")
@connecting
def list_answers(
    connection: Connection,
    *,
    state: Annotated[AnswerStateName | None, typer.Option(help="Only those in this state.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the answers that are kept, newest first."""
    with connection.open() as client:
        _list(client.list_answers(state=state), as_json=as_json)


@app.command("get", hidden=True)  # as with corpora and documents
@app.command()
@connecting
def show(connection: Connection, *, name: Name, as_json: AsJson = False) -> None:
    """Show a question, its answer as far as it has come, and the sources."""
    with connection.open() as client:
        answer = client.get_answer(name)
    if as_json:
        write_json(answer)
        return
    line(Text(f"> {safe(answer.prompt)}", style="bold"))
    show_answer(answer)


@app.command()
@connecting
def resume(
    connection: Connection,
    *,
    name: Name,
    no_sources: Annotated[bool, typer.Option("--no-sources", help="Do not list the sources.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write each chunk of the stream as one line of JSON.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Read an answer from its beginning, running or ended, as `headwater ask` would show it.

    Ctrl-C ends the reading and not the answer, which may have other readers: `headwater answers cancel` does that. An
    answer that is to stop without readers does so some time after the last of them has left.
    """
    say_resumptions(verbose)
    with connection.open() as client, client.resume(name) as answer:
        show_stream(answer, as_json=as_json, show_sources=not no_sources)


@app.command()
@connecting
def cancel(connection: Connection, *, name: Name, as_json: AsJson = False) -> None:
    """Stop an answer. What there is of it is kept; one that has ended already is left as it is."""
    with connection.open() as client:
        answer = client.cancel_answer(name)
    if as_json:
        write_json(answer)
    else:
        note(f"{_id(answer.name)} is {in_words(answer)}")


@app.command()
@connecting
def delete(connection: Connection, *, name: Name) -> None:
    """Forget an answer. One that runs is stopped first."""
    with connection.open() as client:
        client.delete_answer(name)
    note(f"{_id(name)} is deleted")


def _list(found: Iterable[answer_pb2.Answer], *, as_json: bool) -> None:
    if as_json:
        for answer in found:
            write_json(answer)
        return
    rows = [
        (_id(answer.name), in_words(answer), local_time(answer.create_time), first_line(answer.prompt))
        for answer in found
    ]
    table(("ANSWER", "STATE", "BEGUN", "QUESTION"), rows)


def _id(name: str) -> str:
    return name.removeprefix("answers/")
