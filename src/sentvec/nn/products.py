"""Matrix products of a training step: activations and weights in; outputs, and on the way back gradients, out.

`TorchProducts` is the plain statement of each product; `CompiledProducts` runs each together with what follows it for
every number, on processors that have the instructions for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from sentvec.nn.library import ACTS, KINDS, at
from sentvec.nn.steps import ACTS as FORWARD

aten = torch.ops.aten

SLOPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gelu": aten.gelu_backward,
    "gelu_tanh": lambda d, x: aten.gelu_backward(d, x, approximate="tanh"),
    "relu": lambda d, x: d * (x > 0),
}
"""For each activation: gradient of what came out and what went in -> gradient of what went in."""


class Products(Protocol):
    """Products of activations of one kind, float32 or bfloat16, with linear maps in float32 that have biases.

    Gradients of parameters are always float32.
    """

    def linear(self, x: Tensor, map_: nn.Linear) -> Tensor:
        """(tokens, inputs) -> (tokens, outputs)."""

    def activated(self, x: Tensor, map_: nn.Linear, act: str) -> tuple[Tensor, Tensor]:
        """Return (tokens, outputs) through an activation, and the activation's slope at each."""

    def back(self, d: Tensor, map_: nn.Linear) -> Tensor:
        """Gradient of outputs (tokens, outputs) -> gradient of inputs (tokens, inputs)."""

    def back_into(self, d: Tensor, map_: nn.Linear, total: Tensor) -> None:
        """Add the gradient of inputs to `total`, (tokens, inputs) float32."""

    def back_sloped(self, d: Tensor, map_: nn.Linear, slopes: Tensor) -> Tensor:
        """Return the gradient of inputs, times slopes: of what an activation made the inputs from."""

    def outer(self, d: Tensor, x: Tensor, matrix: Tensor, bias: Tensor, add: bool, add_bias: bool) -> None:
        """Write, or add, gradients of a map's matrix (outputs, inputs) and bias (outputs,), float32."""


class TorchProducts:
    """Every product by torch."""

    def linear(self, x: Tensor, map_: nn.Linear) -> Tensor:
        """See `Products`."""
        return torch.addmm(map_.bias.to(x.dtype), x, map_.weight.to(x.dtype).t())

    def activated(self, x: Tensor, map_: nn.Linear, act: str) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        inner = self.linear(x, map_)
        return FORWARD[act](inner), SLOPES[act](torch.ones_like(inner), inner)

    def back(self, d: Tensor, map_: nn.Linear) -> Tensor:
        """See `Products`."""
        return d @ map_.weight.to(d.dtype)

    def back_into(self, d: Tensor, map_: nn.Linear, total: Tensor) -> None:
        """See `Products`."""
        total += self.back(d, map_)

    def back_sloped(self, d: Tensor, map_: nn.Linear, slopes: Tensor) -> Tensor:
        """See `Products`."""
        return self.back(d, map_).mul_(slopes)

    def outer(self, d: Tensor, x: Tensor, matrix: Tensor, bias: Tensor, add: bool, add_bias: bool) -> None:
        """See `Products`."""
        matrix.add_(d.t() @ x) if add else matrix.copy_(d.t() @ x)
        total = d.sum(0, dtype=torch.float32)
        bias.add_(total) if add_bias else bias.copy_(total)


class CompiledProducts:
    """Every product by `native/products.cpp`. Widths are multiples of 16."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def linear(self, x: Tensor, map_: nn.Linear) -> Tensor:
        """See `Products`."""
        out = x.new_empty(len(x), map_.out_features)
        self._linear(x, map_, -1, None, out)
        return out

    def activated(self, x: Tensor, map_: nn.Linear, act: str) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        out, slopes = (x.new_empty(len(x), map_.out_features) for _ in range(2))
        self._linear(x, map_, ACTS[act], slopes, out)
        return out, slopes

    def back(self, d: Tensor, map_: nn.Linear) -> Tensor:
        """See `Products`."""
        out = d.new_empty(len(d), map_.in_features)
        self._back(d, map_, None, out, add=False)
        return out

    def back_into(self, d: Tensor, map_: nn.Linear, total: Tensor) -> None:
        """See `Products`."""
        self._back(d, map_, None, total, add=True)

    def back_sloped(self, d: Tensor, map_: nn.Linear, slopes: Tensor) -> Tensor:
        """See `Products`."""
        out = torch.empty_like(slopes)
        self._back(d, map_, slopes, out, add=False)
        return out

    def outer(self, d: Tensor, x: Tensor, matrix: Tensor, bias: Tensor, add: bool, add_bias: bool) -> None:
        """See `Products`."""
        self._library.sentvec_outer(
            KINDS[d.dtype], at(d), at(x), len(d), d.shape[1], x.shape[1], at(matrix), at(bias), add, add_bias
        )

    def _linear(self, x: Tensor, map_: nn.Linear, act: int, slopes: Tensor | None, out: Tensor) -> None:
        matrix = map_.weight.contiguous()
        self._library.sentvec_linear(
            *_given(x), at(matrix), *matrix.shape, at(map_.bias.contiguous()), act, at(slopes), at(out)
        )

    def _back(self, d: Tensor, map_: nn.Linear, slopes: Tensor | None, out: Tensor, add: bool) -> None:
        matrix = map_.weight.contiguous()
        self._library.sentvec_back(*_given(d), at(matrix), *matrix.shape, at(slopes), at(out), add)


def _given(x: Tensor) -> tuple[int, int, int]:
    assert x.is_contiguous(), "products come out of one another"
    return KINDS[x.dtype], x.data_ptr(), len(x)
