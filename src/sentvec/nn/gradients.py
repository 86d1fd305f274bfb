"""Gradients of parameters, as a written-out way back makes them: parameters in, places for their gradients out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Gradients:
    """Where the gradients of some parameters go, during one way back.

    A parameter that has a gradient gets what is found added to that, in place: no memory is made and none is read
    twice. Where somebody listens to the gradient, and where there is none yet, it is handed to autograd as usual.

    Args:
        parameters: the parameters, float32.
        wanted: which of them learn.

    Attributes:
        found: for autograd: for each parameter its gradient, or None where there is none or it is in its place already.
    """

    def __init__(self, parameters: Sequence[Tensor], wanted: Sequence[bool]) -> None:
        self._parameters, self._wanted = parameters, wanted
        self._into: list[Tensor | None] = [None] * len(parameters)
        self.found: list[Tensor | None] = [None] * len(parameters)

    def wants(self, number: int) -> bool:
        """Say whether a parameter learns."""
        return self._wanted[number]

    def room(self, number: int) -> tuple[Tensor, bool]:
        """Return where a parameter's gradient goes, of its shape, and whether there is something to add it to."""
        into = self._into[number]
        if into is not None:
            return into, True
        parameter = self._parameters[number]
        there = _open(parameter) if self._wanted[number] else None
        if there is not None:
            self._into[number] = there
            return there, True
        into = self._into[number] = torch.empty(parameter.shape)
        if self._wanted[number]:
            self.found[number] = into
        return into, False

    def add(self, number: int, gradient: Tensor) -> None:
        """Add to a parameter's gradient, or make it this tensor, which is nobody else's."""
        if not self._wanted[number]:
            return
        if self._into[number] is None and _open(self._parameters[number]) is None:
            self._into[number] = self.found[number] = gradient
        else:
            self.room(number)[0].add_(gradient)

    def zeroed(self, number: int) -> Tensor | None:
        """Return where to add a parameter's gradient row by row; None where it does not learn."""
        if not self._wanted[number]:
            return None
        into, add = self.room(number)
        return into if add else into.zero_()


def listened(module: nn.Module) -> bool:
    """Say whether somebody listens to what a module, by itself, gets and gives."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _open(parameter: Tensor) -> Tensor | None:
    there = parameter.grad
    listened = parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None)
    if there is None or listened or there.dtype != torch.float32 or there.layout != torch.strided:
        return None
    return there if there.is_contiguous() and there.device.type == "cpu" else None
