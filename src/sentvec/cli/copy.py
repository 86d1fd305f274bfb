"""`sentvec copy`: a store or a collection in, the same in another store out."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sentvec.cli.common import Json, json_line


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A collection's folder, or the URL of a store.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same; it is made where it is not there.")],
    many: Annotated[int, typer.Option("--batch", min=1, help="Passages read and written at once.")] = 256,
    as_json: Json = False,
) -> None:
    """Copy passages and vectors from one store to another, without a model.

    What is there already is not written again, so a run that was stopped is simply run again. Numbers are
    compared in the end. URLs: postgresql://, qdrant://, milvus://, elasticsearch://, opensearch://; see
    docs/stores.md.
    """
    from sentvec.progress import counted
    from sentvec.stores.copying import copy as copied
    from sentvec.stores.opening import open_store

    with open_store(source) as given, open_store(target, given.spec) as taken:
        report = copied(given, taken, many=many, progress=None)
        taken.optimize()
        where = taken.url
    if as_json:
        typer.echo(json_line(asdict(report)))
        return
    others = f"; {counted(report.others, 'other')} there" if report.others else ""
    typer.echo(
        f"{where}: {counted(report.read, 'passage')}: {report.added:,} added, {report.updated:,} updated, "
        f"{report.unchanged:,} there already{others}; {report.seconds:.1f} s"
    )
