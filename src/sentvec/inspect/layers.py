"""Scored pairs of texts in, how well each layer under each pooling ranks them out, in one pass over the texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Real

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentvec.batch import PackedBatch
from sentvec.errors import InvalidInput
from sentvec.nn.probe import Probe
from sentvec.ops.pooling import POOLINGS, check_pooling
from sentvec.ops.rank import spearman
from sentvec.ops.similarity import paired
from sentvec.progress import track
from sentvec.runtime.embedder import Embedder
from sentvec.runtime.engine import Array, Engine
from sentvec.runtime.jobs import text_job

POOLS = ("mean", "first", "max", "weighted_mean", "last")
"""Poolings to compare: those that read one layer, without `mean_sqrt`, whose cosines are those of `mean`."""

CHUNK = 512
"""Pairs whose vectors are held at once: of all layers and poolings, that is 40 MB for all-MiniLM-L6-v2."""


@dataclass(frozen=True, kw_only=True)
class LayerStudy:
    """How well cosines agree with people's scores, by layer and pooling.

    Attributes:
        model: the model's name.
        pairs: how many pairs were scored.
        poolings: names of the columns.
        table: (layers + 1, poolings) float64: Spearman's correlation × 100. Row 0 is the output of the embeddings.
            NaN where all cosines are equal, as those of the first token's embeddings are.
        whole: the same for the vectors that `encode` returns.
    """

    model: str
    pairs: int
    poolings: tuple[str, ...]
    table: NDArray[np.float64]
    whole: float

    def best(self) -> tuple[int, str]:
        """Return the layer and the pooling with the highest score."""
        row, column = np.unravel_index(int(np.nanargmax(self.table)), self.table.shape)
        return int(row), self.poolings[int(column)]


def layer_study(
    model: Embedder,
    pairs: Sequence[tuple[str, str]],
    scores: Sequence[float],
    *,
    poolings: Sequence[str] = POOLS,
    progress: bool | None = None,
) -> LayerStudy:
    """Compare every layer under every pooling on semantic similarity.

    Each text goes through the encoder once for all layers, and once more for the model's own vectors.
    Projections after pooling belong to the last layer only, so they take no part in the table.

    Args:
        model: the model.
        pairs: pairs of texts.
        scores: how similar people find them; only their order counts.
        poolings: names in `POOLS`.
        progress: as for `Embedder.encode`.

    Raises:
        InvalidInput: there are fewer than three pairs, not as many scores, or scores or cosines that are all equal;
            something is not a pair of texts, or not a number.
        UnknownPooling: a pooling is not known; InvalidInput: it needs more than one layer.
    """
    _check(pairs, scores, poolings)
    wanted = torch.tensor(list(scores), dtype=torch.float64)
    cosines = []
    with track("Comparing layers", len(pairs), progress) as advance:
        for start in range(0, len(pairs), CHUNK):
            part = list(pairs[start : start + CHUNK])
            cosines.append(_cosines(model, part, tuple(poolings)))
            advance(len(part))
    together = torch.cat(cosines).T  # (places in the table + 1, pairs)
    found = 100 * spearman(together, wanted)
    if found[:-1].isnan().all():
        raise InvalidInput(
            "every layer gives all pairs the same cosine, so there is no order to compare; give pairs of texts that "
            "differ, in more than what is cut off."
        )
    return LayerStudy(
        model=model.name,
        pairs=len(pairs),
        poolings=tuple(poolings),
        table=found[:-1].view(-1, len(poolings)).numpy(),
        whole=float(found[-1]),
    )


def _cosines(model: Embedder, pairs: list[tuple[str, str]], poolings: tuple[str, ...]) -> Tensor:
    """Return (pairs, (layers + 1) × poolings + 1) cosines; the last column is that of the model's own vectors."""
    texts = list(chain.from_iterable(pairs))
    hidden = model.encoder.config.hidden
    split = np.concatenate(list(_all_layers(model, texts, poolings))).reshape(len(pairs), 2, -1, hidden)
    own = model.encode(texts, progress=False)
    columns, last = paired("cosine", split[:, 0], split[:, 1]), paired("cosine", own[0::2], own[1::2])
    # cosines of float32 vectors are good to six places; beyond them, rounding would make an order of equal ones
    return torch.from_numpy(np.concatenate([columns, last[:, None]], axis=1)).double().round(decimals=6)


def _all_layers(model: Embedder, texts: list[str], poolings: tuple[str, ...]) -> Iterator[Array]:
    """Encode texts to the vectors of all layers and poolings, end to end: (texts, (layers + 1) × poolings × hidden)."""
    numbers = model.encoder.config
    width = (numbers.layers + 1) * len(poolings) * numbers.hidden

    def forward(batch: PackedBatch) -> Tensor:
        probe = Probe()
        model.encoder(batch, probe=probe)
        states = [probe.hidden_states[i].float() for i in range(numbers.layers + 1)]
        return torch.cat([POOLINGS[name](layer, batch.offsets) for layer in states for name in poolings], dim=-1)

    engine = Engine(model.tokenizer, model.recipe, model.device)
    return engine.run(texts, text_job(forward, width), progress=False)


def _check(pairs: Sequence[tuple[str, str]], scores: Sequence[float], poolings: Sequence[str]) -> None:
    if not poolings:
        raise InvalidInput(f"poolings names none; give at least one of {', '.join(POOLS)}.")
    for name in poolings:
        if check_pooling(name) not in (*POOLS, "mean_sqrt"):
            raise InvalidInput(f"pooling {name!r} does not read one layer alone. Those that do: {', '.join(POOLS)}.")
    if len(pairs) != len(scores):
        raise InvalidInput(f"there are {len(pairs)} pairs of texts, but {len(scores)} scores; give one for each.")
    if len(pairs) < 3:
        raise InvalidInput(f"a rank correlation of {len(pairs)} pairs says nothing; give at least three.")
    for place, (pair, score) in enumerate(zip(pairs, scores, strict=True)):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InvalidInput(f"pair {place} is {str(pair)[:60]!r}; give a tuple of two str.")
        if not isinstance(score, Real) or not math.isfinite(score):
            raise InvalidInput(f"score {place} is {score!r}, which should be a number.")
    if len(set(scores)) < 2:
        raise InvalidInput(f"all scores are {scores[0]}, so there is no order to compare with.")
