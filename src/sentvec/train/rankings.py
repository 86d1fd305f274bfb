"""Examples that a cross-encoder learns from in; lists of documents with grades, and a loss of their scores, out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sentvec.errors import InvalidInput
from sentvec.ops.losses.lists import RANKINGS
from sentvec.train.batches import Batch, Dataset, Example, Kind
from sentvec.train.objectives import OBJECTIVES
from sentvec.train.objectives_row import Row

POINTS: frozenset[Kind] = frozenset({"scored", "labelled_pairs"})
LISTS: frozenset[Kind] = frozenset({"tuples", "lists"})
TAUGHT: frozenset[Kind] = frozenset({"taught_scores"})

_KINDS = {
    "bce": POINTS | LISTS | TAUGHT,
    "list_softmax": LISTS,
    "list_net": LISTS | TAUGHT,
    "rank_net": LISTS | TAUGHT,
    "lambda": LISTS,
    "margin_mse": TAUGHT,
    "kl": TAUGHT,
}


class ScoreLoss(nn.Module):
    """A loss of `sentvec.ops.losses.lists` of a cross-encoder's logits.

    Args:
        loss: the loss.
        options: its options.
    """

    def __init__(self, loss: Callable[..., Tensor], options: Mapping[str, Any]) -> None:
        super().__init__()
        self.loss = loss
        self.options = dict(options)

    def forward(self, scores: Tensor, batch: Batch) -> Tensor:
        """Return the loss, (), of the scores (documents,) of a batch of lists."""
        assert batch.values is not None and batch.owners is not None, "lists have both"
        return self.loss(scores, batch.values.to(scores), batch.owners.to(scores.device), **self.options)


@dataclass(frozen=True)
class Graded:
    """Builds `ScoreLoss`; its options are those of the loss.

    Attributes:
        loss: one of `sentvec.ops.losses.lists.RANKINGS`.
    """

    loss: Callable[..., Tensor]

    def __call__(self, **options: Any) -> ScoreLoss:
        """Set the options."""
        return ScoreLoss(self.loss, options)

    @property
    def __signature__(self) -> inspect.Signature:
        """What may be set."""
        own = inspect.signature(self.loss).parameters.values()
        return inspect.Signature([one for one in own if one.kind is one.KEYWORD_ONLY])


RERANKINGS: dict[str, Row] = {
    name: replace(OBJECTIVES[name], build=Graded(loss), kinds=_KINDS[name], preset={})
    for name, loss in RANKINGS.items()
}
"""Losses of cross-encoders by name: those of lists, which embedders learn from too."""

DEFAULTS: Mapping[Kind, str] = {
    "scored": "bce",
    "labelled_pairs": "bce",
    "tuples": "list_softmax",
    "lists": "lambda",
    "taught_scores": "margin_mse",
}
"""The loss that each kind is learnt with where none is named."""


def as_lists(dataset: Dataset) -> Dataset:
    """Return the same as queries with graded documents: a pair is a list of one, and positives have grade 1."""
    return replace(dataset, kind="lists", examples=[_listed(dataset.kind, one) for one in dataset.examples])


def _listed(kind: Kind, one: Example) -> Example:
    if kind == "tuples":
        return Example(one.texts, (1.0, *[0.0] * (len(one.texts) - 2)))
    assert one.value is not None, "pairs with scores or labels, and lists, have values"
    return one if isinstance(one.value, tuple) else Example(one.texts, (float(one.value),))


def loss_for(name: str | None, dataset: Dataset, options: Mapping[str, Any]) -> tuple[str, ScoreLoss]:
    """Build the loss for a data set, and say what it is called.

    Args:
        name: one of `RERANKINGS`; None takes the usual one for the data.
        dataset: what is learnt from.
        options: those of the loss.

    Raises:
        InvalidInput: a reranker, or this loss, cannot learn from such examples, or an option is not possible.
    """
    known = ", ".join(found for found, row in RERANKINGS.items() if dataset.kind in row.kinds)
    if not known:
        raise InvalidInput(_refusal(dataset))
    if name is not None and name not in RERANKINGS:
        raise InvalidInput(f"loss {name!r} is not known for rerankers. Known: {', '.join(RERANKINGS)}.")
    name = name or DEFAULTS[dataset.kind]
    row = RERANKINGS[name]
    if dataset.kind not in row.kinds:
        raise InvalidInput(
            f"loss {name!r} learns from {' or '.join(sorted(row.kinds))}, and {dataset.name} holds {dataset.kind}. "
            f"Losses for {dataset.kind}: {known}."
        )
    row.check(name, options)
    made = row.build(**options)
    assert isinstance(made, ScoreLoss), "all rows here are"
    _check_grades(name, made, dataset)
    return name, made


def _check_grades(name: str, loss: ScoreLoss, dataset: Dataset) -> None:
    """Ask the loss about the lowest and the highest grade there is, so that what it refuses is said before the run."""
    if dataset.kind == "labelled_pairs" and len(dataset.labels) > 2:
        raise InvalidInput(
            f"{dataset.name} has {len(dataset.labels)} labels ({', '.join(dataset.labels[:5])}), and a reranker learns "
            "from two: whether a document answers, or not. --task text-classification learns all of them."
        )
    grades = [grade for one in dataset.examples for grade in _values(_listed(dataset.kind, one))]
    low, high = min(grades), max(grades)
    if low == high:
        raise InvalidInput(
            f"{dataset.name}: all documents have the same label or score, {low:g}, so there is nothing to tell apart. "
            "Give some that answer less well, as sentvec mine finds them."
        )
    try:
        loss(torch.zeros(2), Batch("lists", (("",), ("", "")), torch.tensor([0, 0]), torch.tensor([low, high])))
    except InvalidInput as error:
        raise InvalidInput(f"{dataset.name}, loss {name!r}: {error} Give another --loss, or mend them.") from None


def _values(example: Example) -> tuple[float, ...]:
    assert isinstance(example.value, tuple)
    return example.value


def _refusal(dataset: Dataset) -> str:
    if dataset.kind == "pairs":
        return (
            f"{dataset.name} holds pairs that all belong together, and a reranker learns from documents that do not "
            "answer as well. Find some with sentvec mine."
        )
    return f"{dataset.name} holds {dataset.kind}; a reranker learns from {', '.join(DEFAULTS)}."
