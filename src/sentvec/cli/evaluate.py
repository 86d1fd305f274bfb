"""`sentvec evaluate`: a model and a folder of sets in; a table, Markdown, JSON and a chart of its scores out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentvec.cli.common import Device, Json, Offline, escaped, open_model, shown
from sentvec.cli.output import check_folder, whole
from sentvec.errors import InvalidInput
from sentvec.progress import counted

if TYPE_CHECKING:
    from sentvec.evaluate.find import Found
    from sentvec.evaluate.report import Shown
    from sentvec.evaluate.run import Report

_FILES = ("evaluation.md", "evaluation.json", "evaluation.svg")
_SHOWN = 5  # files that are passed over and named


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
    from sentvec.evaluate.run import Settings, check_kinds, of_kinds
    from sentvec.evaluate.run import evaluate as run

    if no_cache and cache is not None:
        raise InvalidInput("--no-cache keeps no vectors, and --cache says where to keep them; leave one away.")
    if against is not None and resamples == 0:
        raise InvalidInput("--resamples is 0, and the test that --against asks for needs draws; give 1000, say.")
    settings = Settings(cutoffs=tuple(cutoff or (10, 100)), aggregation=aggregation, resamples=resamples)
    check_kinds(kind or ())
    if output is not None:
        check_folder(output, ", ".join(_FILES))
    found = find_sets(folder, split=split, highest=max_score)
    sets = of_kinds(found.sets, kind or ())
    kept = None if no_cache else cache or default_folder()
    names = (model, against) if against is not None else (model,)
    # the second one too, before hours of work with the first
    embedders = [open_model(name, device, precision, local_files_only) for name in names]
    reports = []
    for embedder in embedders:
        with ExitStack() as stack:
            spread = None
            if workers is not None:
                from sentvec.runtime.workers import Workers

                spread = stack.enter_context(Workers(embedder, workers))  # one team for all sets
            reports.append(run(embedder, sets, settings=settings, cache=kept, workers=spread))
        _say(reports[-1], kept)
    result: Shown = beside(reports[0], reports[1]) if len(reports) == 2 else reports[0]
    _print(result, as_json=as_json)
    _say_passed(found)
    if output is not None:
        _write(output, result, reports)


def _say(report: Report, kept: Path | None) -> None:
    counts = report.counts
    where = f", {counted(counts.cached, 'vector')} taken from {kept}" if kept is not None else ""
    encoded = f"{report.model}: {counted(counts.encoded, 'text')} encoded"
    typer.echo(shown(f"{encoded}{where}; {report.seconds:.1f} s in all"), err=True)


def _print(result: Shown, *, as_json: bool) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sentvec.evaluate.report import columns, how, models, to_json

    if as_json:
        typer.echo(escaped(to_json(result)))
        return
    console = Console()
    given = columns(result)
    if sum(max(map(cell_len, (one.name, *one.cells))) + 2 for one in given) > console.width + 2:
        given = tuple(one for one in given if one.needed)
    table = Table(box=None, pad_edge=False)
    for one in given:
        table.add_column(one.name, justify="right" if one.number else "left", no_wrap=one.number, overflow="fold")
    for row in zip(*(one.cells for one in given), strict=True):
        table.add_row(*(Text(shown(cell)) for cell in row))
    for line in models(result):
        typer.echo(shown(line))
    console.print(table)
    for line in how(result):
        typer.echo(line)


def _say_passed(found: Found) -> None:
    others = [path for path, why in found.passed if why.startswith("another split")]
    if others:
        count = counted(len(others), "file")
        typer.echo(f"passed over: {count} of other splits; --split says which are evaluated", err=True)
    passed = [(path, why) for path, why in found.passed if path not in others]
    for path, why in passed[:_SHOWN]:
        typer.echo(shown(f"passed over: {path}: {why}"), err=True)
    if len(passed) > _SHOWN:
        typer.echo(f"passed over: {counted(len(passed) - _SHOWN, 'more file')} without such a set", err=True)


def _write(folder: Path, result: Shown, reports: list[Report]) -> None:
    from sentvec.evaluate.chart import chart
    from sentvec.evaluate.report import markdown, to_json

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(_FILES, (markdown(result), to_json(result) + "\n", chart(reports)), strict=True):
        with whole(folder / name) as file:
            file.write(text.encode(errors="backslashreplace"))  # a file's name may hold half a character
        typer.echo(shown(f"written: {folder / name}"), err=True)
