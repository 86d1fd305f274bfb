"""`sentvec info`: a model's name in, what it is and where its parameters sit out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentvec.cli.common import DEFAULT_MODEL, Json, Offline, json_line, open_model, shown

if TYPE_CHECKING:
    from sentvec.inspect.card import Card
    from sentvec.runtime.embedder import Embedder


def info(
    model: str = typer.Argument(DEFAULT_MODEL),
    as_json: Json = False,
    shapes: Annotated[bool, typer.Option("--shapes", help="List every learned tensor; --json always does.")] = False,
    local_files_only: Offline = False,
) -> None:
    """Show a model's parameters by part, files, lengths, tokeniser, pooling and prompts."""
    embedder = open_model(model, device="cpu", offline=local_files_only)
    from sentvec.inspect.card import card

    found = card(embedder)
    facts = _facts(embedder, found)
    if as_json:
        typer.echo(json_line(facts))
        return
    _print_table(model, _lines(facts, found, shapes))


def _print_table(model: str, lines: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(shown(model)), title_justify="left", show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in lines:
        table.add_row(Text(shown(label)), Text(shown(value)))
    Console().print(table)


def _lines(facts: dict[str, Any], found: Card, shapes: bool) -> list[tuple[str, str]]:
    """Put the facts as a person reads them: shares behind numbers of parameters, bytes in millions."""
    shares = found.shares()
    lines = []
    for key, value in facts.items():
        if key == "parameters":
            for part, count in value.items():
                lines.append((f"{key}: {part}", f"{count:,}" + (f"  {shares[part]:.1f} %" if part in shares else "")))
        elif key == "files":
            lines += [(f"{key}: {name}", f"{size / 1e6:,.1f} MB") for name, size in value.items()]
        elif key == "shapes":
            lines += [(f"{w['count']} × {w['name']}", " × ".join(map(str, w["shape"]))) for w in value if shapes]
        elif isinstance(value, dict) and key != "parameter shares (%)":  # which stand behind the numbers already
            lines += [(f"{key}: {name}", _plain(part)) for name, part in value.items()]
        elif not isinstance(value, dict):
            lines.append((key, _plain(value)))
    return lines


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _facts(embedder: Embedder, found: Card) -> dict[str, Any]:
    from sentvec.checkpoint.recipe import Normalize

    recipe, config, pieces = embedder.recipe, embedder.encoder.config, found.pieces
    return {
        "model type": embedder.model_type,
        "parameters": {**found.parameters, "all": found.total},
        "parameter shares (%)": {part: round(share, 1) for part, share in found.shares().items()},
        "number format": found.dtype,
        "stored as": ", ".join(found.stored) or "not known",
        "files": dict(found.files),
        "shapes": [{"name": w.name, "shape": w.shape, "count": w.count} for w in found.weights],
        "vector dim": embedder.dim,
        "hidden": config.hidden,
        "layers": config.layers,
        "heads": config.heads,
        "vocabulary": config.vocab,
        "max length (tokens)": embedder.max_seq_length,
        "positions": config.max_tokens,
        "tokeniser": pieces.kind,
        "tokens": pieces.size,
        "special tokens": dict(pieces.special),
        "pieces that begin with": {pieces.mark: pieces.marked} if pieces.mark else {},
        "pooling": " + ".join(recipe.pooling),
        "after pooling": ", ".join("Normalize" if isinstance(step, Normalize) else "Dense" for step in recipe.steps)
        or "nothing",
        "similarity": recipe.similarity,
        "prompts": dict(recipe.prompts) or "none",
        "default prompt": recipe.default_prompt or "none",
        "fingerprint": embedder.fingerprint,
    }
