"""Losses of vectors that have classes: vectors and the numbers of their classes in, one number out."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import positive, unit, wide
from sentvec.ops.losses.contrastive import mean_where
from sentvec.ops.losses.margins import check_distance
from sentvec.ops.similarity import cosine, euclidean

Mining = Literal["all", "hard", "semi_hard"]


def batch_triplets(
    vectors: Tensor,
    labels: Tensor,
    *,
    mining: Mining = "hard",
    margin: float | None = 0.2,
    distance: str = "cosine",
) -> Tensor:
    """Make triplets of a batch: a positive has the anchor's class, a negative has another.

    Args:
        vectors: (n, dim)
        labels: (n,) int64
        mining: "all" triplets, averaged over those that still have a loss, and "hard", each anchor's farthest
            positive and nearest negative (Hermans et al. 2017, arXiv 1703.07737); or "semi_hard", for each pair of
            one class the nearest negative that is farther than the positive, or the farthest negative where there
            is none (Schroff et al. 2015, FaceNet, arXiv 1503.03832).
        margin: in units of the distance; None, with "hard" only, is the soft margin log(1 + exp(d(a, p) - d(a, n))).
        distance: one of `sentvec.ops.losses.margins.DISTANCES`.

    Returns:
        () loss; 0, with a gradient of 0, where no triplet can be made.

    Raises:
        InvalidInput: the shapes do not fit, an option is not known, or there is no margin where it is needed.

    >>> vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> float(batch_triplets(vectors, torch.tensor([0, 0, 1]), margin=0.5))  # (1 - 0 + 0.5 + 1 - 1 + 0.5) / 2
    1.0
    """
    if mining not in get_args(Mining):
        raise InvalidInput(f"mining {mining!r} is not known. Known: {', '.join(get_args(Mining))}.")
    if margin is None and mining != "hard":
        raise InvalidInput(f"mining {mining!r} needs a margin; None, the soft margin, goes with 'hard' only.")
    together, apart = _relations(vectors, labels)
    distances = _distances(vectors, distance)
    if mining == "hard":
        farthest = distances.masked_fill(~together, -torch.inf).max(dim=1).values
        nearest = distances.masked_fill(~apart, torch.inf).min(dim=1).values
        some = together.any(dim=1) & apart.any(dim=1)
        gap = torch.where(some, farthest, 0) - torch.where(some, nearest, 0)
        return mean_where(functional.softplus(gap) if margin is None else functional.relu(gap + margin), some)
    assert margin is not None
    return (_all if mining == "all" else _semi_hard)(distances, together, apart, margin)


def _all(distances: Tensor, together: Tensor, apart: Tensor, margin: float) -> Tensor:
    """All triplets in the memory of all pairs: for sorted negatives, those with a loss are the first few."""
    ordered = distances.masked_fill(~apart, torch.inf).sort(dim=1).values
    limits = distances + margin  # (anchors, positives): a negative below it has a loss
    counts = torch.searchsorted(ordered.detach(), limits.detach())
    sums = functional.pad(ordered.masked_fill(ordered == torch.inf, 0).cumsum(dim=1), (1, 0))
    losses = counts * limits - sums.gather(1, counts)
    return torch.where(together, losses, 0).sum() / torch.where(together, counts, 0).sum().clamp(min=1)


def _semi_hard(distances: Tensor, together: Tensor, apart: Tensor, margin: float) -> Tensor:
    ordered = distances.masked_fill(~apart, torch.inf).sort(dim=1).values
    places = torch.searchsorted(ordered.detach(), distances.detach(), right=True)
    others = apart.sum(dim=1, keepdim=True)
    # past the last negative, the last is taken; an anchor without any has no pair that counts
    chosen = ordered.gather(1, torch.minimum(places, (others - 1).clamp(min=0)))
    counts = together & (others > 0)
    return mean_where(functional.relu(distances - torch.where(counts, chosen, 0) + margin), counts)


def circle(vectors: Tensor, labels: Tensor, *, margin: float = 0.4, scale: float = 80.0) -> Tensor:
    """Pull harder on what is farther from where it should be (Sun et al. 2020, Circle loss, arXiv 2002.10857).

    For each anchor log(1 + Σ exp(scale · α_n (s_n - margin)) · Σ exp(-scale · α_p (s_p - 1 + margin))), where
    α_p = max(0, 1 + margin - s_p) and α_n = max(0, s_n + margin) have no gradient.

    Args:
        vectors: (n, dim)
        labels: (n,) int64
        margin: how far from 1 and 0 cosines may stay.
        scale: of the exponents.

    Returns:
        () mean over anchors that have a positive and a negative; 0 where none has.

    Raises:
        InvalidInput: the shapes do not fit, or the scale is not above 0.

    >>> vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    >>> round(float(circle(vectors, torch.tensor([0, 0, 1]))), 4)  # all where they should be
    0.0
    """
    positive("scale", scale)
    together, apart = _relations(vectors, labels)
    cosines = cosine(wide(vectors), wide(vectors))
    known = cosines.detach()
    near = -scale * (1 + margin - known).clamp(min=0) * (cosines - 1 + margin)
    far = scale * (known + margin).clamp(min=0) * (cosines - margin)
    some = (together.any(dim=1) & apart.any(dim=1))[:, None]
    # rows that do not count keep their numbers, for the gradient of the log of nothing is not a number
    sums = near.masked_fill(~together & some, -torch.inf).logsumexp(dim=1)
    sums = sums + far.masked_fill(~apart & some, -torch.inf).logsumexp(dim=1)
    return mean_where(functional.softplus(sums), some.squeeze(1))


def arcface(
    vectors: Tensor, centres: Tensor, labels: Tensor, *, margin: float | Tensor = 0.2, scale: float = 30.0
) -> Tensor:
    """Classify by the nearest centre, with an angle added to the right one (Deng et al. 2019, arXiv 1801.07698).

    Args:
        vectors: (n, dim)
        centres: (classes, dim), learned.
        labels: (n,) int64
        margin: angle in radians, or (classes,) one for each class, see `adaptive_margins`.
        scale: what cosines are multiplied with.

    Returns:
        () mean.

    Raises:
        InvalidInput: the shapes do not fit, or the scale is not above 0.

    >>> vectors, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    >>> round(float(arcface(vectors, torch.eye(2), labels, margin=0.0, scale=1.0)), 4)  # log(1 + 1 / e)
    0.3133
    """
    positive("scale", scale)
    _check_labels(vectors, labels)
    cosines = cosine(wide(vectors), wide(centres))  # (n, classes)
    own = cosines.gather(1, labels[:, None]).squeeze(1)
    angle = (margin[labels] if isinstance(margin, Tensor) else torch.full_like(own, margin)).to(own)
    sine = (1 - own**2).clamp(min=1e-7).sqrt()
    moved = own * angle.cos() - sine * angle.sin()  # cos(θ + margin)
    # past π the cosine would rise again; the straight line goes on falling
    moved = torch.where(own > -angle.cos(), moved, own - angle * angle.sin())
    return functional.cross_entropy(scale * cosines.scatter(1, labels[:, None], moved[:, None]), labels)


def adaptive_margins(counts: Tensor, *, lowest: float = 0.05, highest: float = 0.5) -> Tensor:
    """Give rarer classes wider margins for `arcface`, as count^(-1/4) (Ha et al. 2020, arXiv 2010.05350).

    Args:
        counts: (classes,) examples of each class.
        lowest: the margin of the most frequent class.
        highest: the margin of the rarest.

    Returns:
        (classes,) angles in radians; `lowest` for all where all counts are equal.

    Raises:
        InvalidInput: a class has no example, or the limits are not in order.

    >>> [round(margin, 3) for margin in adaptive_margins(torch.tensor([1, 16, 10**8])).tolist()]
    [0.5, 0.273, 0.05]
    """
    if bool((counts < 1).any()) or not 0 <= lowest <= highest < math.pi:
        raise InvalidInput(
            f"counts are {counts.tolist()}, margins {lowest} to {highest}; "
            "give each class at least 1, and 0 <= lowest <= highest < π."
        )
    rare = counts.float() ** -0.25
    width = (rare.max() - rare.min()).clamp(min=torch.finfo(rare.dtype).tiny)
    return lowest + (highest - lowest) * (rare - rare.min()) / width


def _relations(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return who has an anchor's class besides itself, and who has another: (n, n) bool each."""
    _check_labels(vectors, labels)
    same = labels[:, None] == labels[None, :]
    return same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device), ~same


def _check_labels(vectors: Tensor, labels: Tensor) -> None:
    if labels.shape != vectors.shape[:1]:
        raise InvalidInput(f"labels are {tuple(labels.shape)}; give one number for each of {len(vectors)} vectors.")


def _distances(vectors: Tensor, distance: str) -> Tensor:
    check_distance(distance)
    if distance == "cosine":
        return 1 - unit(vectors) @ unit(vectors).T
    return -euclidean(wide(vectors), wide(vectors))
