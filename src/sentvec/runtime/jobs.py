"""What is asked of an encoder in, the `Job` that the engine runs out: rows for texts, or for their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from sentvec.batch import PackedBatch
from sentvec.checkpoint.recipe import Recipe
from sentvec.models.architecture import Encoder
from sentvec.runtime.engine import Array, Job, Rows
from sentvec.runtime.forward import Finish, token_states, vectors


def text_job(forward: Callable[[PackedBatch], Tensor], width: int, *, prefix: str = "") -> Job[Array]:
    """Collect one row for each text, float32 (n, width), of what `forward` makes of a batch, (seqs, width)."""
    return Job(forward, partial(rows_of, width), _put, prefix)


def token_job(
    forward: Callable[[PackedBatch], Tensor],
    width: int,
    *,
    prefix: str = "",
    counts: Callable[[PackedBatch], Sequence[int]] = lambda batch: batch.lengths,
) -> Job[list[Array]]:
    """Collect rows for the tokens of each text, a list of float32 (tokens_i, width).

    Args:
        forward: a batch -> rows one text after the other, (tokens, width).
        width: numbers of a row.
        prefix: put in front of every text.
        counts: a batch -> how many of these rows each text has, where that is not one for every token.
    """

    def place(out: list[Array], to: Rows, batch: PackedBatch, values: Array) -> None:
        parts = np.split(values, np.cumsum(counts(batch))[:-1])
        for at, row in zip(to.places, to.of, strict=True):
            out[at] = parts[row].copy()  # not a view, which would keep the whole batch alive

    return Job(forward, lambda n: [rows_of(width, 0)] * n, place, prefix)


def vector_job(encoder: Encoder, recipe: Recipe, finish: Finish, *, width: int, prefix: str) -> Job[Array]:
    """Make one vector of `width` features for each text: float32 (n, width)."""
    return text_job(partial(vectors, encoder, recipe, finish=finish), width, prefix=prefix)


def state_job(encoder: Encoder, *, prefix: str) -> Job[list[Array]]:
    """Return the states of each text's tokens: a list of float32 (tokens_i, hidden)."""
    return token_job(partial(token_states, encoder), encoder.config.hidden, prefix=prefix)


def rows_of(width: int, count: int) -> Array:
    """Return room for rows, float32 (count, width)."""
    return np.empty((count, width), np.float32)


def _put(out: Array, rows: Rows, batch: PackedBatch, values: Array) -> None:
    del batch
    out[rows.places] = values[rows.of]
