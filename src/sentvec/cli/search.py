"""`sentvec search`: a question in, the passages that answer it best out."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from sentvec.cli.common import Device, Json, Offline, open_model
from sentvec.cli.index import DEFAULT_COLLECTION, Collected, OwnModel, one_json_line, shown_path

if TYPE_CHECKING:
    from sentvec.search.types import Hit


def search(
    query: Annotated[str, typer.Argument(help="What you want to know.")],
    collection: Collected = DEFAULT_COLLECTION,
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="How many passages to show.")] = 10,
    model: OwnModel = None,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Find the passages nearest to a question, with score, file and line.

    On a terminal, a table with the sentences that answer best; in a pipe, plain lines; with --json, one
    object a line with the whole passage.
    """
    from sentvec.search.collection import Collection

    with Collection.open(collection) as opened:  # before a model is loaded: is there a collection at all?
        name = model or opened.model_name
    encoder = open_model(name, device, offline=local_files_only)
    with Collection.open(collection, encoder) as opened:
        hits = opened.search(query, k)
    if as_json:
        for hit in hits:
            typer.echo(one_json_line(hit))
        return
    if not hits:
        typer.echo(f"{collection} is empty: add files with `sentvec index PATH -c {collection}`.", err=True)
        return
    from sentvec.search.snippets import snippets

    shown = snippets(encoder, query, hits)
    if _on_terminal():
        _print_table(hits, shown)
    else:
        _print_lines(hits, shown)


def place(hit: Hit) -> str:
    """Return where a hit stands: file:line, or its id where it came from no file."""
    if hit.source is None:
        return shown_path(hit.id)
    return f"{shown_path(hit.source)}:{hit.line}"


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def _print_lines(hits: list[Hit], shown: list[str]) -> None:
    width = max(40, min(100, shutil.get_terminal_size((100, 24)).columns))
    for rank, (hit, snippet) in enumerate(zip(hits, shown, strict=True), 1):
        typer.echo(f"{rank:>2}. {hit.score:.4f}  {place(hit)}")
        indent = " " * 12
        typer.echo(
            textwrap.fill(snippet, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        )


def _print_table(hits: list[Hit], shown: list[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 1, 0), show_edge=False)
    table.add_column("#", justify="right", style="dim")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("file:line", style="cyan", overflow="fold", max_width=40)
    table.add_column("passage", overflow="fold")
    for rank, (hit, snippet) in enumerate(zip(hits, shown, strict=True), 1):
        table.add_row(str(rank), f"{hit.score:.4f}", Text(place(hit)), Text(snippet))
    Console().print(table)
