"""Matrix products of a training step: activations and weights in; outputs, and on the way back gradients, out.

`TorchProducts` is the plain statement of each product; `CompiledProducts` runs each together with what follows it for
every number, on processors that have the instructions for it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Weights:
    """A linear map as products take it.

    Attributes:
        forward: its matrix for activations.
        back: its matrix for gradients.
        bias: (outputs,).
        shape: outputs and inputs.
    """

    forward: Tensor
    back: Tensor
    bias: Tensor
    shape: tuple[int, int]


class Products(Protocol):
    """Products of activations of one kind, float32 or bfloat16. Gradients of parameters are always float32."""

    def weights(self, linear: nn.Linear, half: bool, before: Weights | None) -> Weights:
        """Make a linear map ready for bfloat16 (`half`) or float32, in the memory of `before`, which is of its kind."""

    def linear(self, x: Tensor, weights: Weights) -> Tensor:
        """(tokens, inputs) -> (tokens, outputs)."""

    def activated(self, x: Tensor, weights: Weights, act: str) -> tuple[Tensor, Tensor]:
        """Return (tokens, outputs), and the same through an activation."""

    def back(self, d: Tensor, weights: Weights) -> Tensor:
        """Gradient of outputs (tokens, outputs) -> gradient of inputs (tokens, inputs)."""

    def back_into(self, d: Tensor, weights: Weights, total: Tensor) -> None:
        """Add the gradient of inputs to `total`, (tokens, inputs) float32."""

    def back_activated(self, d: Tensor, weights: Weights, inner: Tensor, act: str) -> tuple[Tensor, Tensor]:
        """Return the gradient of `inner`, whose activation was the input; and that input again."""

    def outer(self, d: Tensor, x: Tensor, matrix: Tensor, bias: Tensor, add: bool) -> None:
        """Write, or add, gradients of a map's matrix (outputs, inputs) and bias (outputs,), float32."""


class TorchProducts:
    """Every product by torch."""

    def weights(self, linear: nn.Linear, half: bool, before: Weights | None) -> Weights:
        """See `Products`."""
        matrix, bias = linear.weight.detach(), linear.bias.detach()
        if half:
            matrix, bias = matrix.bfloat16(), bias.bfloat16()
        return Weights(matrix, matrix, bias, (linear.out_features, linear.in_features))

    def linear(self, x: Tensor, weights: Weights) -> Tensor:
        """See `Products`."""
        return torch.addmm(weights.bias, x, weights.forward.t())

    def activated(self, x: Tensor, weights: Weights, act: str) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        inner = self.linear(x, weights)
        return inner, FORWARD[act](inner)

    def back(self, d: Tensor, weights: Weights) -> Tensor:
        """See `Products`."""
        return d @ weights.back

    def back_into(self, d: Tensor, weights: Weights, total: Tensor) -> None:
        """See `Products`."""
        total += d @ weights.back

    def back_activated(self, d: Tensor, weights: Weights, inner: Tensor, act: str) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        return SLOPES[act](d @ weights.back, inner), FORWARD[act](inner)

    def outer(self, d: Tensor, x: Tensor, matrix: Tensor, bias: Tensor, add: bool) -> None:
        """See `Products`."""
        for to, found in ((matrix, d.t() @ x), (bias, d.sum(0, dtype=torch.float32))):
            to.add_(found) if add else to.copy_(found)


class CompiledProducts:
    """Every product by `native/products.cpp`. Widths are multiples of 16."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def weights(self, linear: nn.Linear, half: bool, before: Weights | None) -> Weights:
        """See `Products`."""
        shape = linear.out_features, linear.in_features
        if before is None:
            units = shape[0] * shape[1] // (2 if half else 1)
            before = Weights(torch.empty(units), torch.empty(units), torch.empty(shape[0]), shape)
        before.bias.copy_(linear.bias.detach())
        matrix = linear.weight.detach().contiguous()
        self._library.sentvec_pack(int(half), at(matrix), *shape, at(before.forward), at(before.back))
        return before

    def linear(self, x: Tensor, weights: Weights) -> Tensor:
        """See `Products`."""
        out = x.new_empty(len(x), weights.shape[0])
        self._library.sentvec_linear(
            *_given(x), at(weights.forward), weights.shape[0], at(weights.bias), -1, None, at(out)
        )
        return out

    def activated(self, x: Tensor, weights: Weights, act: str) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        inner, out = (x.new_empty(len(x), weights.shape[0]) for _ in range(2))
        self._library.sentvec_linear(
            *_given(x), at(weights.forward), weights.shape[0], at(weights.bias), ACTS[act], at(inner), at(out)
        )
        return inner, out

    def back(self, d: Tensor, weights: Weights) -> Tensor:
        """See `Products`."""
        out = d.new_empty(len(d), weights.shape[1])
        self._library.sentvec_back(*_given(d), at(weights.back), weights.shape[1], at(out), 0)
        return out

    def back_into(self, d: Tensor, weights: Weights, total: Tensor) -> None:
        """See `Products`."""
        self._library.sentvec_back(*_given(d), at(weights.back), weights.shape[1], at(total), 1)

    def back_activated(self, d: Tensor, weights: Weights, inner: Tensor, act: str) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        gradient, out = torch.empty_like(inner), torch.empty_like(inner)
        self._library.sentvec_back_act(
            *_given(d), at(weights.back), weights.shape[1], ACTS[act], at(inner), at(gradient), at(out)
        )
        return gradient, out

    def outer(self, d: Tensor, x: Tensor, matrix: Tensor, bias: Tensor, add: bool) -> None:
        """See `Products`."""
        kind, left, rows, width = _given(d)
        self._library.sentvec_outer(kind, left, at(x), rows, width, x.shape[1], at(matrix), at(bias), int(add))


def _given(x: Tensor) -> tuple[int, int, int, int]:
    assert x.is_contiguous(), "products come out of one another"
    return KINDS[x.dtype], x.data_ptr(), x.shape[0], x.shape[1]
