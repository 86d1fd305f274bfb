"""Similarity of vectors: (n, dim) and (m, dim) in, (n, m) out; larger is always nearer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput

Similarity = Callable[[Tensor, Tensor], Tensor]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle, from -1 to 1; 0 where a vector is zero.

    >>> cosine(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.0], [-4.0, 3.0]])).tolist()
    [[1.0, 0.0]]
    """
    return functional.normalize(a, dim=-1) @ functional.normalize(b, dim=-1).T


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product."""
    return a @ b.T


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Negated Euclidean distance."""
    return -torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def manhattan(a: Tensor, b: Tensor) -> Tensor:
    """Negated Manhattan distance."""
    return -torch.cdist(a, b, p=1.0)


SIMILARITIES: dict[str, Similarity] = {
    "cosine": cosine,
    "dot": dot,
    "euclidean": euclidean,
    "manhattan": manhattan,
}


def similarity(name: str) -> Similarity:
    """Return the similarity called `name`.

    Raises:
        InvalidInput: the name is not known.
    """
    if name not in SIMILARITIES:
        raise InvalidInput(f"similarity {name!r} is not known. Known: {', '.join(SIMILARITIES)}.")
    return SIMILARITIES[name]


def paired(name: str, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compare row with row under the similarity called `name`.

    Args:
        name: one of `SIMILARITIES`.
        a: (..., dim)
        b: (..., dim)

    Returns:
        (...); larger is nearer.

    Raises:
        InvalidInput: the name is not known.

    >>> paired("euclidean", np.array([[3.0, 4.0]], np.float32), np.array([[0.0, 0.0]], np.float32)).tolist()
    [-5.0]
    """
    similarity(name)  # refuses a name that is not known
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    if name in ("euclidean", "manhattan"):
        found = -(left - right).norm(p=1 if name == "manhattan" else 2, dim=-1)
    elif name == "cosine":
        found = (functional.normalize(left, dim=-1) * functional.normalize(right, dim=-1)).sum(dim=-1)
    else:
        found = (left * right).sum(dim=-1)
    rows: NDArray[np.float32] = found.numpy()
    return rows
