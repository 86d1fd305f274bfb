"""`sentvec inspect`: a model and texts in, pages and tables of what happens inside out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentvec.cli.common import Device, Json, Offline, json_line, open_model, shown
from sentvec.cli.output import whole
from sentvec.cli.pairs import read_pairs
from sentvec.cli.rows import read_rows
from sentvec.errors import InvalidInput

if TYPE_CHECKING:
    from sentvec.inspect.layers import LayerStudy
    from sentvec.inspect.page import Page
    from sentvec.inspect.why import Explanation

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Named = Annotated[str, typer.Argument(help="A folder, or a repository on the Hugging Face Hub.")]
Html = Annotated[Path, typer.Option("--output", "-o", help="The .html file to write.")]
MaybeHtml = Annotated[Path | None, typer.Option("--output", "-o", help="A .html file to write, to look closer.")]


@app.command("attention")
def attention(
    model: Named,
    text: Annotated[str, typer.Argument(help="The text.")],
    output: Html,
    pair: Annotated[str | None, typer.Option(help="A second text, for models that read pairs.")] = None,
    view: Annotated[str, typer.Option(help="head, model or neuron.")] = "head",
    device: Device = "auto",
    local_files_only: Offline = False,
) -> None:
    """Write a page that shows what each token looks at.

    Views: `head` draws lines between tokens, `model` a picture of every head, `neuron` queries and keys.
    """
    if view not in ("head", "model", "neuron"):
        raise InvalidInput(f"view {view!r} is not known. Known: head, model, neuron.")
    _check_page(output)
    embedder = open_model(model, device, offline=local_files_only)
    from sentvec.inspect import views
    from sentvec.inspect.capture import trace

    found = trace(embedder, text, pair, qkv=view == "neuron")
    draw = {"head": views.head_view, "model": views.model_view, "neuron": views.neuron_view}[view]
    _save(draw(found), output)


@app.command("why")
def why(
    model: Named,
    first: Annotated[str, typer.Argument(help="The first text.")],
    second: Annotated[str, typer.Argument(help="The second text.")],
    output: MaybeHtml = None,
    count: Annotated[int, typer.Option("--count", "-k", min=1, help="How many pairs of tokens to list.")] = 10,
    first_prompt: Annotated[str | None, typer.Option(help="Stored prompt for the first text, by name.")] = None,
    second_prompt: Annotated[str | None, typer.Option(help="Stored prompt for the second text, by name.")] = None,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Say which pairs of tokens make two texts similar; what they add sums to the cosine."""
    if output is not None:
        _check_page(output)
    embedder = open_model(model, device, offline=local_files_only)
    from sentvec.inspect.views import similarity_view
    from sentvec.inspect.why import explain_similarity

    found = explain_similarity(embedder, first, second, prompt_names=(first_prompt, second_prompt))
    if output is not None:
        _save(similarity_view(found), output)
    if as_json:
        typer.echo(json_line({"cosine": found.score, "rows": found.rows, "columns": found.columns,
                              "matrix": found.matrix.tolist()}))  # fmt: skip
        return
    _print_pairs(found, count)


@app.command("layers")
def layers(
    model: Named,
    sts: Annotated[Path, typer.Option("--sts", help="Scored pairs: rows of text, text, score, as .csv or with tabs.")],
    pooling: Annotated[list[str] | None, typer.Option(help="Poolings to compare; may be given again.")] = None,
    device: Device = "auto",
    local_files_only: Offline = False,
    as_json: Json = False,
) -> None:
    """Compare every layer under every pooling on pairs that people scored.

    The table holds Spearman's rank correlation × 100 of cosines with the scores.
    """
    pairs, scores = read_pairs(sts)
    embedder = open_model(model, device, offline=local_files_only)
    from sentvec.inspect.layers import POOLS, layer_study

    found = layer_study(embedder, pairs, scores, poolings=pooling or POOLS)
    if as_json:
        table = [[None if math.isnan(score) else score for score in row] for row in found.table.tolist()]
        shapes = {"pairs": found.pairs, "poolings": found.poolings}
        typer.echo(json_line({**shapes, "table": table, "model itself": found.whole}))
        return
    _print_layers(found)


@app.command("map")
def map_(
    model: Named,
    source: Annotated[Path, typer.Argument(help="A text, .jsonl, .csv or .tsv file.")],
    output: Html,
    method: Annotated[str, typer.Option(help="pca, tsne or umap; the last two need the extra inspect.")] = "pca",
    field: Annotated[str, typer.Option(help="Field or column that holds the text.")] = "text",
    group_field: Annotated[str | None, typer.Option(help="Field or column that holds a group, for colours.")] = None,
    device: Device = "auto",
    local_files_only: Offline = False,
) -> None:
    """Write a page with texts as points on a plane, near ones near, and each text to read."""
    _check_page(output)
    rows = list(read_rows(source, field, group_field, id_option="--group-field"))
    embedder = open_model(model, device, offline=local_files_only)
    from sentvec.inspect.projection import METHODS, project
    from sentvec.inspect.views import map_view

    if method not in METHODS:  # before the work of encoding
        raise InvalidInput(f"method {method!r} is not known. Known: {', '.join(METHODS)}.")
    texts = [text for _, text in rows]
    groups = None if group_field is None else [str(group) for group, _ in rows]
    found = project(embedder.encode(texts), method)
    _save(map_view(found, texts, groups=groups, about=f"{model} · {source.name}"), output)


def _check_page(path: Path) -> None:
    """Refuse, before the model is loaded, what could not be written."""
    if path.suffix.lower() != ".html":
        raise InvalidInput(f"{path}: the page is HTML; the name must end in .html.")
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise InvalidInput(f"{path}: there is no folder {path.parent}; make it first.")


def _save(page: Page, path: Path) -> None:
    with whole(path) as file:
        file.write(page.html.encode())
    typer.echo(shown(f"{path}: {len(page.html) / 1000:,.0f} kB, to open in a browser"), err=True)


def _print_pairs(found: Explanation, count: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    pairs = found.strongest(count)
    typer.echo(f"cosine {found.score:.4f}, the sum of {found.matrix.size:,} pairs of tokens; the strongest:")
    table = Table(box=None)
    for name in ("first text", "second text"):
        table.add_column(name, overflow="fold")
    for name in ("adds", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    for pair in pairs:
        share = f"{100 * pair.contribution / found.score:.1f} %" if found.score else "–"
        table.add_row(Text(shown(pair.first)), Text(shown(pair.second)), f"{pair.contribution:+.4f}", share)
    Console().print(table)


def _print_layers(found: LayerStudy) -> None:
    from rich.console import Console
    from rich.table import Table

    best = found.best()
    typer.echo(f"Spearman × 100 on {found.pairs:,} pairs")
    table = Table(box=None)
    table.add_column("layer", justify="right")
    for name in found.poolings:
        table.add_column(name, justify="right", no_wrap=True)
    for layer, row in enumerate(found.table.tolist()):
        marked = [
            "–" if math.isnan(score) else f"[bold]{score:.2f}[/]" if (layer, name) == best else f"{score:.2f}"
            for name, score in zip(found.poolings, row, strict=True)
        ]
        table.add_row("embeddings" if layer == 0 else str(layer), *marked)
    Console().print(table)
    typer.echo(f"best: layer {best[0]}, {best[1]}; the model itself: {found.whole:.2f}")
