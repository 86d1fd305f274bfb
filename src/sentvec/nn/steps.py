"""What happens between the matrix products of a layer, in torch: products in, the next operands out.

`EagerSteps` is the plain statement of each step, which `sentvec.nn.compiled` is tested against, and what int8 runs on
where there is no compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.batch import PackedBatch
from sentvec.nn.few import Few, Layer, Map
from sentvec.nn.int8 import Int8Map, Int8Stack
from sentvec.nn.kernels import attention

ACTS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
}
"""Activations that steps know."""


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product as it came.

    Attributes:
        data: (tokens, features), float32 or bfloat16; or int32, sums of products of int8.
        rows: for int32, what one step of each token's int8 is worth, (tokens,) float32.
        columns: for int32, the same for each output feature of the weights, (features,) float32.
        bias: for int32, added after scaling, (features,) float32. Other products have it already.
    """

    data: Tensor
    rows: Tensor | None = None
    columns: Tensor | None = None
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Operand:
    """What the next matrix product reads.

    Attributes:
        data: (tokens, features), float32, bfloat16 or int8.
        rows: for int8, the scale of each token, (tokens,) float32. A token's scale depends on that token alone, so
            a vector does not depend on its batch.
    """

    data: Tensor
    rows: Tensor | None = None


class Steps(Protocol):
    """The steps of a layer. States are float32, or bfloat16 where products are."""

    def attend(self, product: Product, batch: PackedBatch, heads: int, relative: Tensor | None = None) -> Tensor:
        """Attention of queries, keys and values side by side, (tokens, 3 * hidden) -> (tokens, hidden).

        Rows behind the batch's tokens become 0. For `relative` see `kernels.attention`.
        """

    def add_norm(self, product: Product, states: Tensor, norm: Norm) -> tuple[Tensor, Operand]:
        """Add, normalise: the next states, and the same as an operand (int8 where the product is int32)."""

    def act(self, product: Product, name: str) -> Operand:
        """Apply an activation of `ACTS`."""

    def operand(self, states: Tensor, int8: bool) -> Operand:
        """Make states an operand."""

    def few(self, layers: Sequence[Layer[Map]]) -> Few | None:
        """Return all of these layers at once, for few tokens, with the same bits; None where that cannot be had."""

    def int8(self, layers: Sequence[Layer[Int8Map]]) -> Int8Stack | None:
        """Return all of these layers at once, for any number of tokens; None where that cannot be had."""


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalisation's numbers: weight and bias (features,) in float32, and epsilon."""

    weight: Tensor
    bias: Tensor
    eps: float


class EagerSteps:
    """Every step with torch's own operations."""

    def attend(self, product: Product, batch: PackedBatch, heads: int, relative: Tensor | None = None) -> Tensor:
        """See `Steps`."""
        rows, width = product.data.shape
        tokens = len(batch.ids)
        q, k, v = _value(product)[:tokens].view(tokens, 3, heads, width // 3 // heads).unbind(1)
        near = None if relative is None else relative.float()
        mixed = attention(q, k, v, batch.lengths, relative=near).reshape(tokens, width // 3)
        return functional.pad(mixed, (0, 0, 0, rows - tokens)).to(states_of(product))

    def add_norm(self, product: Product, states: Tensor, norm: Norm) -> tuple[Tensor, Operand]:
        """See `Steps`."""
        total = _value(product) + states.float()
        out = functional.layer_norm(total, total.shape[-1:], norm.weight, norm.bias, norm.eps).to(states.dtype)
        return out, self.operand(out, product.data.dtype == torch.int32)

    def act(self, product: Product, name: str) -> Operand:
        """See `Steps`."""
        out = ACTS[name](_value(product)).to(states_of(product))
        return self.operand(out, product.data.dtype == torch.int32)

    def few(self, layers: Sequence[Layer[Map]]) -> None:
        """See `Steps`."""
        del layers

    def int8(self, layers: Sequence[Layer[Int8Map]]) -> None:
        """See `Steps`."""
        del layers

    def operand(self, states: Tensor, int8: bool) -> Operand:
        """See `Steps`."""
        return quantise(states) if int8 else Operand(states)


LANES, WITHIN, ACROSS = 16, 4, 32


def rotate(x: Tensor) -> Tensor:
    """Turn features by an unscaled Hadamard transform: sums and differences of neighbours, and of features 16 apart.

    A few features of a trained encoder are much larger than the others, and an int8 scale that has room for them has
    few steps left for the rest. Turned, all are of like size, and products are the same when weights are turned too
    (QuaRot, Ashkboos et al. 2024, arXiv 2404.00456; here in a shape that costs processors next to nothing). On
    all-MiniLM-L6-v2 the mean distance of vectors from float32's falls to a sixth.

    Args:
        x: (..., features), features a multiple of 16.

    Returns:
        (..., features), longer by the square root of `rotated_by(features)`.
    """
    across = rotated_by(x.shape[-1]) // WITHIN
    turned = _hadamard(x.reshape(-1, WITHIN, 1), WITHIN)
    return _hadamard(turned.reshape(-1, across, LANES), across).reshape(x.shape)


def _hadamard(x: Tensor, size: int) -> Tensor:
    """Transform the middle of (rows, size, width)."""
    shape = x.shape
    half = 1
    while half < size:
        x = x.view(-1, 2, half, shape[-1])
        x = torch.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], dim=1)
        half *= 2
    return x.view(shape)


def rotated_by(features: int) -> int:
    """Return how many features `rotate` puts into one sum.

    >>> [rotated_by(n) for n in (48, 384, 768, 3072)]
    [4, 32, 64, 128]
    """
    vectors = features // LANES
    across = 1
    while across < ACROSS and vectors % (2 * across) == 0:
        across *= 2
    return WITHIN * across


def quantise(x: Tensor) -> Operand:
    """Int8 of every row, turned by `rotate`, with a scale of its own: a row's largest magnitude becomes 127.

    >>> int8 = quantise(torch.eye(16)[:1])
    >>> int8.data.tolist()[0][:2], (int8.rows * 127).tolist()
    ([127, 127], [1.0])
    """
    x = rotate(x.float())
    scale = x.abs().amax(-1) / 127
    steps = x / torch.where(scale > 0, scale, torch.ones_like(scale))[..., None]
    return Operand(steps.round().nan_to_num().to(torch.int8), scale)


def _value(product: Product) -> Tensor:
    value = product.data.float()
    if product.rows is not None and product.columns is not None:
        value = value * product.rows[:, None] * product.columns
    return value if product.bias is None else value + product.bias


def states_of(product: Product) -> torch.dtype:
    """Return the number format of the states that go with a product."""
    return torch.bfloat16 if product.data.dtype == torch.bfloat16 else torch.float32
