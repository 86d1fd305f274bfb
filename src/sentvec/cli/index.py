"""`sentvec index`: files and folders in, a searchable collection and a summary of what was done out."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentvec.cli.common import DEFAULT_MODEL, Device, Json, Offline, open_model

if TYPE_CHECKING:
    from sentvec.search.types import Hit, IndexReport

DEFAULT_COLLECTION = Path("sentvec.sv")
Collected = Annotated[Path, typer.Option("--collection", "-c", help="The collection's folder.")]
OwnModel = Annotated[
    str | None,
    typer.Option("--model", "-m", help=f"Default: the collection's own, {DEFAULT_MODEL} for a new one."),
]
_NAMED = 10  # files of other types that are listed by name
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def index(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders: .txt .md .rst .csv .tsv .jsonl")],
    collection: Collected = DEFAULT_COLLECTION,
    model: OwnModel = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove files that are gone from the folders.")] = False,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Add files and folders to a collection, or bring it up to date with them.

    Long files are cut into passages. Files that have not changed are not read again. Files that cannot be
    read are skipped and named; if that is all of them, the exit code is 1.
    """
    from sentvec.search.collection import Collection
    from sentvec.search.walk import find

    begun = time.monotonic()
    find(paths, leave_out=collection.absolute())  # a mistyped path should not cost the loading of a model
    name = model or collection_model(collection) or DEFAULT_MODEL
    with Collection.open(collection, open_model(name, device, offline=local_files_only)) as opened:
        report = opened.add_files(paths, prune=prune, progress=None)
        passages = len(opened)
    seconds = time.monotonic() - begun
    if as_json:
        typer.echo(one_json_line(report, passages=passages, seconds=seconds))
    else:
        typer.echo(_summary(report, passages, collection, seconds))
    _name_skipped(report)
    if report.files == 0:
        typer.echo("error: there is nothing to index: none of the files is of a type that sentvec reads", err=True)
        raise typer.Exit(1)
    if report.changed_files + report.unchanged_files == 0:
        typer.echo("error: every file was skipped", err=True)
        raise typer.Exit(1)


def collection_model(collection: Path) -> str | None:
    """Return the name of the model that a collection was made with, or None where there is no collection."""
    from sentvec.errors import CollectionNotFound
    from sentvec.search.collection import Collection

    try:
        with Collection.open(collection) as opened:
            return opened.model_name
    except CollectionNotFound:
        return None


def shown_path(path: str) -> str:
    """Return a path as the user would type it here: relative where it lies below the current folder."""
    here = os.path.relpath(path) if path.startswith(f"{Path.cwd()}{os.sep}") else path
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in here)


def one_json_line(what: IndexReport | Hit, **more: object) -> str:
    r"""Return an object as JSON on one line that cannot steer a terminal.

    Controls (C0, DEL, C1), marks that turn the direction of text, other ends of line, and halves of characters
    are escaped; a reader of JSON gets them back as they were.
    """
    # Not asdict(), which copies metadata level by level.
    values = {field.name: getattr(what, field.name) for field in fields(what)} | more
    return _STEERING.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(values, ensure_ascii=False))


def _summary(report: IndexReport, passages: int, collection: Path, seconds: float) -> str:
    files = f"{report.files} files: {report.changed_files} new or changed, {report.unchanged_files} unchanged"
    if report.skipped:
        files += f", {len(report.skipped)} skipped"
    if report.removed_files:
        files += f"; {report.removed_files} gone and removed"
    return (
        f"{files}\n"
        f"{report.added} passages added, {report.removed} removed, {report.unchanged} kept; {report.encoded} encoded\n"
        f"{collection}: {passages} passages, {seconds:.1f} s"
    )


def _name_skipped(report: IndexReport) -> None:
    for path, reason in report.skipped:
        typer.echo(f"skipped {shown_path(path)}: {reason}", err=True)
    for path, line, reason in report.bad_records:
        typer.echo(f"skipped {shown_path(path)}, line {line}: {reason}", err=True)
    if not report.ignored:
        return
    if len(report.ignored) <= _NAMED:
        which = ", ".join(map(shown_path, report.ignored))
    else:
        kinds = Counter(Path(path).suffix.lower() or "no suffix" for path in report.ignored)
        which = ", ".join(f"{many} {kind}" for kind, many in kinds.most_common())
    typer.echo(f"not read, of other types: {len(report.ignored)} ({which})", err=True)
