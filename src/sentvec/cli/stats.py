"""`sentvec stats`: a collection in, its size, its model and how it is indexed out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sentvec.cli.common import Json, json_line, shown
from sentvec.cli.index import DEFAULT_COLLECTION, Collected

if TYPE_CHECKING:
    from sentvec.search.types import Stats


def stats(collection: Collected = DEFAULT_COLLECTION, as_json: Json = False) -> None:
    """Show the size of a collection, the model that made it, and how it is indexed.

    Of an index that does not compare every vector, the curve is shown by which its effort was chosen: effort is the
    lists that are visited, or the length of the queue; candidates are fetched for each answer, and scored again.
    """
    from dataclasses import asdict

    from sentvec.search.collection import Collection

    with Collection.open(collection) as opened:
        found = opened.stats()
    if as_json:
        typer.echo(json_line(asdict(found)))
        return
    for name, value in _lines(found):
        typer.echo(shown(f"{name:<12}{value}"))
    if found.curve:
        typer.echo("\n  effort  candidates  recall@10  ms a query, in a batch")
        for effort, factor, recall, seconds in found.curve:
            typer.echo(f"  {effort:>6}  {factor:>10}  {recall:>9.4f}  {1000 * seconds:.3f}")


def _lines(found: Stats) -> list[tuple[str, str]]:
    lines = [
        ("collection", found.path),
        ("passages", f"{found.passages} of {found.files} files"),
        ("on disk", f"{found.bytes / 1e6:.1f} MB"),
        ("model", f"{found.model}, fingerprint {found.fingerprint[:12]}"),
        ("vectors", f"{found.dim} numbers each, compared by {found.metric.replace('_', ' ')}"),
    ]
    if found.generation:
        recall = "" if found.recall is None else f", recall at 10: {found.recall:.3f}"
        lines.append(("index", f"{found.index}, generation {found.generation}{recall}"))
        lines.append(("indexed", f"{found.indexed}, {found.later} came later, {found.removed} were removed since"))
    else:
        lines.append(("index", "none: every vector is compared; `sentvec compact` builds one"))
    if found.damage:
        lines.append(("damage", f"{found.damage}; `sentvec verify --repair` builds the index again"))
    return lines
