"""`sentvec mine`: pairs of queries and positives in; the same with hard negatives, as JSON lines, out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sentvec.cli.common import DEFAULT_MODEL, Device, Model, Offline, open_model, shown
from sentvec.cli.output import whole
from sentvec.errors import InvalidInput


def mine(
    data: Annotated[Path, typer.Argument(help="Pairs: a file with queries and positives, or a BEIR folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The JSON Lines file to write.")],
    model: Model = DEFAULT_MODEL,
    documents: Annotated[
        Path | None, typer.Option(help="Where to look: a text, .jsonl, .csv or .tsv file. Default: all positives.")
    ] = None,
    field: Annotated[str, typer.Option(help="Field or column of --documents that holds the text.")] = "text",
    reranker: Annotated[str | None, typer.Option(help="A cross-encoder that must find them worse.")] = None,
    negatives: Annotated[int, typer.Option(help="Negatives for each pair.")] = 5,
    first: Annotated[int, typer.Option(help="The best rank to take: the first ones may well be right.")] = 1,
    last: Annotated[int, typer.Option(help="The last rank to look at.")] = 100,
    margin: Annotated[float | None, typer.Option(help="They must score so much less than the positive.")] = None,
    relative_margin: Annotated[float, typer.Option(help="The same, as a share of the positive's score.")] = 0.05,
    highest: Annotated[float | None, typer.Option(help="They must not score more.")] = None,
    draw: Annotated[str, typer.Option(help="top or random: which of those that fit.")] = "top",
    seed: Annotated[int, typer.Option(help="Of the random ones.")] = 0,
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16, int8 or auto.")] = "float32",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used.")] = False,
    device: Device = "auto",
    local_files_only: Offline = False,
) -> None:
    """Find hard negatives: documents that a model ranks high for a query, and that do not answer it.

    Lines are {"query", "pos", "neg"}, as `sentvec train` and FlagEmbedding read them. How many documents may be right
    without anybody having said so is told.
    """
    from sentvec.train.mine import MineConfig
    from sentvec.train.mine import mine as find_negatives
    from sentvec.train.read import read_dataset
    from sentvec.train.report import describe

    if output.is_dir():
        raise InvalidInput(f"{output} is a folder; give the file to write.")
    config = MineConfig(
        negatives=negatives,
        first=first,
        last=last,
        margin=margin,
        relative_margin=relative_margin,
        highest=highest,
        draw=draw,
        seed=seed,
    )
    pairs = read_dataset(data, skip_bad=skip_bad)
    typer.echo(shown(describe(pairs)), err=True)
    pool = None
    if documents is not None:
        from sentvec.cli.rows import read_texts

        pool = [text for text in read_texts(documents, field) if text.strip()]
    with whole(output) as file:  # a file that cannot be written is to be known before the work
        embedder = open_model(model, device, precision, local_files_only)
        check = None
        if reranker is not None:
            from sentvec.runtime.reranker import Reranker

            check = Reranker.from_pretrained(reranker, device=device, local_files_only=local_files_only).score
        found = find_negatives(embedder, pairs, pool, config, check=check)
        for one in found.dataset.examples:
            row = {"query": one.texts[0], "pos": [one.texts[1]], "neg": list(one.texts[2:])}
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
    typer.echo(shown(f"{found}\nwritten: {output}"), err=True)
