"""`sentvec verify`: a collection in, what is wrong with it, or that nothing is, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sentvec.cli.common import Device, Json, Offline, json_line, open_model, shown
from sentvec.cli.index import DEFAULT_COLLECTION, Collected

if TYPE_CHECKING:
    from sentvec.search.types import Problem

_NAMED = 5  # rows of a problem that are named


def verify(
    collection: Collected = DEFAULT_COLLECTION,
    repair: Annotated[bool, typer.Option("--repair", help="Make again what can be made again.")] = False,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Read all of a collection, and hold it against its checksums.

    The exit code is 1 where something is wrong, and still is after --repair.
    """
    from dataclasses import asdict

    from sentvec.search.collection import Collection

    with Collection.open(collection, mend=repair) as opened:
        report, name = opened.verify(), opened.model_name
        if repair and not report.clean and all(problem.kind != "vectors" for problem in report.problems):
            report = opened.repair()
            repair = False
    if repair and not report.clean:  # a model is loaded only where vectors are to be made again
        encoder = open_model(name, device, offline=local_files_only)
        with Collection.open(collection, encoder) as opened:
            report = opened.repair()
    if as_json:
        typer.echo(json_line(asdict(report) | {"clean": report.clean}))
    else:
        for problem in report.repaired:
            typer.echo(f"repaired: {_told(problem)}")
        for problem in report.problems:
            typer.echo(f"wrong: {_told(problem)}")
        if report.clean:
            measured = "" if report.recall is None else f", recall at 10: {report.recall:.3f}"
            typer.echo(f"{collection} is whole: {report.passages} passages{measured}, {report.seconds:.1f} s")
    if not report.clean:
        raise typer.Exit(1)


def _told(problem: Problem) -> str:
    rows = ", ".join(map(str, problem.rows[:_NAMED])) + ", …" * (len(problem.rows) > _NAMED)
    return shown(f"{problem.kind}: {problem.told}" + (f" ({len(problem.rows)}: rows {rows})" if rows else ""))
