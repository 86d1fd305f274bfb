"""Vectors of queries and documents in; rough similarities, how far off they are, and exact ones of some pairs, out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sentvec.ops.similarity import similarity

# of a number that is rounded to the format: by what share of it, at most, it changes
_ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-8}
_BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""Processors with one of these instructions multiply bfloat16 matrices at least twice as fast as float32 ones."""


@dataclass(frozen=True)
class Rough:
    """Similarities of all queries with some documents.

    Attributes:
        values: (queries, documents), in any number format.
        error: (queries, 1) how far a value can be from the exact one, before it was rounded to its format.
        exact: returns the exact similarities of pairs, (pairs,) float32; it is given the places of their queries, in
            ascending order, and of their documents. An exact similarity depends on nothing but the two vectors.
    """

    values: Tensor
    error: Tensor
    exact: Callable[[Tensor, Tensor], Tensor]

    def reaching(self, least: Tensor) -> tuple[Tensor, Tensor]:
        """Return the places of all pairs whose exact similarity may be `least`, (queries, 1) float32, or more."""
        # rounding keeps order: what is not below another number is not below it after both are rounded
        enough = (least - self.error).to(self.values.dtype)
        if enough.dtype == torch.bfloat16 and bool((enough > 0).all()):
            # above zero floats are in the order of their bits, and integers are compared four times as fast
            reached = self.values.view(torch.int16).numpy() >= enough.view(torch.int16).numpy()
        else:
            reached = (self.values >= enough).numpy()
        row, column = np.divmod(np.flatnonzero(reached), self.values.shape[1])
        return torch.from_numpy(row), torch.from_numpy(column)


def products(queries: Tensor, documents: Tensor, low: torch.dtype) -> Rough:
    """Multiply, roughly in a number format that is fast.

    A matrix product sums in an order that depends on where in the matrix a vector stands, so even in float32 it may
    tell equal documents apart. That, too, is a rough value here.

    Args:
        queries: (q, dim) float32.
        documents: (n, dim) float32.
        low: float32 or bfloat16.
    """
    off = _ROUNDING[low]
    # |q'd' - qd| <= |q'-q||d| + |q'||d'-d| <= (2 off + off²)|q||d|; and both sums of dim products, the rough one and
    # the exact one, are off by dim roundings of float32 at most (Higham 2002, section 3.1), doubled
    share = 2 * off + off * off + 4 * queries.shape[1] * 2.0**-24
    error = share * queries.norm(dim=1, keepdim=True) * documents.norm(dim=1).max()

    def exact(row: Tensor, column: Tensor) -> Tensor:
        starts = functional.pad(torch.bincount(row, minlength=len(queries)).cumsum(0), (1, 0))
        size = (len(queries), len(documents))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support")  # torch calls it a beta, at the first use
            pairs = torch.sparse_csr_tensor(starts, column, torch.zeros(len(row)), size, check_invariants=False)
            found: Tensor = torch.sparse.sampled_addmm(pairs, queries, documents.T, beta=0.0).values()
            return found

    return Rough(queries.to(low) @ documents.to(low).T, error, exact)


def distances(queries: Tensor, documents: Tensor, kind: str) -> Rough:
    """Compare by a similarity of `sentvec.ops.similarity` that is computed pair by pair, and so exact at once."""
    values = similarity(kind)(queries, documents)
    return Rough(values, torch.zeros(len(queries), 1), lambda row, column: values[row, column])


def fastest() -> torch.dtype:
    """Return the faster of bfloat16 and float32 for products on this processor."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return torch.bfloat16 if any(known.get(name) for name in _BFLOAT16) else torch.float32
