"""`sentvec mine-paraphrases`: texts in, the pairs of them that are most alike out."""

from __future__ import annotations

from typing import Annotated

import typer

from sentvec.cli.common import DEFAULT_MODEL, Device, Model, Offline, json_line, one_line, open_model
from sentvec.cli.dedupe import Field, JsonLines, Source
from sentvec.cli.rows import read_texts
from sentvec.progress import counted


def mine_paraphrases(
    source: Source = None,
    most: Annotated[int, typer.Option(help="Print this many pairs at most.")] = 100,
    threshold: Annotated[float, typer.Option(help="Least cosine of a pair.")] = 0.5,
    model: Model = DEFAULT_MODEL,
    field: Field = "text",
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: JsonLines = False,
) -> None:
    """Print the pairs of texts that are most alike, nearest first: cosine, text, text, parted by tabs.

    Every text is compared with every other; memory holds the texts and their vectors. Rows count from 0.
    """
    from sentvec.index.mining import check_count, near_pairs, reached_from

    reached_from(threshold)  # what cannot be is said before anything is encoded
    check_count("most", most)
    texts = list(read_texts(source, field))
    embedder = open_model(model, device, offline=local_files_only)
    found = near_pairs(embedder.encode(texts), threshold=threshold, most=most)
    for score, left, right in zip(found.scores.tolist(), found.left.tolist(), found.right.tolist(), strict=True):
        if as_json:
            sides = {"rows": [left, right], "texts": [texts[left], texts[right]]}
            typer.echo(json_line({"cosine": round(score, 6), **sides}))
        else:
            typer.echo(f"{score:.4f}\t{one_line(texts[left])}\t{one_line(texts[right])}")
    told = f"{counted(len(found), 'pair')} among {counted(len(texts), 'text')}"
    typer.echo(told if len(found) else f"{told}; --threshold {threshold:g} is the least cosine of a pair", err=True)
