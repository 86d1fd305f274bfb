"""Losses of ranked lists: scores of documents, and how good each document is, in, one number out.

The documents of all lists lie in one row:

- `scores`: (documents,) of a model: a cross-encoder's logits, or similarities over a temperature.
- `grades`: (documents,) how good each is; larger is better.
- `owners`: (documents,) int64, the number from 0 of the list that each belongs to, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import positive, same_shape, wide
from sentvec.ops.losses.contrastive import mean_where

Weighting = Literal["lambdarank", "ndcg2", "ndcg2++"]
MU = 10.0
"""Weight of ndcg2 in ndcg2++, as in the experiments of Wang et al. 2018."""


def rectangle(values: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Give each list a row of its own.

    Args:
        values: (documents,)
        owners: see above.

    Returns:
        (lists, longest) values with 0 behind the end of a list, and bool, true where there is a document. Documents
        keep their order.

    Raises:
        InvalidInput: the shapes differ, or there is no document.

    >>> values, real = rectangle(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1, 0, 1]))
    >>> values.tolist(), real.tolist()
    ([[2.0, 0.0], [1.0, 3.0]], [[True, False], [True, True]])
    """
    same_shape(values, owners)
    if len(owners) == 0:
        raise InvalidInput("there is no document; give each list at least one.")
    lengths = owners.bincount()
    order = owners.argsort(stable=True)
    starts = lengths.cumsum(dim=0) - lengths
    rows = owners[order]
    columns = torch.arange(len(owners), device=owners.device) - starts[rows]
    real = torch.zeros(len(lengths), int(lengths.max()), dtype=torch.bool, device=values.device)
    real[rows, columns] = True
    return values.new_zeros(real.shape).index_put((rows, columns), values[order]), real


