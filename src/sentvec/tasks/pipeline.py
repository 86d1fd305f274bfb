"""A task's name and a model's in, something that does the task out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from sentvec.errors import ConfigError, HeadNotFound, InvalidInput
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.headed import HeadedModel
from sentvec.runtime.reranker import Reranker
from sentvec.tasks.answer import QuestionAnswering
from sentvec.tasks.classify import MultipleChoice, NextSentence, TextClassification, ZeroShotClassification
from sentvec.tasks.embed import FeatureExtraction, TextSimilarity
from sentvec.tasks.fill_mask import FillMask
from sentvec.tasks.tokens import TokenClassification

Task = Callable[..., Any]
"""Inputs and options -> results; see the classes in `sentvec.tasks`."""


class Kind(Protocol):
    """A class that does a task.

    Attributes:
        head: which head of a checkpoint it needs.
    """

    head: str

    def __call__(self, model: HeadedModel, /) -> Task:
        """Make one."""
        ...


TASKS: Mapping[str, Kind] = MappingProxyType(
    {
        "fill-mask": FillMask,
        "text-classification": TextClassification,
        "zero-shot-classification": ZeroShotClassification,
        "token-classification": TokenClassification,
        "question-answering": QuestionAnswering,
        "multiple-choice": MultipleChoice,
        "next-sentence": NextSentence,
    }
)
ALIASES = MappingProxyType(
    {
        "sentiment-analysis": "text-classification",
        "ner": "token-classification",
        "sentence-similarity": "text-similarity",
    }
)
HEADLESS = ("feature-extraction", "text-similarity")
KNOWN = (*TASKS, *HEADLESS, *ALIASES)
"""Every name of a task."""


def pipeline(
    task: str,
    model: str | os.PathLike[str],
    *,
    precision: str = "float32",
    device: str = "auto",
    revision: str | None = None,
    local_files_only: bool = False,
    max_seq_length: int | None = None,
    truncate: bool = False,
) -> Task:
    """Load a model for a task.

    Args:
        task: a name in `KNOWN`.
        model: a folder, or a repository of the Hugging Face Hub.
        precision: float32, bfloat16, float16 or int8: what the encoder runs in.
        device: auto, cpu, cuda …
        revision: branch, tag or commit on the Hub.
        local_files_only: never touch the network.
        max_seq_length: most tokens of an input, special tokens included, instead of the checkpoint's.
        truncate: cut an input that is too long, and say so in the log. Otherwise it is refused, except where the
            task goes through a long text in windows.

    Returns:
        What does the task: call it with an input, or a list of them. One input gives its result, a list gives a list
        of results; the keys of results are those that the field uses.

    Raises:
        HeadNotFound: the checkpoint has no head for the task; the message names the head that it has.
        ModelError: the model's files are broken, unsafe or not supported.
        InvalidInput: there is no such task, or an argument's value is not known.
    """
    name = ALIASES.get(task, task) if isinstance(task, str) else None
    if name not in (*TASKS, *HEADLESS):
        raise InvalidInput(f"task {task!r} is not known. Known: {', '.join(KNOWN)}.")
    where: dict[str, Any] = {
        "precision": precision,
        "device": device,
        "revision": revision,
        "local_files_only": local_files_only,
        "max_seq_length": max_seq_length,
    }
    if name == "feature-extraction":
        return FeatureExtraction(Embedder.from_pretrained(model, **where), truncate=truncate)
    if name == "text-similarity":
        return TextSimilarity(_comparing(model, where), truncate=truncate)
    kind = TASKS[name]
    try:
        headed = HeadedModel.from_pretrained(model, kind.head, **where, whole=not truncate)
    except HeadNotFound as error:
        raise _unable(task, os.fspath(model), error) from None
    return kind(headed)


def _unable(task: str, model: str, error: HeadNotFound) -> HeadNotFound:
    """Say it in the names that the user gave and can give: those of tasks, not of heads and folders."""
    able = [name for name, kind in TASKS.items() if kind.head in error.there]
    advice = (
        f"It can do {' and '.join(able)}."
        if able
        else f"Give a model that was trained for {task}; this one can do {' and '.join(HEADLESS)}."
    )
    return HeadNotFound(f"{model} has no head for {task}: {error.seen}. {advice}")


def _comparing(model: str | os.PathLike[str], where: dict[str, Any]) -> Embedder | Reranker:
    try:
        return Reranker.from_pretrained(model, **where)
    except (ConfigError, HeadNotFound):  # no cross-encoder; what else is wrong, the embedder says
        return Embedder.from_pretrained(model, **where)
