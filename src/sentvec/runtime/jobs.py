"""What is asked of an encoder in, the `Job` that the engine runs for it out."""

from __future__ import annotations

from functools import partial

import numpy as np

from sentvec.batch import PackedBatch
from sentvec.checkpoint.recipe import Recipe
from sentvec.models.architecture import Encoder
from sentvec.runtime.engine import Array, Job, Rows
from sentvec.runtime.forward import Finish, token_states, vectors


def vector_job(encoder: Encoder, recipe: Recipe, finish: Finish, *, width: int, prefix: str) -> Job[Array]:
    """Make one vector of `width` features for each text: float32 (n, width)."""
    return Job(partial(vectors, encoder, recipe, finish=finish), partial(rows_of, width), _put, prefix)


def token_job(encoder: Encoder, *, prefix: str) -> Job[list[Array]]:
    """Return the states of each text's tokens: a list of float32 (tokens_i, hidden)."""
    return Job(partial(token_states, encoder), lambda n: [np.empty(0, np.float32)] * n, _place, prefix)


def rows_of(width: int, count: int) -> Array:
    """Return room for vectors, float32 (count, width)."""
    return np.empty((count, width), np.float32)


def _put(out: Array, rows: Rows, batch: PackedBatch, values: Array) -> None:
    del batch
    out[rows.places] = values[rows.of]


def _place(out: list[Array], rows: Rows, batch: PackedBatch, values: Array) -> None:
    parts = np.split(values, np.cumsum(batch.lengths)[:-1])
    for at, row in zip(rows.places, rows.of, strict=True):
        out[at] = parts[row].copy()  # not a view, which would keep the whole batch alive
