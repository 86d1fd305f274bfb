"""`sentvec compact`: a collection in, a new generation of its index files and what it is out."""

from __future__ import annotations

from typing import Annotated

import typer

from sentvec.cli.common import Json, json_line
from sentvec.cli.index import DEFAULT_COLLECTION, Collected


def compact(
    collection: Collected = DEFAULT_COLLECTION,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            help="flat, hnsw, hnsw-sq8, ivf-flat, ivf-sq8, ivf-pq, ivf-pq-refine, sq8, pq, lsh, a faiss factory "
            "string, or auto, by size and memory. Default: as before, auto at first.",
        ),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(
            help="Share of the 10 nearest passages that the index should find. Default: as before, 0.95 at first."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Put all passages of a collection into one new index.

    Searching and indexing go on meanwhile. `sentvec index` does this by itself when much has changed.
    """
    from dataclasses import asdict

    from sentvec.search.collection import Collection

    with Collection.open(collection) as opened:
        report = opened.compact(kind, recall=recall, progress=None)
        stats = opened.stats()
    if as_json:
        typer.echo(json_line(asdict(report) | {"recall": stats.recall}))
        return
    measured = "every vector is compared" if stats.recall is None else f"recall at 10: {stats.recall:.3f}"
    typer.echo(f"{collection}: {report.rows} passages in {stats.index} ({measured}), {report.seconds:.1f} s")
