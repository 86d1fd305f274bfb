"""Scores and what people said about them in, the probability that a pair is related out (Platt 1999)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sentvec.errors import InvalidInput

_ROUNDS = 100
_CLOSE = 1e-10


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A score's meaning: ``probability = 1 / (1 + exp(-(slope * score + offset)))``.

    Attributes:
        slope: greater than 0, so that the order of scores stays.
        offset: the log-odds at score 0.
        threshold: the score from which on pairs are best called related: it has the highest F1 of all scores.
        pairs: how many pairs it was fitted on.
    """

    slope: float
    offset: float
    threshold: float
    pairs: int

    def probability(self, scores: Tensor) -> Tensor:
        """Return the probability that pairs with these scores are related; any shape.

        >>> Calibration(slope=10.0, offset=-5.0, threshold=0.5, pairs=2).probability(torch.tensor([0.5])).tolist()
        [0.5]
        """
        return torch.sigmoid(self.slope * scores + self.offset)


def calibration(scores: Tensor, labels: Tensor) -> Calibration:
    """Fit by maximum likelihood, and choose a threshold.

    As Platt did, targets are drawn in a little from 0 and 1, so that pairs that scores tell apart without a mistake
    do not make a wall out of the slope.

    Args:
        scores: (n,), larger is nearer.
        labels: (n,), from 0 (not related) to 1 (related); those between are taken as shares of opinions.

    Raises:
        InvalidInput: labels are out of range, of one kind only, or scores do not rise with them.
    """
    x, y = scores.double(), labels.double()
    if x.shape != y.shape or x.ndim != 1 or len(x) == 0:
        raise InvalidInput(f"{tuple(x.shape)} scores and {tuple(y.shape)} labels are not pairs; give one of each.")
    if not bool(torch.isfinite(x).all()):
        raise InvalidInput(f"score {int((~torch.isfinite(x)).nonzero()[0])} is NaN or infinite.")
    if not bool(((y >= 0) & (y <= 1)).all()):
        at = int((~((y >= 0) & (y <= 1))).nonzero()[0])
        raise InvalidInput(
            f"label {at} is {round(float(labels[at]), 6)}, which should be from 0 (not related) to 1 (related). "
            "Say from which score on pairs are related (`sentvec fit calibration --related-from`), or divide by the "
            "highest score."
        )
    positive = y >= 0.5
    related, others = float(y.sum()), float((1 - y).sum())
    if not bool(positive.any()) or bool(positive.all()):
        raise InvalidInput("all pairs have labels of one kind; give pairs that are related and pairs that are not.")
    target = y * (related + 1) / (related + 2) + (1 - y) / (others + 2)
    slope, offset = _logistic(x, target)
    if not slope > 0:
        raise InvalidInput(
            "scores do not rise with the labels, so they say nothing about them. Are labels turned round?"
        )
    return Calibration(slope=slope, offset=offset, threshold=_threshold(x, positive), pairs=len(x))


def _logistic(x: Tensor, target: Tensor) -> tuple[float, float]:
    """Return slope and offset by Newton's method, with steps halved until the likelihood grows."""
    centre, scale = x.mean(), x.std(correction=0).clamp(min=1e-12)
    design = torch.stack([(x - centre) / scale, torch.ones_like(x)], dim=1)  # (n, 2)

    def loss(weights: Tensor) -> Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(design @ weights, target)

    weights = torch.zeros(2, dtype=torch.float64)
    for _ in range(_ROUNDS):
        p = torch.sigmoid(design @ weights)
        gradient = design.T @ (p - target) / len(x)
        curvature = (design * (p * (1 - p))[:, None]).T @ design / len(x) + 1e-12 * torch.eye(2, dtype=torch.float64)
        step = torch.linalg.solve(curvature, gradient)
        now = loss(weights)
        while bool(loss(weights - step) > now) and float(step.abs().max()) > _CLOSE:
            step = step / 2
        weights = weights - step
        if float(step.abs().max()) < _CLOSE:
            break
    slope = weights[0] / scale
    return float(slope), float(weights[1] - slope * centre)


def _threshold(x: Tensor, positive: Tensor) -> float:
    """Return the middle between the last score that counts as related and the next, where F1 is highest."""
    order = x.argsort(descending=True, stable=True)
    ranked, hits = x[order], positive[order].double().cumsum(0)
    last = torch.cat([ranked[1:] < ranked[:-1], torch.ones(1, dtype=torch.bool)])  # equal scores stay together
    f1 = 2 * hits / (torch.arange(1, len(x) + 1) + positive.sum())
    at = int(torch.where(last, f1, -1.0).argmax())
    return float(ranked[at]) if at + 1 == len(x) else float((ranked[at] + ranked[at + 1]) / 2)
