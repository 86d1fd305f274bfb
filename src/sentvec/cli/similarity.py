"""`sentvec similarity`: texts in, a table of how near they are to each other out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sentvec.cli.common import DEFAULT_MODEL, Device, Json, Model, Offline, json_line, open_model, shown
from sentvec.cli.rows import read_texts
from sentvec.errors import InvalidInput

_MOST = 50  # rows of a table that a person would read


def similarity(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to compare with each other.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read texts from a file, one a line.")] = None,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Show how similar texts are, each with each."""
    given = list(texts or []) + (list(read_texts(file)) if file else [])
    if len(given) < 2:
        raise InvalidInput(f"similarity compares at least two texts, but {len(given)} came.")
    if len(given) > _MOST and not as_json:
        raise InvalidInput(f"a table of {len(given)} texts is too large to read; use --json, or at most {_MOST} texts.")
    embedder = open_model(model, device, offline=local_files_only)
    vectors = embedder.encode(given)
    scores = embedder.similarity(vectors, vectors).tolist()
    if as_json:
        found = {"texts": given, "similarity": scores, "kind": embedder.recipe.similarity}
        typer.echo(json_line(found))
        return
    _print_table(given, scores, embedder.recipe.similarity)


def _print_table(texts: list[str], scores: list[list[float]], kind: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{kind} similarity", title_justify="left", box=None)
    table.add_column("", justify="right", style="dim")
    table.add_column("text", overflow="fold")
    for number in range(1, len(texts) + 1):
        table.add_column(str(number), justify="right", no_wrap=True)
    for number, (text, row) in enumerate(zip(texts, scores, strict=True), start=1):
        table.add_row(str(number), Text(shown(text)), *(f"{score:.4f}" for score in row))
    Console().print(table)