def _read(scores: Tensor, grades: Tensor, owners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    same_shape(scores, grades)
    rows, real = rectangle(wide(scores), owners)
    return rows, rectangle(grades.to(rows), owners)[0], real


def binary_cross_entropy(scores: Tensor, grades: Tensor, owners: Tensor) -> Tensor:
    """Decide for each document by itself whether it is good: cross entropy of σ(score) (Nogueira and Cho 2019).

    Args:
        scores: see above.
        grades: from 0 to 1.
        owners: see above; who is in which list does not count.

    Returns:
        () mean over documents.

    Raises:
        InvalidInput: the shapes differ, there is no document, or a grade is below 0 or above 1.

    >>> round(float(binary_cross_entropy(torch.tensor([1.0]), torch.tensor([1]), torch.tensor([0]))), 4)
    0.3133
    """
    rows, good, real = _read(scores, grades, owners)
    _check_grades(good, highest=1)
    return functional.binary_cross_entropy_with_logits(rows[real], good[real])


def softmax_cross_entropy(scores: Tensor, grades: Tensor, owners: Tensor) -> Tensor:
    """Give the probability of a list to its good documents, each by its grade (Bruch et al. 2019, ICTIR).

    With one document of grade 1 it is the cross entropy of picking it.

    Args:
        scores: see above.
        grades: not below 0; a list without any above 0 does not count.
        owners: see above.

    Returns:
        () mean over lists.

    Raises:
        InvalidInput: the shapes differ, or a grade is below 0.

    >>> owners = torch.tensor([0, 0])
    >>> round(float(softmax_cross_entropy(torch.tensor([1.0, 0.0]), torch.tensor([1, 0]), owners)), 4)  # log(1 + 1 / e)
    0.3133
    """
    rows, good, real = _read(scores, grades, owners)
    _check_grades(good)
    total = good.sum(dim=1)
    wanted = good / total.clamp(min=torch.finfo(good.dtype).tiny)[:, None]
    return mean_where(_cross_entropy(rows, wanted, real), total > 0)


def list_net(scores: Tensor, grades: Tensor, owners: Tensor) -> Tensor:
    """Make the softmax of the scores equal to the softmax of the grades (Cao et al. 2007, ListNet, ICML).

    Args:
        scores: see above.
        grades: see above.
        owners: see above.

    Returns:
        () mean over lists.

    Raises:
        InvalidInput: the shapes differ.

    >>> grades, owners = torch.tensor([1.0, 0.0]), torch.tensor([0, 0])
    >>> round(float(list_net(grades, grades, owners)), 4)  # the entropy that is left: log(1 + e) - e / (1 + e)
    0.5822
    """
    rows, good, real = _read(scores, grades, owners)
    return _cross_entropy(rows, good.masked_fill(~real, -torch.inf).softmax(dim=1), real).mean()


def _cross_entropy(rows: Tensor, wanted: Tensor, real: Tensor) -> Tensor:
    logs = rows.masked_fill(~real, -torch.inf).log_softmax(dim=1)
    return -(wanted * logs.masked_fill(~real, 0)).sum(dim=1)


def rank_net(scores: Tensor, grades: Tensor, owners: Tensor, *, sigma: float = 1.0) -> Tensor:
    """Put each document above those of its list with a lower grade (Burges et al. 2005, RankNet, ICML).

    -log σ(sigma (s_i - s_j)) for each pair where i has the higher grade.

    Args:
        scores: see above.
        grades: see above.
        owners: see above.
        sigma: what differences of scores are multiplied with.

    Returns:
        () mean over all pairs of different grades; 0 where there is none.

    Raises:
        InvalidInput: the shapes differ, or sigma is not above 0.

    >>> owners = torch.tensor([0, 0])
    >>> round(float(rank_net(torch.tensor([1.0, 0.0]), torch.tensor([3, 2]), owners)), 4)  # log(1 + 1 / e)
    0.3133
    """
    positive("sigma", sigma)
    rows, good, real = _read(scores, grades, owners)
    return mean_where(functional.softplus(-sigma * _gaps(rows)), _better(good, real))


def lambda_loss(
    scores: Tensor,
    grades: Tensor,
    owners: Tensor,
    *,
    weighting: Weighting = "ndcg2++",
    sigma: float = 1.0,
    k: int | None = None,
) -> Tensor:
    """`rank_net` with each pair weighted by what it does to nDCG (Wang et al. 2018, CIKM, "The LambdaLoss framework").

    Args:
        scores: see above.
        grades: not below 0; a document of grade g has the gain 2^g - 1.
        owners: see above.
        weighting: "lambdarank", by how much nDCG changes when both change places; "ndcg2", the tighter bound, by how
            far they are apart; "ndcg2++", both.
        sigma: what differences of scores are multiplied with.
        k: pairs of which neither is among the first k do not count; None: all count.

    Returns:
        () mean over all pairs of different grades that count; 0 where there is none.

    Raises:
        InvalidInput: the shapes differ, an option is not known, a grade is below 0, or sigma or k is not above 0.

    >>> scores, owners = torch.tensor([1.0, 0.0]), torch.tensor([0, 0])
    >>> loss = lambda_loss(scores, torch.tensor([1, 0]), owners, weighting="lambdarank")
    >>> round(float(loss), 4)  # 0.3133 * (1 - 1 / log2(3))
    0.1156
    """
    if weighting not in get_args(Weighting):
        raise InvalidInput(f"weighting {weighting!r} is not known. Known: {', '.join(get_args(Weighting))}.")
    positive("sigma", sigma)
    rows, good, real = _read(scores, grades, owners)
    _check_grades(good)
    longest = rows.shape[1]
    k = longest if k is None else k
    positive("k", k)
    order = rows.masked_fill(~real, -torch.inf).argsort(dim=1, descending=True)
    rows, good, real = (part.gather(1, order) for part in (rows, good, real))
    place = torch.arange(1, longest + 1, device=rows.device)
    discount = 1 / (1 + place).to(rows).log2()  # of the first place: 1
    best = (2**good - 1).sort(dim=1, descending=True).values * discount
    ideal = best[:, :k].sum(dim=1, keepdim=True)
    gain = (2**good - 1) / ideal.clamp(min=torch.finfo(good.dtype).tiny)
    weight = torch.zeros(longest, longest, dtype=rows.dtype, device=rows.device)
    if weighting != "lambdarank":
        away = (place[:, None] - place).abs()
        step = discount - 1 / (2 + place).to(rows).log2()  # from one place to the next
        weight = weight + (1 if weighting == "ndcg2" else MU) * step[(away - 1).clamp(min=0)]
    if weighting != "ndcg2":
        weight = weight + (discount[:, None] - discount).abs()
    counts = _better(good, real) & ((place[:, None] <= k) | (place <= k))
    return mean_where(weight * _gaps(gain).abs() * functional.softplus(-sigma * _gaps(rows)), counts)


def _check_grades(good: Tensor, highest: float = math.inf) -> None:
    least, most = float(good.min()), float(good.max())
    if least < 0 or most > highest:
        wanted = "not be below 0" if highest == math.inf else f"be from 0 to {highest:g}"
        raise InvalidInput(f"grades are from {least:g} to {most:g}; they must {wanted}.")


def _gaps(rows: Tensor) -> Tensor:
    """All differences inside each row: (lists, longest, longest)."""
    return rows[:, :, None] - rows[:, None, :]


def _better(good: Tensor, real: Tensor) -> Tensor:
    """Where the first of two documents of one list has the higher grade."""
    return (_gaps(good) > 0) & real[:, :, None] & real[:, None, :]


def margin_mse(scores: Tensor, grades: Tensor, owners: Tensor) -> Tensor:
    """Make a list's margins equal to a teacher's (Hofstätter et al. 2020, arXiv 2010.02666).

    A margin is by how much the first document of the list, its positive, is better than another one.

    Args:
        scores: see above.
        grades: the teacher's scores.
        owners: see above.

    Returns:
        () mean squared error over all documents but the first ones; 0 where each list has one.

    Raises:
        InvalidInput: the shapes differ.

    >>> scores, teacher = torch.tensor([1.0, 0.0, 0.5]), torch.tensor([9.0, 7.0, 8.5])
    >>> float(margin_mse(scores, teacher, torch.tensor([0, 0, 0])))  # (1² + 0²) / 2
    0.5
    """
    rows, taught, real = _read(scores, grades, owners)
    errors = (rows[:, :1] - rows) - (taught[:, :1] - taught)
    return mean_where(errors[:, 1:] ** 2, real[:, 1:])


def score_divergence(scores: Tensor, grades: Tensor, owners: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Make the softmax of a list's scores equal to a teacher's (Hinton et al. 2015, arXiv 1503.02531).

    In retrieval: Lin et al. 2020, TCT-ColBERT, arXiv 2010.11386.

    Args:
        scores: see above.
        grades: the teacher's scores.
        owners: see above.
        temperature: what both are divided by; the loss is multiplied with its square, for the size of gradients.

    Returns:
        () Kullback-Leibler divergence of the scores from the teacher's, mean over lists.

    Raises:
        InvalidInput: the shapes differ, or the temperature is not above 0.

    >>> scores, owners = torch.tensor([1.0, 0.0]), torch.tensor([0, 0])
    >>> round(float(score_divergence(scores, scores + 7, owners, temperature=2.0)), 4)
    0.0
    """
    positive("temperature", temperature)
    rows, taught, real = _read(scores, grades, owners)
    ours, theirs = (
        (part / temperature).masked_fill(~real, -torch.inf).log_softmax(dim=1).masked_fill(~real, 0)
        for part in (rows, taught)
    )
    return (torch.where(real, theirs.exp(), 0) * (theirs - ours)).sum(dim=1).mean() * temperature**2


RANKINGS: dict[str, Callable[..., Tensor]] = {
    "bce": binary_cross_entropy,
    "list_softmax": softmax_cross_entropy,
    "list_net": list_net,
    "rank_net": rank_net,
    "lambda": lambda_loss,
    "margin_mse": margin_mse,
    "kl": score_divergence,
}
"""Every loss of this file by its name, as a cross-encoder learns from it: (scores, grades, owners, **options) -> ()."""
