"""A large model and texts in; batches that carry what it says of them, and smaller models to learn it, out.

What a teacher says is asked batch by batch, so that nothing has to be kept: a vector for each text (Reimers & Gurevych
2020, arXiv 2004.09813), or a cross-encoder's score for each document of a query (Hofstätter et al. 2020, arXiv
2010.02666).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sentvec.checkpoint.load import Checkpoint
from sentvec.errors import ConfigError, InvalidInput
from sentvec.nn.stack import Layers
from sentvec.train.batches import Batch
from sentvec.train.loop import Source

Floats = NDArray[np.float32]


class Vectorizer(Protocol):
    """A teacher of vectors; `Embedder` is one."""

    def encode(self, texts: Sequence[str], *, progress: bool | None = None) -> Floats:
        """Encode texts, (n, dim)."""


class Scorer(Protocol):
    """A teacher of scores; `Reranker` is one."""

    def score(self, pairs: Sequence[tuple[str, str]], *, raw: bool = False, progress: bool | None = None) -> Floats:
        """Score pairs of query and document, (n,)."""


class TaughtVectors:
    """Batches of texts, with a teacher's vector of each; see `sentvec.train.loop.Source`.

    Args:
        source: batches of the kind "texts".
        teacher: whose vectors are learnt.
        dim: features of its vectors to keep; None keeps all.
    """

    def __init__(self, source: Source[Batch], teacher: Vectorizer, *, dim: int | None = None) -> None:
        self._source, self._teacher, self._dim = source, teacher, dim

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield (number of the data set, batch) of an epoch from its `start`-th batch on.

        Raises:
            InvalidInput: a batch is not of texts alone.
        """
        for number, batch in self._source.batches(epoch, start):
            _check(batch, "texts")
            values = torch.from_numpy(self._teacher.encode(batch.columns[0], progress=False)[:, : self._dim])
            yield number, replace(batch, kind="taught_vectors", values=values)

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return self._source.steps(epoch)


class TaughtScores:
    """Batches of queries with documents, with a teacher's score of each document; see `sentvec.train.loop.Source`.

    Args:
        source: batches of the kind "tuples": a positive and negatives are a query's documents.
        teacher: whose scores are learnt.
    """

    def __init__(self, source: Source[Batch], teacher: Scorer) -> None:
        self._source, self._teacher = source, teacher

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield (number of the data set, batch) of an epoch from its `start`-th batch on.

        Raises:
            InvalidInput: a batch is not of queries with documents.
        """
        for number, batch in self._source.batches(epoch, start):
            _check(batch, "tuples")
            queries, positives, negatives = batch.columns
            assert batch.owners is not None, "tuples have owners"
            owners = torch.cat([torch.arange(len(queries)), batch.owners])
            order = owners.argsort(stable=True)  # the positive of each query, then its negatives
            texts = [(*positives, *negatives)[i] for i in order.tolist()]
            owners = owners[order]
            pairs = [(queries[owner], text) for owner, text in zip(owners.tolist(), texts, strict=True)]
            values = torch.from_numpy(self._teacher.score(pairs, raw=True, progress=False).reshape(-1))
            yield number, Batch("taught_scores", (queries, tuple(texts)), owners, values)

    def steps(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return self._source.steps(epoch)


def shallow(checkpoint: Checkpoint, layers: Sequence[int]) -> Checkpoint:
    """Return a copy with some of the layers, to be taught by the whole (Sanh et al. 2019, DistilBERT, section 3).

    Args:
        checkpoint: the teacher.
        layers: numbers of the layers that are kept, from 1, in rising order: (2, 4, 6) of six.

    Raises:
        ConfigError: the architecture has no list of layers that can be shortened.
        InvalidInput: there are no such layers.
    """
    encoder = copy.deepcopy(checkpoint.encoder)
    found = getattr(encoder, "layers", None)
    if not isinstance(found, Layers) or found.order != tuple(range(len(found))) or len(found) != encoder.config.layers:
        raise ConfigError(f"layers of {checkpoint.model_type} cannot be left out: they are not one after the other.")
    chosen = tuple(layers)
    if not chosen or list(chosen) != sorted(set(chosen)) or chosen[0] < 1 or chosen[-1] > len(found):
        raise InvalidInput(f"layers are {chosen}; accepted: numbers from 1 to {len(found)}, in rising order.")
    assert isinstance(encoder, nn.Module)
    encoder.layers = Layers(found[number - 1] for number in chosen)
    encoder.config = replace(checkpoint.encoder.config, layers=len(chosen))
    return replace(checkpoint, encoder=encoder)


def _check(batch: Batch, kind: str) -> None:
    if batch.kind != kind:
        raise InvalidInput(f"a teacher is asked about {kind}, and this batch is {batch.kind}.")
