"""`sentvec compact`: a collection in, a new generation of its index files and what it is out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sentvec.cli.common import Device, Json, Offline, json_line, open_model
from sentvec.cli.index import DEFAULT_COLLECTION, Collected
from sentvec.cli.rows import read_texts


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
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Questions of your users to measure the recall with, one a line, or a file with a column `text`. They "
            "are kept, at most 1000, and used from then on. Without them, passages stand for questions.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Encodes the questions. Default: the model of the collection.")
    ] = None,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Put all passages of a collection into one new index.

    Searching and indexing go on meanwhile. `sentvec index` does this by itself when much has changed.
    """
    from dataclasses import asdict

    from sentvec.search.collection import Collection

    asked = None if queries is None else list(read_texts(queries))
    with Collection.open(collection) as opened:  # before a model is loaded: is there a collection at all?
        name = model or opened.model_name
    encoder = open_model(name, device, offline=local_files_only) if asked else None
    with Collection.open(collection, encoder) as opened:
        report = opened.compact(kind, recall=recall, queries=asked, progress=None)
        stats = opened.stats()
    if as_json:
        typer.echo(json_line(asdict(report) | {"recall": stats.recall}))
        return
    of = f"on {stats.questions} questions" if stats.questions else "at 10"
    measured = "every vector is compared" if stats.recall is None else f"recall {of}: {stats.recall:.3f}"
    typer.echo(f"{collection}: {report.rows} passages in {stats.index} ({measured}), {report.seconds:.1f} s")
