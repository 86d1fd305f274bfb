"""Vectors in, an affine map out that makes them better to compare: whitening, PCA, all-but-the-top, standardisation.

Maps are fitted on mean and covariance, and a rotation on a sample. Both are gathered as vectors stream past
(`Moments`), so that memory does not grow with their number. All sums are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sentvec.errors import InvalidInput

LEAST_VARIANCE = 1e-9
"""Directions with less than this share of the largest variance count as empty: scaled up to the others, they would
hold little but the rounding of float32."""

SAMPLE = 8192
"""Most vectors that are held, if nothing else is said."""

_CHOOSING = ("whitening", "pca")  # maps whose features come in an order, so that the first of them can be kept


@dataclass(frozen=True)
class Moments:
    """Mean and spread of the vectors that were seen.

    Attributes:
        count: how many vectors.
        mean: (dim,) float64.
        scatter: (dim, dim) float64: the outer products of vector minus mean, summed.
        sample: (rows, dim) float32: every `stride`-th vector.
        stride: 1 at first, and doubled whenever the sample is full.
    """

    count: int
    mean: Tensor
    scatter: Tensor
    sample: Tensor
    stride: int = 1

    @property
    def covariance(self) -> Tensor:
        """(dim, dim) float64; divided by count - 1, as in `numpy.cov`."""
        return self.scatter / max(self.count - 1, 1)


@dataclass(frozen=True)
class Affine:
    """The map ``x -> weight x + bias``.

    Attributes:
        weight: (out, dim) float64.
        bias: (out,) float64.
    """

    weight: Tensor
    bias: Tensor


def moments(vectors: Tensor, before: Moments | None = None, most: int = SAMPLE) -> Moments:
    """Sum up vectors, and add what was summed up before (Chan, Golub and LeVeque 1979, pairwise update).

    Args:
        vectors: (n, dim)
        before: of the vectors that came earlier.
        most: vectors to hold in the sample.

    >>> first = moments(torch.tensor([[0.0], [2.0]]))
    >>> both = moments(torch.tensor([[4.0]]), first)
    >>> both.count, both.mean.tolist(), both.covariance.tolist()
    (3, [2.0], [[4.0]])
    """
    rows = vectors.double()
    if before is None:
        width = rows.shape[1]
        before = Moments(0, rows.new_zeros(width), rows.new_zeros(width, width), vectors.new_zeros(0, width).float())
    if len(rows) == 0:
        return before
    mean = rows.mean(dim=0)
    off = rows - mean
    count = before.count + len(rows)
    shift = mean - before.mean
    between = torch.outer(shift, shift) * (before.count * len(rows) / count)
    sample, stride = torch.cat([before.sample, vectors[-before.count % before.stride :: before.stride]]), before.stride
    while len(sample) > most:
        sample, stride = sample[::2].clone(), stride * 2
    mean, scatter = before.mean + shift * (len(rows) / count), before.scatter + off.T @ off + between
    return Moments(count, mean, scatter, sample, stride)


def check_dim(kind: str, dim: int | None, width: int) -> None:
    """Refuse a number of features that a kind of map cannot keep.

    Args:
        kind: what is fitted.
        dim: features to keep, or None.
        width: features that there are.

    Raises:
        InvalidInput: the kind keeps all features, or there are not so many.
    """
    if dim is None:
        return
    if kind not in _CHOOSING:
        raise InvalidInput(f"dim is {dim}, but {kind} keeps all features. Leave dim away, or take whitening or pca.")
    if not isinstance(dim, int) or not 1 <= dim <= width:
        raise InvalidInput(f"dim is {dim}, which should be a whole number from 1 to {width}.")


def whitening(seen: Moments, dim: int | None = None) -> Affine:
    """Make features uncorrelated and of variance one, and keep the `dim` of most variance before (Su et al. 2021).

    Args:
        seen: moments of the vectors.
        dim: features to keep, or None for all in whose direction the vectors vary.

    Raises:
        InvalidInput: the vectors do not vary in so many directions.
    """
    variances, directions = _directions(seen)
    kept = _kept(variances, dim, seen)
    return _centred(directions[:kept] / variances[:kept, None].sqrt(), seen)


def pca(seen: Moments, dim: int | None = None) -> Affine:
    """Turn vectors, less their mean, so that the first features vary most, and keep `dim` of them (Pearson 1901).

    Arguments and errors as for `whitening`.
    """
    variances, directions = _directions(seen)
    return _centred(directions[: _kept(variances, dim, seen)], seen)


def all_but_the_top(seen: Moments, dim: int | None = None) -> Affine:
    """Take away the mean and the few directions that all vectors share (Mu and Viswanath 2018).

    As many directions as the paper takes: one for each hundred features, and one at least.

    Raises:
        InvalidInput: `dim` is given; all features are kept.
    """
    check_dim("all_but_the_top", dim, len(seen.mean))
    _, directions = _directions(seen)
    width = len(seen.mean)
    top = directions[: max(1, width // 100)]
    return _centred(torch.eye(width, dtype=torch.float64) - top.T @ top, seen)


def standardisation(seen: Moments, dim: int | None = None) -> Affine:
    """Give each feature mean zero and variance one; one that never varies becomes zero.

    Raises:
        InvalidInput: `dim` is given; all features are kept.
    """
    check_dim("standardisation", dim, len(seen.mean))
    variances = seen.covariance.diagonal()
    varies = variances > LEAST_VARIANCE * variances.max()
    return _centred(torch.where(varies, variances, torch.inf).rsqrt().diag(), seen)


def rotation(seen: Moments, dim: int | None = None, rounds: int = 50) -> Affine:
    """Turn vectors so that the signs of their features hold as much of them as they can; cosines stay as they are.

    Iterative quantisation (Gong and Lazebnik 2011) from a random rotation on, with all features kept and the mean
    left where it is. Features are of one size then, so that one scale rounds them all to int8, too.

    Args:
        seen: of the vectors; the sample is what counts.
        dim: None; all features are kept.
        rounds: how often signs are taken, and the rotation that comes nearest to them is looked for.

    Raises:
        InvalidInput: `dim` is given.
    """
    check_dim("rotation", dim, len(seen.mean))
    rows, width = seen.sample, len(seen.mean)
    start = torch.randn(width, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned, _ = torch.linalg.qr(start)
    for _ in range(rounds):
        signs = torch.where(rows @ turned.float() > 0, 1.0, -1.0)
        left, _, right = torch.linalg.svd((rows.T @ signs).double())
        turned = left @ right
    return Affine(turned.T, torch.zeros(width, dtype=torch.float64))


POSTPROCESSINGS: dict[str, Callable[[Moments, int | None], Affine]] = {
    "whitening": whitening,
    "pca": pca,
    "all_but_the_top": all_but_the_top,
    "standardisation": standardisation,
    "rotation": rotation,
}


def _directions(seen: Moments) -> tuple[Tensor, Tensor]:
    """Return variances (dim,), largest first, and the directions that have them, (dim, dim), one a row."""
    variances, columns = torch.linalg.eigh(seen.covariance)
    rows = columns.T.flip(0)
    # a direction is as good as its opposite; one of the two is chosen, so that the same texts give the same map
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    return variances.flip(0).clamp(min=0), rows * largest.sign()


def _kept(variances: Tensor, dim: int | None, seen: Moments) -> int:
    width, filled = len(variances), int((variances > LEAST_VARIANCE * variances[0]).sum())
    check_dim("whitening", dim, width)
    # where texts are plenty and a direction is empty all the same, it is the model's doing, and nothing is lost with
    # it: what comes out of a LayerNorm and is averaged lies in a plane
    if dim is None and 0 < filled < min(width, seen.count - 1):
        return filled
    if (wanted := dim or width) > filled:
        raise InvalidInput(
            f"the vectors of {seen.count} texts vary in {filled} directions, which is too few for {wanted} features. "
            f"Give more texts that differ, or dim={filled or 1} or less (--dim {filled or 1})."
        )
    return wanted


def _centred(weight: Tensor, seen: Moments) -> Affine:
    return Affine(weight, -(weight @ seen.mean))
