"""What a run was and what came of it in, a model card out: README.md of the model's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sentvec import __version__
from sentvec.checkpoint.recipe import Recipe
from sentvec.train.batches import Dataset
from sentvec.train.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Story:
    """What there is to tell.

    Attributes:
        base: the model that was trained.
        datasets: what it was trained on.
        losses: the loss for each of these.
        config: all settings.
        steps: optimiser steps.
        before: scores of the model that was trained, by name; none where nothing was measured.
        after: scores of the trained model.
        recipe: from token states to a vector.
        dim: features of a vector.
        picture: name of the picture of the run, beside the card; None where there is none.
    """

    base: str
    datasets: Sequence[Dataset]
    losses: Sequence[str]
    config: TrainConfig
    steps: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    recipe: Recipe
    dim: int
    picture: str | None


def card(story: Story) -> str:
    """Write a card in the Hugging Face Hub's form: a head in YAML, then Markdown."""
    base, after, before = story.base, story.after, story.before
    lines = [
        "---",
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
        "tags: [sentence-transformers, sentence-similarity, feature-extraction, sentvec]",
        f"base_model: {json.dumps(base, ensure_ascii=False)}",
        "---",
        "",
        "# A text encoder",
        "",
        f"Trained from `{base}` with sentvec {__version__}. It turns a text of up to "
        f"{story.recipe.max_seq_length} tokens into a vector of {story.dim} numbers, to be compared by "
        f"{story.recipe.similarity}.",
        "",
        "```python",
        "from sentvec import Embedder",
        "",
        'model = Embedder.from_pretrained("path/to/this/folder")',
        'vectors = model.encode(["one text", "another text"])',
        "```",
        "",
        "sentence-transformers reads the folder too.",
        "",
        "## Data",
        "",
        "| data | examples are | how many | loss |",
        "|---|---|---|---|",
        *(
            f"| {_cell(one.name)} | {one.kind.replace('_', ' ')} | {len(one):,} | {loss} |"
            for one, loss in zip(story.datasets, story.losses, strict=True)
        ),
        "",
    ]
    if after:
        lines += ["## Scores", "", "| set | before | after |", "|---|---|---|"]
        lines += [
            f"| {_cell(name)} | {f'{before[name]:.4f}' if name in before else ''} | {value:.4f} |"
            for name, value in after.items()
        ]
        lines += ["", "The model in this folder is the one with the best first score of all that were measured.", ""]
    if story.picture:
        lines += [f"![loss, learning rate and scores by step]({story.picture})", ""]
    settings = {name: value for name, value in asdict(story.config).items() if value not in (None, {})}
    lines += [f"## Settings ({story.steps:,} steps)", "", "| setting | value |", "|---|---|"]
    lines += [f"| {name} | {_cell(str(value))} |" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
