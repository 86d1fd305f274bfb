"""Vectors in; how they lie on the sphere out: alignment, uniformity, anisotropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.ops.losses import unsupervised as ops

Array = NDArray[np.float32]
MOST = 5000
"""Texts of which all pairs are compared for the uniformity; of more, so many are drawn."""


@dataclass(frozen=True)
class Geometry:
    """How vectors lie, after each is scaled to length one.

    Attributes:
        uniformity: log of the mean of exp(-2 d²) over pairs at distance d; lower is more even, and -4 is about the
            least that high dimensions reach (Wang and Isola 2020, arXiv 2005.10242, with t = 2).
        anisotropy: mean cosine of two different texts: 0 where directions are used evenly, near 1 where all vectors
            point one way (Ethayarajh 2019, arXiv 1909.00512).
    """

    uniformity: float
    anisotropy: float


def alignment(left: Array, right: Array) -> float:
    """Return the mean squared distance of pairs that belong together (Wang and Isola 2020, with α = 2).

    Args:
        left: (n, dim).
        right: (n, dim).

    >>> alignment(np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 3.0]], np.float32))
    2.0
    """
    return float(ops.alignment(*(torch.from_numpy(part.astype(np.float64)) for part in (left, right))))


def geometry(vectors: Array, seed: int = 0) -> Geometry:
    """Measure how vectors lie.

    Args:
        vectors: (n, dim) of different texts.
        seed: of the draw where there are more than `MOST`.

    Raises:
        InvalidInput: there are fewer than two.
    """
    if len(vectors) < 2:
        raise InvalidInput(f"{len(vectors)} vectors have no distances; give two or more.")
    unit = _unit(vectors)
    count = len(unit)
    # the sum over all pairs of cosines is the squared length of the sum, less each vector's own
    own = float((unit**2).sum())
    anisotropy = (float((unit.sum(axis=0) ** 2).sum()) - own) / (count * (count - 1))
    if count > MOST:
        unit = unit[np.random.default_rng(seed).choice(count, MOST, replace=False)]
    return Geometry(float(ops.uniformity(torch.from_numpy(unit))), anisotropy)


def _unit(vectors: Array) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: NDArray[np.float64] = wide / np.where(lengths > 0, lengths, 1)
    return unit
