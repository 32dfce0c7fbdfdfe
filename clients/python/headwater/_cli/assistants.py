"""`headwater assistants`."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater._cli.connecting import Connection, connecting
from headwater._cli.terminal import table, write_json

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@connecting
def assistants(
    connection: Connection,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write each assistant as one line of JSON.")] = False,
) -> None:
    """List the assistants that can be asked."""
    with connection.open() as client:
        listed = list(client.assistants())
    if as_json:
        for assistant in listed:
            write_json(assistant)
        return
    table(
        ("ASSISTANT", "DEFAULT", "CONTEXT", "DESCRIPTION"),
        (
            (
                assistant.name.removeprefix("assistants/"),
                "yes" if assistant.default_assistant else "",
                f"{assistant.context_tokens:,} tokens" if assistant.HasField("context_tokens") else "",
                assistant.description or assistant.display_name,
            )
            for assistant in listed
        ),
    )
