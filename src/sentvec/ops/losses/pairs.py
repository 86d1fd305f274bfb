"""Losses of pairs with a score or with 0 or 1: similarities of two columns in, one number out.

`similarities` are (n,), such as the cosines of `sentvec.ops.losses.common.row_cosines`; a distance is 1 - similarity.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.ops.losses.common import positive, same_shape, unit, wide


def cosent(similarities: Tensor, scores: Tensor, *, temperature: float | Tensor = 0.05) -> Tensor:
    """Put pairs into the order of their scores (Su 2022, CoSENT, https://kexue.fm/archives/8847).

    log(1 + Σ exp((s_i - s_j) / temperature)) over all pairs i, j where i has the lower score. How far scores lie apart
    does not count, nor do pairs of equal scores.

    Args:
        similarities: (n,)
        scores: (n,)
        temperature: what similarities are divided by.

    Returns:
        () loss; 0 where all scores are equal.

    Raises:
        InvalidInput: the shapes differ, or the temperature is not above 0.

    >>> cosines = torch.tensor([0.0, 1.0])
    >>> round(float(cosent(cosines, torch.tensor([0.2, 0.9]), temperature=1.0)), 4)  # log(1 + 1 / e)
    0.3133
    >>> round(float(cosent(cosines, torch.tensor([0.9, 0.2]), temperature=1.0)), 4)  # log(1 + e)
    1.3133
    """
    same_shape(similarities, scores)
    positive("temperature", temperature)
    scaled = wide(similarities) / temperature
    wrong = scaled[:, None] - scaled[None, :]  # (n, n), above 0 where the row's pair is more alike
    wrong = wrong.masked_fill(scores[:, None] >= scores[None, :], -torch.inf).flatten()
    return torch.cat([wrong.new_zeros(1), wrong]).logsumexp(dim=0)  # the zero is the 1 in log(1 + ...)


def row_angles(a: Tensor, b: Tensor) -> Tensor:
    """Compare row with row as complex numbers, for `cosent` (Li and Li 2023, AnglE, arXiv 2309.12871).

    The first half of the features are real parts, the second half imaginary ones; of the quotient of each row of `a`
    and `b`, scaled to length one, real and imaginary parts are added up. Where a cosine is near 1 or -1 its gradient
    is near 0; this one's is not.

    Args:
        a: (n, dim); for an odd `dim` a 0 is thought behind the last feature.
        b: (n, dim)

    Returns:
        (n,) absolute values; larger is nearer.

    Raises:
        InvalidInput: the shapes differ.

    >>> row_angles(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])).tolist()
    [1.0]
    """
    same_shape(a, b)
    left, right = (functional.pad(unit(part), (0, part.shape[1] % 2)) for part in (a, b))
    (x, y), (u, v) = left.chunk(2, dim=1), right.chunk(2, dim=1)
    real, imaginary = x * u + y * v, y * u - x * v  # of (x + iy) / (u + iv)
    return (real + imaginary).sum(dim=1).abs()


def contrastive(similarities: Tensor, labels: Tensor, *, margin: float = 0.5) -> Tensor:
    """Pull pairs labelled 1 together, push pairs labelled 0 at least a margin apart (Hadsell et al. 2006, CVPR).

    Args:
        similarities: (n,)
        labels: (n,) 0 or 1
        margin: distance from which on a pair labelled 0 costs nothing.

    Returns:
        () mean of half the squares.

    Raises:
        InvalidInput: the shapes differ.

    >>> round(float(contrastive(torch.tensor([0.8, 0.8]), torch.tensor([1, 0]))), 4)  # (0.2² + 0.3²) / 2 / 2
    0.0325
    """
    together, apart = _squares(similarities, labels, margin)
    return (together + apart).mean() / 2


def online_contrastive(similarities: Tensor, labels: Tensor, *, margin: float = 0.5) -> Tensor:
    """`contrastive` of the hard pairs alone, in the form of sentence-transformers' OnlineContrastiveLoss.

    Hard are pairs labelled 1 that are farther than the nearest pair labelled 0, and pairs labelled 0 that are nearer
    than the farthest pair labelled 1. Where the batch has one label only, its mean distance is the limit.

    Args:
        similarities: (n,)
        labels: (n,) 0 or 1
        margin: distance from which on a pair labelled 0 costs nothing.

    Returns:
        () sum of squares.

    Raises:
        InvalidInput: the shapes differ.

    >>> similarities, labels = torch.tensor([0.9, 0.5, 0.6, 0.0]), torch.tensor([1, 1, 0, 0])
    >>> round(float(online_contrastive(similarities, labels)), 4)  # the middle two: 0.5² + 0.1²
    0.26
    """
    together, apart = _squares(similarities, labels, margin)
    distances, ones = 1 - wide(similarities).detach(), labels == 1
    mean = distances.mean()
    nearest = torch.where(ones.all(), mean, distances.masked_fill(ones, torch.inf).min())
    farthest = torch.where(ones.any(), distances.masked_fill(~ones, -torch.inf).max(), mean)
    hard = torch.where(ones, distances > nearest, distances < farthest)
    return torch.where(hard, together + apart, 0).sum()


def _squares(similarities: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    same_shape(similarities, labels)
    distances = 1 - wide(similarities)
    ones = labels == 1
    return torch.where(ones, distances, 0) ** 2, torch.where(ones, 0, functional.relu(margin - distances)) ** 2


def logistic(
    similarities: Tensor, labels: Tensor, *, temperature: float | Tensor = 0.05, bias: float | Tensor = 0.0
) -> Tensor:
    """Decide whether pairs belong together: cross entropy of σ(similarity / temperature + bias) (Cox 1958).

    Args:
        similarities: (n,)
        labels: (n,) from 0 to 1
        temperature: what similarities are divided by.
        bias: what is added then.

    Returns:
        () mean.

    Raises:
        InvalidInput: the shapes differ, or the temperature is not above 0.

    >>> round(float(logistic(torch.tensor([1.0]), torch.tensor([1]), temperature=1.0)), 4)  # log(1 + 1 / e)
    0.3133
    """
    same_shape(similarities, labels)
    positive("temperature", temperature)
    logits = wide(similarities) / temperature + bias
    return functional.binary_cross_entropy_with_logits(logits, labels.to(logits))


def cosine_mse(similarities: Tensor, scores: Tensor) -> Tensor:
    """Make cosines equal to scores: mean squared error (Reimers and Gurevych 2019, arXiv 1908.10084, section 3).

    Args:
        similarities: (n,)
        scores: (n,)

    Returns:
        () mean.

    Raises:
        InvalidInput: the shapes differ.

    >>> float(cosine_mse(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0])))
    0.125
    """
    same_shape(similarities, scores)
    similarities = wide(similarities)
    return functional.mse_loss(similarities, scores.to(similarities))


def pearson(similarities: Tensor, scores: Tensor) -> Tensor:
    """One minus Pearson's correlation of similarities and scores (Pearson 1895).

    Args:
        similarities: (n,)
        scores: (n,)

    Returns:
        () from 0 to 2; 1, with no gradient, where all similarities or all scores are equal.

    Raises:
        InvalidInput: the shapes differ.

    >>> round(float(pearson(torch.tensor([0.1, 0.2, 0.6]), torch.tensor([1.0, 2.0, 6.0]))), 4)
    0.0
    """
    same_shape(similarities, scores)
    similarities = wide(similarities)
    left, right = (row - row.mean() for row in (similarities, scores.to(similarities)))
    return 1 - unit(left) @ unit(right)


def pair_features(u: Tensor, v: Tensor) -> Tensor:
    """Lay out (u, v, |u - v|), what a softmax over classes of inference reads (Reimers and Gurevych 2019, section 3).

    Args:
        u: (n, dim)
        v: (n, dim)

    Returns:
        (n, 3 * dim)

    Raises:
        InvalidInput: the shapes differ.

    >>> pair_features(torch.tensor([[1.0]]), torch.tensor([[3.0]])).tolist()
    [[1.0, 3.0, 2.0]]
    """
    same_shape(u, v)
    return torch.cat([u, v, (u - v).abs()], dim=1)


def r_drop(first: Tensor, second: Tensor, labels: Tensor, *, weight: float = 1.0) -> Tensor:
    """Classify twice under different dropout, and want both to agree (Liang et al. 2021, R-Drop, arXiv 2106.14448).

    Args:
        first: (n, classes) logits
        second: (n, classes) logits of the same inputs
        labels: (n,) int64
        weight: α, of the mean of both Kullback-Leibler divergences.

    Returns:
        () both cross entropies, plus `weight` times the divergence.

    Raises:
        InvalidInput: the logits differ in shape.

    >>> logits, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    >>> round(float(r_drop(logits, logits, labels)), 4)  # 2 log(1 + 1 / e), and they agree
    0.6265
    """
    same_shape(first, second)
    first, second = wide(first), wide(second)
    classified = functional.cross_entropy(first, labels) + functional.cross_entropy(second, labels)
    p, q = first.log_softmax(dim=1), second.log_softmax(dim=1)
    # KL(p, q) + KL(q, p) is the sum of (p - q) (log p - log q)
    agreement = ((p.exp() - q.exp()) * (p - q)).sum(dim=1).mean() / 2
    return classified + weight * agreement
