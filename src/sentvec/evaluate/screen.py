"""Vectors of queries and documents in; rough similarities, how far off they are, and exact ones of some pairs, out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentvec.ops.similarity import similarity

Places = NDArray[np.int64]
# of a number that is rounded to the format: by what share of it, at most, it changes
_ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-8}
_BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""Processors with one of these instructions multiply bfloat16 matrices at least twice as fast as float32 ones."""


@dataclass(frozen=True)
class Pairs:
    """Queries with documents.

    Attributes:
        row: (pairs,) places of the queries, in ascending order.
        column: (pairs,) places of the documents.
        counts: (queries,) how many pairs each query is in.
    """

    row: Places
    column: Places
    counts: Places


@dataclass(frozen=True)
class Rough:
    """Similarities of all queries with some documents.

    Attributes:
        values: (queries, documents), in any number format.
        error: (queries, 1) how far a value can be from the exact one, before it was rounded to its format.
        exact: returns the exact similarities of pairs, (pairs,). An exact similarity depends on nothing but the two
            vectors.
    """

    values: Tensor
    error: Tensor
    exact: Callable[[Pairs], NDArray[np.float32]]

    def reaching(self, least: Tensor) -> Pairs:
        """Return all pairs whose exact similarity may be `least`, (queries, 1) float32, or more."""
        # rounding keeps order: what is not below another number is not below it after both are rounded
        enough = (least - self.error).to(self.values.dtype)
        if enough.dtype == torch.bfloat16 and bool((enough > 0).all()):
            # above zero floats are in the order of their bits, and integers are compared four times as fast
            reached = self.values.view(torch.int16).numpy() >= enough.view(torch.int16).numpy()
        else:
            reached = (self.values >= enough).numpy()
        queries, documents = reached.shape
        places = np.flatnonzero(reached)
        counts = np.diff(np.searchsorted(places, np.arange(queries + 1) * documents))
        row = np.repeat(np.arange(queries), counts)
        return Pairs(row, places - row * documents, counts)


@dataclass(frozen=True)
class Asked:
    """Queries, ready to be multiplied with one block of documents after the other.

    Attributes:
        vectors: (queries, dim) float32.
        low: the same in a number format that is fast.
        error: (queries, 1) how far a rough product with a vector of length one can be from the exact one.
    """

    vectors: Tensor
    low: Tensor
    error: Tensor


def asked(queries: Tensor, low: torch.dtype) -> Asked:
    """Prepare queries, (q, dim) float32, for rough products in float32 or bfloat16."""
    off = _ROUNDING[low]
    # |q'd' - qd| <= |q'-q||d| + |q'||d'-d| <= (2 off + off²)|q||d|; and both sums of dim products, the rough one and
    # the exact one, are off by dim roundings of float32 at most (Higham 2002, section 3.1), doubled
    share = 2 * off + off * off + 4 * queries.shape[1] * 2.0**-24
    return Asked(queries, queries.to(low), share * queries.norm(dim=1, keepdim=True))


def products(queries: Asked, documents: Tensor) -> Rough:
    """Multiply.

    A matrix product sums in an order that depends on where in the matrix a vector stands, so even in float32 it may
    tell equal documents apart. That, too, is a rough value here.

    Args:
        queries: q of them.
        documents: (n, dim) float32.
    """

    def exact(pairs: Pairs) -> NDArray[np.float32]:
        starts = torch.from_numpy(np.concatenate([[0], pairs.counts.cumsum()]))
        column, nothing = torch.from_numpy(pairs.column), torch.zeros(len(pairs.column))
        size = (len(queries.vectors), len(documents))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support")  # torch calls it a beta, at the first use
            chosen = torch.sparse_csr_tensor(starts, column, nothing, size, check_invariants=False)
            found: NDArray[np.float32] = (
                torch.sparse.sampled_addmm(chosen, queries.vectors, documents.T, beta=0.0).values().numpy()
            )
        return found

    values = queries.low @ documents.to(queries.low.dtype).T
    return Rough(values, queries.error * documents.norm(dim=1).max(), exact)


def distances(queries: Tensor, documents: Tensor, kind: str) -> Rough:
    """Compare by a similarity of `sentvec.ops.similarity` that is computed pair by pair, and so exact at once."""
    values = similarity(kind)(queries, documents)
    return Rough(values, torch.zeros(len(queries), 1), lambda pairs: values.numpy()[pairs.row, pairs.column])


def fastest() -> torch.dtype:
    """Return the faster of bfloat16 and float32 for products on this processor."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.bfloat16 if any(known.get(name) for name in _BFLOAT16) else torch.float32
