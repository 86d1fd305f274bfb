"""Losses of a student and its teacher: vectors, hidden states or attention of both in, one number out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import row_cosines, same_shape, wide


def vector_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Make vectors or hidden states equal to a teacher's: mean squared error.

    Vectors: Reimers and Gurevych 2020, arXiv 2004.09813. Hidden states, layer to layer: Jiao et al. 2020, TinyBERT,
    arXiv 1909.10351, equation 8; a student of another width is projected first.

    Args:
        student: (..., dim)
        teacher: (..., dim)

    Returns:
        () mean over all features.

    Raises:
        InvalidInput: the shapes differ.

    >>> float(vector_mse(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])))
    0.5
    """
    same_shape(student, teacher)
    student = wide(student)
    return functional.mse_loss(student, teacher.to(student))


def vector_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Turn vectors or hidden states into a teacher's direction: 1 - cosine (Sanh et al. 2019, arXiv 1910.01108).

    Args:
        student: (n, dim)
        teacher: (n, dim)

    Returns:
        () mean, from 0 to 2.

    Raises:
        InvalidInput: the shapes differ.

    >>> float(vector_cosine(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])))
    1.0
    """
    return 1 - row_cosines(student, teacher).mean()


def attention_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Attend to what a teacher attends to (Sun et al. 2020, MobileBERT, arXiv 2004.02984, section 3.3).

    Args:
        student: (..., heads, queries, keys) probabilities: each row of keys sums to 1.
        teacher: likewise. Where the numbers of heads differ both are averaged over them.

    Returns:
        () Kullback-Leibler divergence of the student's rows from the teacher's, mean over rows.

    Raises:
        InvalidInput: the shapes differ in more than the number of heads.

    >>> even, first = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[1.0, 0.0]]])
    >>> round(float(attention_divergence(even, first)), 4), float(attention_divergence(even, even))  # log 2
    (0.6931, 0.0)
    """
    student = wide(student)
    teacher = teacher.to(student)
    if student.shape[-3:-2] != teacher.shape[-3:-2]:
        student, teacher = student.mean(dim=-3), teacher.mean(dim=-3)
    same_shape(student, teacher)
    tiny = torch.finfo(student.dtype).tiny  # keys that get nothing, as beyond a window, have no logarithm
    return (teacher * (teacher.clamp(min=tiny).log() - student.clamp(min=tiny).log())).sum(dim=-1).mean()


def matched_layers(student: int, teacher: int) -> tuple[int, ...]:
    """Say which of the teacher's layers each of the student's learns from: evenly, the last from the last.

    Jiao et al. 2020, TinyBERT, arXiv 1909.10351, section 4.

    Args:
        student: how many layers.
        teacher: how many layers.

    Returns:
        (student,) layers, counted from 1.

    Raises:
        InvalidInput: the student has more layers than the teacher, or none.

    >>> matched_layers(3, 12)
    (4, 8, 12)
    """
    if not 1 <= student <= teacher:
        raise InvalidInput(f"{student} layers cannot learn from {teacher}, one from one; give 1 to {teacher}.")
    return tuple((layer * teacher) // student for layer in range(1, student + 1))
