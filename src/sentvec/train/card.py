"""What a run was and what came of it in, a model card out: README.md of the model's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sentvec import __version__
from sentvec.train.config import TrainConfig, toml


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a trained model is for.

    Attributes:
        title: what it is.
        does: what it does, a sentence that goes on from "It".
        example: Python that uses it.
        library: what reads the folder besides sentvec.
        reader: the same, as the Hugging Face Hub calls it.
        task: as the Hugging Face Hub calls it.
        tags: the same.
    """

    title: str
    does: str
    example: tuple[str, ...]
    library: str
    task: str
    tags: tuple[str, ...]
    reader: str = "sentence-transformers"


def embedding(tokens: int, dim: int, similarity: str) -> Use:
    """Return what an embedder is for."""
    return Use(
        title="A text encoder",
        does=f"turns a text of up to {tokens} tokens into a vector of {dim} numbers, to be compared by {similarity}",
        example=(
            "from sentvec import Embedder",
            "",
            'model = Embedder.from_pretrained("path/to/this/folder")',
            'vectors = model.encode(["one text", "another text"])',
        ),
        library="sentence-transformers reads the folder too.",
        task="sentence-similarity",
        tags=("sentence-transformers", "sentence-similarity", "feature-extraction"),
    )


def reranking(tokens: int) -> Use:
    """Return what a reranker is for."""
    return Use(
        title="A reranker",
        does=f"says how well a document answers a query; of both together it reads up to {tokens} tokens",
        example=(
            "from sentvec import Reranker",
            "",
            'model = Reranker.from_pretrained("path/to/this/folder")',
            'ranked = model.rank("a query", ["a document", "another document"])',
        ),
        library="sentence-transformers' CrossEncoder reads the folder too.",
        task="text-ranking",
        tags=("sentence-transformers", "cross-encoder", "reranker"),
    )


_JOBS: Mapping[str, tuple[str, str, str, str]] = {
    "text-classification": ("text-classification", "A classifier", "gives a text one of {} labels", '"a text"'),
    "pairs": (
        "text-classification", "A classifier of pairs", "gives two texts one of {} labels", '("a text", "another")'
    ),
    "regression": ("text-similarity", "A model of scores", "gives two texts a score", '[("a text", "another")]'),
    "token-classification": ("token-classification", "A tagger", "gives words one of {} labels", '"a sentence"'),
    "question-answering": (
        "question-answering", "A reader", "finds answers in a text", '{{"question": "who?", "context": "a text"}}'
    ),
    "fill-mask": ("fill-mask", "A model of masked words", "says which words fit a place", '"one {} word"'),
}  # fmt: skip
"""What a head is for, by its job: task of `sentvec.pipeline`, title, what it does, an input."""


def solving(job: str, *, labels: int = 0, mask: str = "") -> Use:
    """Return what a model with a head is for.

    Args:
        job: one of those above.
        labels: how many there are.
        mask: the token that stands for a masked word.
    """
    task, title, does, given = _JOBS[job]
    hub = "text-classification" if job == "regression" else task
    return Use(
        title=title,
        does=does.format(labels),
        example=(
            "from sentvec import pipeline",
            "",
            f'do = pipeline("{task}", "path/to/this/folder")',
            f"result = do({given.format(mask)})",
        ),
        library="transformers reads the folder too.",
        reader="transformers",
        task=hub,
        tags=(hub,),
    )


@dataclass(frozen=True)
class Learnt:
    """A data set that was learnt from: its name, what its examples are, how many, and the loss."""

    name: str
    kind: str
    count: int
    loss: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """What there is to tell.

    Attributes:
        base: the model that was trained.
        learnt: what it was trained on.
        config: all settings.
        steps: optimiser steps.
        before: scores of the model that was trained, by name; none where nothing was measured.
        after: scores of the trained model.
        use: what it is for.
        picture: name of the picture of the run, beside the card; None where there is none.
    """

    base: str
    learnt: Sequence[Learnt]
    config: TrainConfig
    steps: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    use: Use
    picture: str | None


def card(story: Story) -> str:
    """Write a card in the Hugging Face Hub's form: a head in YAML, then Markdown."""
    base, after, before = story.base, story.after, story.before
    lines = [
        "---",
        f"library_name: {story.use.reader}",
        f"pipeline_tag: {story.use.task}",
        f"tags: [{', '.join(story.use.tags)}, sentvec]",
        f"base_model: {json.dumps(base, ensure_ascii=False)}",
        "---",
        "",
        f"# {story.use.title}",
        "",
        f"Trained from `{base}` with sentvec {__version__}. It {story.use.does}.",
        "",
        "```python",
        *story.use.example,
        "```",
        "",
        story.use.library,
        "",
        "## Data",
        "",
        "| data | examples are | how many | loss |",
        "|---|---|---|---|",
        *(f"| {_cell(one.name)} | {one.kind.replace('_', ' ')} | {one.count:,} | {one.loss} |" for one in story.learnt),
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
    settings = {name: value for name, value in asdict(story.config).items() if value not in (None, {}, (), [])}
    settings.pop("data", None)  # the table above has it
    lines += [f"## Settings ({story.steps:,} steps)", "", "| setting | value |", "|---|---|"]
    lines += [f"| {name} | {_cell(toml(value))} |" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
