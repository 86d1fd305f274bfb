"""What losses share: vectors in any precision in, vectors and cosines in float32 or wider out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.errors import InvalidInput


def wide(values: Tensor) -> Tensor:
    """Return half precision as float32, and leave what is wider as it is.

    Losses subtract numbers that are nearly equal; bfloat16 keeps 8 bits of them.
    """
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def unit(vectors: Tensor) -> Tensor:
    """Scale rows to length one, in float32 or wider; a row of zeros stays one.

    Args:
        vectors: (..., dim)
    """
    return functional.normalize(wide(vectors), dim=-1)


def row_cosines(a: Tensor, b: Tensor) -> Tensor:
    """Compare row with row.

    Args:
        a: (n, dim)
        b: (n, dim)

    Returns:
        (n,) cosines.

    Raises:
        InvalidInput: the shapes differ.

    >>> row_cosines(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 2.0]])).tolist()
    [1.0, 0.0]
    """
    same_shape(a, b)
    return (unit(a) * unit(b)).sum(dim=-1)


def same_shape(a: Tensor, b: Tensor) -> None:
    """Refuse two tensors of different shapes, which would be stretched to each other without a word.

    Raises:
        InvalidInput: the shapes differ.
    """
    if a.shape != b.shape:
        raise InvalidInput(f"shapes {tuple(a.shape)} and {tuple(b.shape)} differ; row i belongs to row i.")


def positive(name: str, value: float | Tensor) -> None:
    """Refuse a number that is not above 0; a tensor is taken as it is, for to look would wait for the device.

    Raises:
        InvalidInput: the number is 0, negative or not a number.
    """
    if not isinstance(value, Tensor) and not value > 0:
        raise InvalidInput(f"{name} is {value}; it must be above 0.")
