"""`sentvec cluster`: texts in, groups of texts about the same out."""

from __future__ import annotations

from typing import Annotated

import typer

from sentvec.cli.common import DEFAULT_MODEL, Device, Model, Offline, json_line, one_line, open_model
from sentvec.cli.dedupe import Field, JsonLines, Source
from sentvec.cli.rows import read_texts
from sentvec.progress import counted


def cluster(
    source: Source = None,
    threshold: Annotated[float, typer.Option(help="Least cosine to the centre of a group.")] = 0.75,
    least: Annotated[int, typer.Option(help="Fewest texts of a group.")] = 10,
    model: Model = DEFAULT_MODEL,
    field: Field = "text",
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: JsonLines = False,
) -> None:
    """Print groups of texts that lie near a common centre, the largest first and its centre on top.

    Texts near no centre are in no group. Every text is compared with every other; memory holds the texts and their
    vectors. Rows count from 0.
    """
    from sentvec.index.mining import check_count, communities, reached_from

    reached_from(threshold)  # what cannot be is said before anything is encoded
    check_count("least", least)
    texts = list(read_texts(source, field))
    embedder = open_model(model, device, offline=local_files_only)
    groups = [group.tolist() for group in communities(embedder.encode(texts), threshold=threshold, least=least)]
    for number, rows in enumerate(groups, start=1):
        if as_json:
            typer.echo(json_line({"group": number, "rows": rows, "texts": [texts[row] for row in rows]}))
        else:
            head = f"group {number}: {counted(len(rows), 'text')}"
            typer.echo("\n".join([head, *(f"  {one_line(texts[row])}" for row in rows)]))
    found = f"{sum(map(len, groups)):,} of {counted(len(texts), 'text')} in {counted(len(groups), 'group')}"
    hint = f"; --least {least} is the fewest texts of a group, --threshold {threshold:g} the least cosine to its centre"
    typer.echo(found if groups else found + hint, err=True)
