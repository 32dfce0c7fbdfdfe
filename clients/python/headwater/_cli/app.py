"""The commands there are. Each is a module of its own, imported when it is the one that runs."""

from __future__ import annotations

import importlib
import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headwater._cli.failures import reported, usage_error
from headwater._version import __version__

_COMMANDS = {
    "serve": ("headwater._cli.serve", "Run a server: all services in one process, or one of them."),
    "import": ("headwater._cli.import_", "Import files and folders into a corpus."),
    "ask": ("headwater._cli.ask", "Ask a question; with PATHs, about these files, without a server."),
    "chat": ("headwater._cli.chat", "Ask questions one after the other, in a conversation."),
    "retrieve": ("headwater._cli.retrieve", "Show the passages that fit a query best."),
    "corpora": ("headwater._cli.corpora", "List, create, get, update or delete corpora."),
    "documents": ("headwater._cli.documents", "List, get, watch, download or delete documents."),
    "chats": ("headwater._cli.chats", "List, show, rename, export or delete chats."),
    "answers": ("headwater._cli.answers", "List, show, resume, cancel or delete answers."),
    "assistants": ("headwater._cli.assistants", "List the assistants that can be asked."),
    "backup": ("headwater._cli.backup", "Copy a data folder, also while a server works on it."),
    "doctor": ("headwater._cli.doctor", "Say what is set up, what is missing, and what to do."),
}


class _Commands(TyperGroup):
    """A group whose commands are placeholders until one is run, so that `--help` imports none of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in _COMMANDS:
            command = typer.main.get_command(importlib.import_module(_COMMANDS[name][0]).app)
            command.name = name
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        with reported():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    name="headwater",
    help='Streaming answers with sources. Start with: headwater ask "…" FOLDER',
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _placeholder() -> None:
    raise AssertionError("a command's own module takes this one's place")


for _name, (_module, _help) in _COMMANDS.items():
    app.command(_name, help=_help)(_placeholder)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headwater {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    del version  # its callback has dealt with it


def run() -> int:
    """Runs the command line, and returns its exit code. No exception leaves it but one that asks for a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the terminal cannot show must not end a command
    command = typer.main.get_command(app)
    try:
        with reported():
            code = command.main(prog_name="headwater", standalone_mode=False)
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        return 130
    except Exception as error:
        code = usage_error(error)
        if code is None:
            raise
    return code if isinstance(code, int) else 0
