"""`sentvec search`: a question in, the passages that answer it best out."""

from __future__ import annotations

import json
import re
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentvec.cli.common import Device, Json, Offline, open_model
from sentvec.cli.index import DEFAULT_COLLECTION, Collected, OwnModel, Stored, one_json_line, shown_path
from sentvec.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sentvec.runtime.reranker import Reranker
    from sentvec.search.types import Hit, TextEncoder


# What a line may be broken after: spaces, and Chinese letters with the marks that close them.
_BREAKABLE = re.compile(r"\s+|[\u2e80-\u9fff\uf900-\uffef][、。，！？；：」』）】》]*|[^\s\u2e80-\u9fff\uf900-\uffef]+")
_INDENT = " " * 12


def search(
    query: Annotated[list[str] | None, typer.Argument(help="What you want to know; quotes are not needed.")] = None,
    collection: Collected = DEFAULT_COLLECTION,
    store: Stored = None,
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="How many passages to show.")] = 10,
    where: Annotated[str | None, typer.Option(help='Filter, as JSON: \'{"year": {">": 2020}, "lang": "zh"}\'.')] = None,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Rank by words as well as by vectors.")] = False,
    fusion: Annotated[str, typer.Option(help="How --hybrid fuses: by rank, or by score.")] = "rank",
    words: Annotated[bool, typer.Option("--words", help="Rank by words alone, without a model.")] = False,
    rerank: Annotated[str | None, typer.Option(help="A cross-encoder that scores the best 50 again.")] = None,
    like: Annotated[str | None, typer.Option(help="In place of a question: the id of a passage.")] = None,
    diversity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Above 0: passages that differ.")] = 0.0,
    model: OwnModel = None,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Find the passages nearest to a question, with score, file and line.

    On a terminal, a table with the sentences that answer best; in a pipe, plain lines; with --json, one
    object a line with the whole passage.
    """
    asked = " ".join(query or ())
    if (like is None) == (not asked):
        raise InvalidInput("Give either a question or --like ID, the id of a passage that --json shows.")
    if like is not None and (hybrid or words or rerank):
        raise InvalidInput("--hybrid, --words and --rerank compare texts; they cannot be used with --like.")
    if words and (hybrid or rerank or diversity):
        raise InvalidInput("--words ranks by words alone; leave out --hybrid, --rerank and --diversity.")
    condition = None if where is None else _filter(where)
    from sentvec.search.query import question, worded

    question(k, condition, fusion=fusion, diversity=diversity)  # a mistyped filter should not cost loading a model
    if like is None:
        worded(asked)
    if store is not None:
        if like or rerank or diversity or fusion != "rank":
            raise InvalidInput("--like, --rerank, --diversity and --fusion work on collections, not on a --store.")
        from sentvec.cli.stores import search_in

        options = {"hybrid": hybrid, "words": words, "offline": local_files_only}
        hits, encoder = search_in(store, asked, k, condition, model, device, **options)
    else:
        hits, encoder, asked = _in_collection(
            collection,
            asked,
            k,
            condition,
            hybrid,
            fusion,
            words,
            rerank,
            like,
            diversity,
            model,
            device,
            local_files_only,
        )
    if as_json:
        for hit in hits:
            typer.echo(one_json_line(hit))
        return
    if not hits:
        _tell_nothing(collection, store, filtered=condition is not None)
        return
    from sentvec.search.snippets import snippets

    shown = snippets(encoder, asked, hits)
    if _on_terminal():
        _print_table(hits, shown)
    else:
        _print_lines(hits, shown)


def _in_collection(
    collection: Path,
    asked: str,
    k: int,
    condition: Mapping[str, Any] | None,
    hybrid: bool,
    fusion: str,
    words: bool,
    rerank: str | None,
    like: str | None,
    diversity: float,
    model: str | None,
    device: str,
    offline: bool,
) -> tuple[list[Hit], TextEncoder | None, str]:
    """Return the hits, the model that was loaded, and the text that was asked for."""
    from sentvec.search.collection import Collection

    encoder: TextEncoder | None = None
    with Collection.open(collection) as opened:  # before a model is loaded: is there a collection at all?
        name = model or opened.model_name
        if like is not None:
            hits = opened.search_like(like, k, where=condition, diversity=diversity)
            (passage,) = opened.get([like])
            asked = passage.text
        elif words:
            hits = opened.search_text(asked, k, where=condition)
    if like is None and not words:
        encoder = open_model(name, device, offline=offline)
        again = None if rerank is None else open_reranker(rerank, device, offline=offline)
        with Collection.open(collection, encoder) as opened:
            hits = opened.search(
                asked, k, where=condition, hybrid=hybrid, fusion=fusion, rerank=again, diversity=diversity
            )
    return hits, encoder, asked


def open_reranker(name: str, device: str, *, offline: bool) -> Reranker:
    """Load a cross-encoder; torch is imported here, and not before."""
    from sentvec.runtime.reranker import Reranker

    return Reranker.from_pretrained(name, device=device, local_files_only=offline)


def _filter(where: str) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(where)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"--where is {where[:60]!r}, which is no JSON ({error}). Write it between single quotes: "
            '--where \'{"year": {">": 2020}}\'.'
        ) from None
    return found


def _tell_nothing(collection: Path, store: str | None, *, filtered: bool) -> None:
    # with a filter it is most often the filter that left nothing, and most often for this reason
    hint = ' and meets --where. Cells of CSV and TSV are texts: "2020", not 2020' if filtered else ""
    if store is not None:
        typer.echo(f"The store holds nothing that answers{hint}.", err=True)
        return
    from sentvec.search.collection import Collection

    with Collection.open(collection) as opened:
        empty = not len(opened)
    told = (
        f"is empty: add files with `sentvec index PATH -c {collection}`"
        if empty
        else f"holds nothing that answers{hint}"
    )
    typer.echo(f"{collection} {told}.", err=True)


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
        for line in wrapped(snippet, width - len(_INDENT)):
            typer.echo(_INDENT + line)


def wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines of so many cells of a terminal; a Chinese letter takes two.

    >>> wrapped("one two 你好。再见！", 8)
    ['one two', '你好。再', '见！']
    """
    from rich.cells import cell_len, chop_cells

    lines, line = [], ""
    for part in _BREAKABLE.findall(text):
        if line and cell_len((line + part).rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        *full, last = chop_cells(part, width) if part.strip() else [part]
        lines += full
        line = (line + last) if line else last.lstrip()
    return [*lines, line.rstrip()] if line.strip() else lines


def folded(path: str, width: int) -> str:
    """Leave out the middle of a path that is too long; its end says more than its beginning.

    >>> folded("notes/of/years/long/ago/home.md:12", 20)
    'notes/…go/home.md:12'
    """
    if len(path) <= width:
        return path
    end = 2 * width // 3
    return f"{path[: width - end - 1]}…{path[-end:]}"


def _print_table(hits: list[Hit], shown: list[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    room = max(20, console.width * 3 // 10)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 1, 0), show_edge=False)
    table.add_column("#", justify="right", style="dim")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("file:line", style="cyan", overflow="fold", max_width=room)
    table.add_column("passage", overflow="fold")
    for rank, (hit, snippet) in enumerate(zip(hits, shown, strict=True), 1):
        table.add_row(str(rank), f"{hit.score:.4f}", Text(folded(place(hit), room)), Text(snippet))
    console.print(table)
