"""`sentvec evaluate`: a model and a folder of sets in; a table, Markdown, JSON and a chart of its scores out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentvec.cli.common import Device, Json, Offline, open_model, shown
from sentvec.cli.output import whole
from sentvec.errors import InvalidInput

if TYPE_CHECKING:
    from sentvec.evaluate.find import Found
    from sentvec.evaluate.report import Shown
    from sentvec.evaluate.run import Report

_FILES = ("evaluation.md", "evaluation.json", "evaluation.svg")


def evaluate(
    model: Annotated[str, typer.Argument(help="A folder, or a repository on the Hugging Face Hub.")],
    folder: Annotated[Path, typer.Argument(help="A folder with sets, or one set; each is recognised by its files.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help=f"A folder for {', '.join(_FILES)}.")] = None,
    against: Annotated[str | None, typer.Option(help="A second model, to be tested against the first.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only sets of this kind; may be given again.")] = None,
    split: Annotated[str, typer.Option(help="auto, test, dev, train or all: of files that differ by it.")] = "auto",
    aggregation: Annotated[str, typer.Option(help="STS with subsets: all, mean or wmean.")] = "all",
    cutoff: Annotated[
        list[int] | None, typer.Option("--k", help="Retrieval: a k; may be given again.  [10, 100]")
    ] = None,
    max_score: Annotated[float, typer.Option(help="STS: the highest score that a pair can have.")] = 5.0,
    resamples: Annotated[int, typer.Option(help="Draws for an interval; 0 for no intervals.")] = 1000,
    cache: Annotated[Path | None, typer.Option(help="Keep vectors here, and not in the user's cache folder.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no vectors.")] = False,
    workers: Annotated[int | None, typer.Option(help="Encode in this many processes.")] = None,
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16, int8 or auto.")] = "float32",
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Evaluate a model on all sets below a folder.

    Kinds of sets: sts, retrieval, rerank, pairs, classification, clustering, bitext. Everything is read and
    checked before anything is encoded. Vectors are kept, so that a second run need not encode.
    """
    from sentvec.evaluate.cache import default_folder
    from sentvec.evaluate.find import find_sets
    from sentvec.evaluate.report import beside
    from sentvec.evaluate.run import Settings, of_kinds
    from sentvec.evaluate.run import evaluate as run

    if no_cache and cache is not None:
        raise InvalidInput("--no-cache keeps no vectors, and --cache says where to keep them; leave one away.")
    settings = Settings(cutoffs=tuple(cutoff or (10, 100)), aggregation=aggregation, resamples=resamples)
    if output is not None:
        _check_folder(output)
    found = find_sets(folder, split=split, highest=max_score)
    sets = of_kinds(found.sets, kind or ())
    kept = None if no_cache else cache or default_folder()
    reports = []
    for name in (model, against) if against is not None else (model,):
        embedder = open_model(name, device, precision, local_files_only)
        with ExitStack() as stack:
            spread = None
            if workers is not None:
                from sentvec.runtime.workers import Workers

                spread = stack.enter_context(Workers(embedder, workers))  # one team for all sets
            reports.append(run(embedder, sets, settings=settings, cache=kept, workers=spread))
        _say(reports[-1], kept)
    result: Shown = beside(reports[0], reports[1]) if len(reports) == 2 else reports[0]
    _print(result, found, as_json=as_json)
    if output is not None:
        _write(output, result, reports)


def _say(report: Report, kept: Path | None) -> None:
    counts = report.counts
    where = f", {counts.cached} vectors were in {kept}" if kept is not None else ""
    typer.echo(shown(f"{report.model}: {counts.encoded} texts encoded{where}; {report.seconds:.1f} s in all"), err=True)


def _print(result: Shown, found: Found, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sentvec.evaluate.report import header, how, rows, to_json

    if as_json:
        typer.echo(to_json(result))
    else:
        table = Table(box=None, pad_edge=False)
        for name in header(result):
            table.add_column(Text(shown(name)), justify="right" if name[:1] == "×" else "left", overflow="fold")
        for row in rows(result):
            table.add_row(*(Text(shown(cell)) for cell in row))
        Console().print(table)
        typer.echo(" ".join(how(result)))
    others = [path for path, why in found.passed if why.startswith("another split")]
    if others:
        typer.echo(f"{len(others)} files are of other splits; --split says which are evaluated", err=True)
    for path, why in found.passed:
        if path not in others:
            typer.echo(shown(f"passed over: {path}: {why}"), err=True)


def _check_folder(path: Path) -> None:
    """Refuse, before hours of work, what could not be written after them."""
    if path.exists() and not path.is_dir():
        raise InvalidInput(f"{path} is a file; give a folder for {', '.join(_FILES)}.")
    path.mkdir(parents=True, exist_ok=True)


def _write(folder: Path, result: Shown, reports: list[Report]) -> None:
    from sentvec.evaluate.chart import chart
    from sentvec.evaluate.report import markdown, to_json

    for name, text in zip(_FILES, (markdown(result), to_json(result) + "\n", chart(reports)), strict=True):
        with whole(folder / name) as file:
            file.write(text.encode())
        typer.echo(shown(f"written: {folder / name}"), err=True)
