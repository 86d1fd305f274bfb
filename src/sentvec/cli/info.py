"""`sentvec info`: a model's name in, what it is and where its parameters sit out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sentvec.cli.common import DEFAULT_MODEL, Json, Offline, json_line, open_model, shown

if TYPE_CHECKING:
    from sentvec.runtime.embedder import Embedder


def info(model: str = typer.Argument(DEFAULT_MODEL), as_json: Json = False, local_files_only: Offline = False) -> None:
    """Show a model's size, lengths, pooling and prompts."""
    embedder = open_model(model, device="cpu", offline=local_files_only)
    facts = _facts(embedder)
    if as_json:
        typer.echo(json_line(facts))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(shown(model)), title_justify="left", show_header=False, box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        for name, part in value.items() if isinstance(value, dict) else [("", value)]:
            label = f"{key}: {name}" if name else key
            table.add_row(Text(shown(label)), Text(f"{part:,}" if isinstance(part, int) else shown(str(part))))
    Console().print(table)


def _facts(embedder: Embedder) -> dict[str, Any]:
    from torch import nn

    from sentvec.checkpoint.recipe import Normalize

    recipe, config = embedder.recipe, embedder.encoder.config
    encoder = embedder.encoder
    assert isinstance(encoder, nn.Module)
    parameters: dict[str, int] = {}
    parts = {"layers": "encoder"}  # what users call it
    for name, part in encoder.named_children():
        parameters[parts.get(name, name)] = sum(p.numel() for p in part.parameters())
    projections = sum(p.numel() for step in recipe.steps if isinstance(step, nn.Module) for p in step.parameters())
    if projections:
        parameters["projections"] = projections
    parameters["all"] = sum(parameters.values())
    return {
        "model type": embedder.model_type,
        "parameters": parameters,
        "vector dim": embedder.dim,
        "hidden": config.hidden,
        "layers": config.layers,
        "heads": config.heads,
        "vocabulary": config.vocab,
        "max length (tokens)": embedder.max_seq_length,
        "positions": config.max_tokens,
        "tokeniser": embedder.tokenizer.kind,
        "pooling": " + ".join(recipe.pooling),
        "after pooling": ", ".join("Normalize" if isinstance(step, Normalize) else "Dense" for step in recipe.steps)
        or "nothing",
        "similarity": recipe.similarity,
        "prompts": dict(recipe.prompts) or "none",
        "default prompt": recipe.default_prompt or "none",
        "fingerprint": embedder.fingerprint,
    }
