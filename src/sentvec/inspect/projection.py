"""Vectors (n, dim) in, places on a plane (n, 2) out, by PCA, t-SNE or UMAP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentvec.errors import InvalidInput
from sentvec.extras import require

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Projected:
    """Vectors on a plane.

    Attributes:
        method: pca, tsne or umap.
        points: (n, 2) float64.
        explained: PCA only: share of the vectors' variance that each of the two axes keeps, from 0 to 1.
    """

    method: str
    points: NDArray[np.float64]
    explained: tuple[float, float] | None = None


def project(vectors: Vectors, method: str = "pca", *, seed: int = 0) -> Projected:
    """Lay vectors out on a plane so that near ones are near.

    Args:
        vectors: (n, dim), at least two.
        method: ``"pca"`` keeps as much of the variance as a plane can (Pearson 1901), and distances mean what they
            mean between the vectors. ``"tsne"`` (van der Maaten & Hinton 2008) and ``"umap"`` (McInnes et al. 2018)
            keep neighbours together, and only those; they come with the extra ``inspect``.
        seed: of the methods that draw numbers.

    Raises:
        InvalidInput: the method is not known, or there are too few vectors for it.
        MissingExtra: the method's package is not installed.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise InvalidInput(f"method {method!r} is not known. Known: {', '.join(METHODS)}.")
    least = 2 if method == "pca" else 5
    if len(vectors) < least:
        raise InvalidInput(f"{method} lays out at least {least} texts, but {len(vectors)} came.")
    found = np.asarray(vectors, dtype=np.float64)
    if found.ndim != 2 or not np.isfinite(found).all():
        what = f"of shape {found.shape}" if found.ndim != 2 else "with NaN or infinity"
        raise InvalidInput(f"vectors {what} cannot be laid out; give finite numbers as (texts, dim).")
    return METHODS[method](found, seed)


def pca(vectors: NDArray[np.float64], seed: int = 0) -> Projected:
    """Principal components; the largest loading of each axis is positive, so that signs are the same everywhere.

    >>> found = pca(np.array([[0.0, 0.0, 1.0], [3.0, 0.0, 1.0], [6.0, 0.0, 1.0]]))
    >>> found.points[:, 0].tolist(), found.explained
    ([-3.0, 0.0, 3.0], (1.0, 0.0))
    """
    del seed
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    values, axes = np.clip(values[::-1], 0, None), axes[:, ::-1]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.where(axes[largest, np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    points = np.zeros((len(vectors), 2))
    kept = centred @ axes[:, :2]
    points[:, : kept.shape[1]] = kept  # vectors of one number have one axis
    shares = np.append(values / max(float(values.sum()), np.finfo(float).tiny), 0.0)
    return Projected(method="pca", points=points, explained=(float(shares[0]), float(shares[1])))


def tsne(vectors: NDArray[np.float64], seed: int = 0) -> Projected:
    """t-SNE of scikit-learn, begun from PCA."""
    manifold = require("sklearn.manifold", extra="inspect")
    made = manifold.TSNE(perplexity=min(30.0, (len(vectors) - 1) / 3), init="pca", random_state=seed)
    return Projected(method="tsne", points=np.asarray(made.fit_transform(vectors), np.float64))


def umap(vectors: NDArray[np.float64], seed: int = 0) -> Projected:
    """UMAP of umap-learn, by cosine; one thread, so that a seed gives the same picture again."""
    module = require("umap", extra="inspect")
    made = module.UMAP(n_neighbors=min(15, len(vectors) - 1), metric="cosine", random_state=seed, n_jobs=1)
    return Projected(method="umap", points=np.asarray(made.fit_transform(vectors), np.float64))


METHODS: dict[str, Callable[[NDArray[np.float64], int], Projected]] = {"pca": pca, "tsne": tsne, "umap": umap}
