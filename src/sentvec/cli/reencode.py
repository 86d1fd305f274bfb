"""`sentvec reencode`: a collection and another model in, the same passages with that model's vectors out."""

from __future__ import annotations

from typing import Annotated

import typer

from sentvec.cli.common import Device, Json, Offline, json_line, open_model
from sentvec.cli.index import DEFAULT_COLLECTION, Collected


def reencode(
    model: Annotated[str, typer.Option("--model", "-m", help="The new model: a folder, or a name on the Hub.")],
    collection: Collected = DEFAULT_COLLECTION,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Change the model of a collection.

    Searching goes on with the old model until all passages have vectors of the new one. A run that was stopped is gone
    on with. Passages stay as they were cut; where the new model reads much less, index the files anew instead.
    """
    from dataclasses import asdict

    from sentvec.search.collection import Collection
    from sentvec.search.reencode import reencode as make_anew

    with Collection.open(collection):  # before a model is loaded: is there a collection at all?
        pass
    report = make_anew(collection, open_model(model, device, offline=local_files_only), progress=None)
    if as_json:
        typer.echo(json_line(asdict(report)))
    else:
        typer.echo(f"{collection}: {report.passages} passages of {model}, {report.seconds:.1f} s")
