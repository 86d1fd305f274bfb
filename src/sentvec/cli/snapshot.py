"""`sentvec snapshot`: a collection in, a copy of it as of one moment in another folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sentvec.cli.index import DEFAULT_COLLECTION, Collected


def snapshot(
    target: Annotated[Path, typer.Argument(help="A new folder, or an empty one.")],
    collection: Collected = DEFAULT_COLLECTION,
) -> None:
    """Copy a collection while it is used: a backup as of one commit.

    Index files are not copied; `sentvec compact` makes them again.
    """
    from sentvec.search.collection import Collection

    with Collection.open(collection) as opened:
        opened.snapshot(target)
    with Collection.open(target) as copy:
        typer.echo(f"{target}: {len(copy)} passages")
