"""Examples of one kind in; the batch that is learnt from, or one process's share of it, out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sentvec.train.batches import Batch, Example, Kind

_LISTS: frozenset[Kind] = frozenset({"lists", "taught_scores"})
_NUMBERED: frozenset[Kind] = frozenset({"labelled_pairs", "classes"})


def collate(kind: Kind, examples: Sequence[Example]) -> Batch:
    """Put examples together.

    Args:
        kind: what an example is.
        examples: some; none gives a batch without texts, as the share of one process too many.
    """
    if kind == "tuples":
        negatives, owners = _spread(examples, 2)
        queries, positives = (tuple(one.texts[place] for one in examples) for place in (0, 1))
        return Batch(kind, (queries, positives, negatives), owners)
    if kind in _LISTS:
        documents, owners = _spread(examples, 1)
        scores = torch.tensor([score for one in examples for score in _several(one)], dtype=torch.float32)
        return Batch(kind, (tuple(one.texts[0] for one in examples), documents), owners, scores)
    width = 1 if kind in ("texts", "classes", "taught_vectors") else 2
    columns = tuple(tuple(one.texts[place] for one in examples) for place in range(width))
    return Batch(kind, columns, values=_values(kind, examples))


def _values(kind: Kind, examples: Sequence[Example]) -> Tensor | None:
    if kind in ("pairs", "texts"):
        return None
    if kind in _NUMBERED:
        return torch.tensor([one.value for one in examples], dtype=torch.int64)
    if kind == "scored":
        return torch.tensor([one.value for one in examples], dtype=torch.float32)
    return torch.tensor([_several(one) for one in examples], dtype=torch.float32)  # (examples, dim)


def _several(example: Example) -> tuple[float, ...]:
    assert isinstance(example.value, tuple)
    return example.value


def _spread(examples: Sequence[Example], first: int) -> tuple[tuple[str, ...], Tensor]:
    """Return the texts from the first on, of all examples in one row, and whose each is."""
    texts = tuple(text for one in examples for text in one.texts[first:])
    counts = torch.tensor([len(one.texts) - first for one in examples], dtype=torch.int64)
    return texts, torch.arange(len(examples)).repeat_interleave(counts)
