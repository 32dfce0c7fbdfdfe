"""`headwater retrieve`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from headwater._cli.connecting import Connection, connecting
from headwater._cli.failures import USAGE, CommandFailed
from headwater._cli.metadata import parse_metadata
from headwater._cli.sources import location, place, snippet
from headwater._cli.terminal import line, note, output, safe, write_json
from headwater._enums import RetrievalModeName
from headwater.v1 import source_pb2

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
@connecting
def retrieve(
    connection: Connection,
    *,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to search for.", show_default=False)],
    corpus: Annotated[
        list[str] | None,
        typer.Option("--corpus", "-c", metavar="NAME", help="A corpus to search; may be repeated.  [default: default]"),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", "-k", metavar="N", min=1, max=100, help="How many passages at most.")
    ] = None,
    mode: Annotated[
        RetrievalModeName, typer.Option(help="By words and meaning together, or by one of them.")
    ] = "hybrid",
    min_score: Annotated[
        float | None, typer.Option(metavar="X", min=-1, max=1, help="The least relevance; not with lexical.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", "-w", metavar="KEY=VALUE", help="Only documents with this metadata; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write each source as one line of JSON.")] = False,
) -> None:
    """Show the passages that fit a query best, best first."""
    if not query.strip():
        raise CommandFailed("the query is empty", code=USAGE)
    with connection.open() as client:
        found = client.retrieve(
            query,
            corpora=corpus or None,
            top_k=top_k,
            mode=mode,
            min_score=min_score,
            filter=parse_metadata(where) if where else None,
        )
    for source in found:
        if as_json:
            write_json(source)
        else:
            _show(source)
    if not as_json:
        if not found:
            note("nothing was found")
        if not found.statistics.index_current:
            note("the index is still taking in new passages: some of the newest may be missing")


def _show(source: source_pb2.Source) -> None:
    title, where = safe(source.title).strip(), safe(place(source.uri)).strip()
    heading = Text(f"{source.rank}. ", style="bold")
    heading.append(title or where or safe(source.document), style="bold")
    rating = f"relevance {source.relevance:.2f}" if source.HasField("relevance") else f"score {source.score:.2f}"
    details = [location(source.location), where if title else "", rating]
    for detail in filter(None, details):
        heading.append(f" · {detail}", style="dim")
    line(heading)
    text = Text(snippet(source))
    if output().is_terminal:
        output().print(Padding(text, (0, 0, 0, 3)), soft_wrap=False)
    else:
        line(Text("   ") + text)
