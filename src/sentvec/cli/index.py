"""`sentvec index`: files and folders in, a searchable collection and a summary of what was done out."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentvec.cli.common import DEFAULT_MODEL, Device, Json, Offline, json_line, open_model
from sentvec.errors import InvalidInput

if TYPE_CHECKING:
    from sentvec.search.types import Hit, IndexReport

DEFAULT_COLLECTION = Path("sentvec.sv")
Collected = Annotated[Path, typer.Option("--collection", "-c", help="The collection's folder.")]
Stored = Annotated[
    str | None, typer.Option("--store", help="In place of a collection: the URL of a store on a server.")
]
OwnModel = Annotated[
    str | None,
    typer.Option("--model", "-m", help=f"Default: the collection's own, {DEFAULT_MODEL} for a new one."),
]
_NAMED = 10  # files of other types that are listed by name


def index(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders: .txt .md .rst .csv .tsv .jsonl")],
    collection: Collected = DEFAULT_COLLECTION,
    store: Stored = None,
    model: OwnModel = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what is gone from the given paths.")] = False,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Add files and folders to a collection, or bring it up to date with them.

    Long files are cut into passages. Files that have not changed are not read again. Files that cannot be
    read are skipped and named; if that is all of them, the exit code is 1.
    """
    from sentvec.search.collection import Collection
    from sentvec.search.types import IndexReport
    from sentvec.search.walk import belongs, find

    begun = time.monotonic()
    if store is not None and prune:
        raise InvalidInput("--prune works on collections, not on a --store; index into a new store instead.")
    own, held = (None, []) if store is not None else _known(collection)
    found = find(paths, collection.absolute(), held, prune=prune)  # a mistyped path should not cost loading a model
    nothing = not found.files and not any(belongs(file, folder) for file in held for folder in found.folders)
    report, passages = IndexReport(skipped=found.unreadable, ignored=found.ignored), 0
    where = str(collection)
    if not nothing and store is not None:
        from sentvec.cli.stores import index_into

        where, report, passages = index_into(store, found, model, device, offline=local_files_only)
    elif not nothing:
        encoder = open_model(model or own or DEFAULT_MODEL, device, offline=local_files_only)
        with Collection.open(collection, encoder) as opened:
            try:
                report = opened.add_files(paths, prune=prune, progress=None)
            except KeyboardInterrupt:
                files = opened.stats().files
                are = "is" if files == 1 else "are"
                told = f"stopped; {_many(files, 'file')} {are} in the collection; run the same command again to go on"
                typer.echo(told, err=True)
                raise typer.Exit(130) from None
            passages = len(opened)
            if opened.stats().due:
                opened.compact(progress=None)
    seconds = time.monotonic() - begun
    if as_json:
        typer.echo(one_json_line(report, passages=passages, seconds=seconds))
    elif not nothing:
        typer.echo(_summary(report, passages, where, seconds))
    _name_skipped(report)
    if report.gone:
        them = "it" if len(report.gone) == 1 else "them"
        typer.echo(f"gone, and still in the collection: {_named(report.gone)}; remove {them} with --prune", err=True)
    if report.files == 0 and report.removed_files == 0:
        from sentvec.search.readers import READERS

        looked = ", ".join(shown_path(str(path.absolute())) for path in paths)
        typer.echo(
            f"error: there is nothing to index in {looked}: files read in folders are {' '.join(READERS)}; "
            "others, as text, where they are named directly",
            err=True,
        )
        raise typer.Exit(1)
    if report.files and report.changed_files + report.unchanged_files == 0:
        typer.echo("error: every file was skipped", err=True)
        raise typer.Exit(1)


def _known(collection: Path) -> tuple[str | None, list[str]]:
    """Return the model that a collection was made with, and its files; None and none where there is no collection."""
    from sentvec.errors import CollectionNotFound
    from sentvec.search.collection import Collection

    try:
        with Collection.open(collection) as opened:
            return opened.model_name, opened.files()
    except CollectionNotFound:
        return None, []


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
    return json_line(values)


def _summary(report: IndexReport, passages: int, collection: str, seconds: float) -> str:
    skipped = f", {len(report.skipped)} skipped" if report.skipped else ""
    if report.changed_files == report.removed_files == 0:
        return f"{collection} is up to date: {_many(report.files, 'file')}{skipped}, {_many(passages, 'passage')}"
    gone = f"; {report.removed_files} gone and removed" if report.removed_files else ""
    return (
        f"{_many(report.files, 'file')}: {report.changed_files} new or changed, {report.unchanged_files} unchanged"
        f"{skipped}{gone}\n"
        f"{_many(report.added, 'passage')} added, {report.removed} removed, {report.unchanged} kept; "
        f"{report.encoded} encoded\n"
        f"{collection}: {_many(passages, 'passage')}, {seconds:.1f} s"
    )


def _many(number: int, what: str) -> str:
    """Count things.

    >>> _many(1, "file"), _many(2, "file")
    ('1 file', '2 files')
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _name_skipped(report: IndexReport) -> None:
    for path, reason in report.skipped:
        typer.echo(f"skipped {shown_path(path)}: {reason}", err=True)
    for path, line, reason in report.bad_records:
        typer.echo(f"skipped {shown_path(path)}, line {line}: {reason}", err=True)
    if report.ignored and not report.unchanged_files:  # once is enough: not again at each update
        typer.echo(f"not read, of other types: {_named(report.ignored)}", err=True)


def _named(paths: Sequence[str]) -> str:
    """Count paths, and name them, or their types where they are many."""
    if len(paths) <= _NAMED:
        return f"{len(paths)} ({', '.join(map(shown_path, paths))})"
    kinds = Counter(Path(path).suffix.lower() or "no suffix" for path in paths)
    return f"{len(paths)} ({', '.join(f'{many} {kind}' for kind, many in kinds.most_common())})"
