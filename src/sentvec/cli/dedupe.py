"""`sentvec dedupe`: texts in, those that say something new out, as they are read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice, tee
from pathlib import Path
from typing import Annotated

import typer

from sentvec.cli.common import DEFAULT_MODEL, Device, Model, Offline, json_line, open_model, shown
from sentvec.cli.rows import read_texts
from sentvec.progress import counted

Source = Annotated[Path | None, typer.Argument(help="A text, .jsonl, .csv or .tsv file; - or none: stdin.")]
Field = Annotated[str, typer.Option(help="Field or column that holds the text.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print an object a line.")]


def dedupe(
    source: Source = None,
    threshold: Annotated[float, typer.Option(help="A text with this cosine to a kept one repeats it.")] = 0.95,
    model: Model = DEFAULT_MODEL,
    field: Field = "text",
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: JsonLines = False,
) -> None:
    """Print each text that no text kept before it says already, one a line.

    Texts are read and printed as a stream; memory holds the vectors of those that were kept. A file or a pipe gets
    them as they are, but for line ends inside a text, which become blanks. With --json every text is printed, with
    its row, the row that it repeats (or null) and the cosine to that one, or to the nearest.
    """
    from sentvec.index.mining import Novelty, reached_from

    reached_from(threshold)  # what cannot be is said before a model is loaded
    texts = read_texts(source, field)
    embedder = open_model(model, device, offline=local_files_only)
    as_printed = shown if sys.stdout.isatty() else str  # marks that could steer a terminal may be letters of a text
    novelty = Novelty(embedder.dim, threshold)
    printed, encoded = tee(texts)  # no more is held than the encoder reads ahead
    kept = row = 0
    for vectors in embedder.encode_stream(encoded):
        like, nearest = novelty.look(vectors)
        for text, other, cosine in _beside(printed, like.tolist(), nearest.tolist()):
            repeats = None if other < 0 else other
            if as_json:
                typer.echo(json_line({"row": row, "text": text, "repeats": repeats, "cosine": round(cosine, 6)}))
            elif repeats is None:
                typer.echo(as_printed(text.replace("\n", " ")))
            kept += repeats is None
            row += 1
    typer.echo(f"kept {kept:,} of {counted(row, 'text')}", err=True)


def _beside(texts: Iterator[str], like: list[int], nearest: list[float]) -> Iterator[tuple[str, int, float]]:
    return zip(islice(texts, len(like)), like, nearest, strict=True)
