"""`sentvec fit`: a model and texts in, a model whose vectors or scores were fitted on them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sentvec.cli.common import Device, Offline, open_model, shown
from sentvec.cli.output import check_new_folder, whole_folder
from sentvec.cli.pairs import read_pairs
from sentvec.cli.rows import read_texts
from sentvec.errors import InvalidInput

CALIBRATION = "calibration"


def fit(
    kind: Annotated[
        str, typer.Argument(help="whitening, pca, all-but-the-top, standardisation, rotation, flow; calibration.")
    ],
    model: Annotated[str, typer.Argument(help="A folder, or a repository on the Hugging Face Hub.")],
    source: Annotated[
        Path, typer.Argument(help="Texts: a text, .jsonl, .csv or .tsv file. Calibration: scored pairs.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for the fitted model.")],
    dim: Annotated[int | None, typer.Option(help="Features to keep: whitening and pca.")] = None,
    related_from: Annotated[
        float | None, typer.Option(help="Calibration: pairs with this score or more are related. Default: 0 to 1.")
    ] = None,
    field: Annotated[str, typer.Option(help="Field or column that holds the text.")] = "text",
    prompt_name: Annotated[str | None, typer.Option(help="Stored prompt to put in front of every text.")] = None,
    workers: Annotated[int | None, typer.Option(help="Encode in this many processes.")] = None,
    device: Device = "auto",
    local_files_only: Offline = False,
) -> None:
    """Fit what follows pooling on your own texts, and save the model with it.

    The saved folder works like the one before it, in sentence-transformers too, but for a flow, which it refuses.
    Calibration takes rows of text, text, score, and learns how probably two texts are related that have this
    similarity.
    """
    kind = kind.replace("-", "_")
    if kind != CALIBRATION and related_from is not None:
        raise InvalidInput(f"--related-from is for calibration, and {kind} has no scores.")
    if kind == CALIBRATION and dim is not None:
        raise InvalidInput("--dim is for whitening and pca; calibration changes no vectors.")
    check_new_folder(output, "the fitted model")
    if kind == CALIBRATION:
        pairs, scores = read_pairs(source, labels=related_from is None)
        labels = scores if related_from is None else [float(score >= related_from) for score in scores]
        embedder = open_model(model, device, offline=local_files_only)
        fitted = embedder.fit_calibration(pairs, labels, prompt_name=prompt_name, workers=workers)
        found = fitted.recipe.calibration
        assert found is not None
        told = f"from {found.pairs} pairs; they are best called related from {found.threshold:.4f} on"
    else:
        texts = read_texts(source, field)
        embedder = open_model(model, device, offline=local_files_only)
        fitted = embedder.fit_postprocessing(kind, texts, dim=dim, prompt_name=prompt_name, workers=workers)
        assert fitted.recipe.fitted is not None
        told = f"from {fitted.recipe.fitted.texts} texts; vectors have {fitted.dim} features"
    with whole_folder(output) as folder:
        fitted.save_pretrained(folder)
    typer.echo(shown(f"{kind} {told}: {output}"), err=True)
