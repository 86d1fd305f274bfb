"""Weights after each step in; their running average, to stand in for them, out (Polyak & Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


class Average(nn.Module):
    """An exponential moving average of all parameters of some modules; its buffers are its state.

    Args:
        modules: whose parameters.
        decay: share of the average that stays at a step, 0 to 1.
    """

    def __init__(self, modules: Sequence[nn.Module], decay: float) -> None:
        super().__init__()
        self.decay = decay
        self._followed = [parameter for module in modules for parameter in module.parameters()]
        for number, parameter in enumerate(self._followed):
            self.register_buffer(f"mean_{number}", parameter.detach().clone())

    @torch.no_grad()
    def follow(self) -> None:
        """Take a step's weights into the average."""
        for mean, parameter in zip(self.buffers(), self._followed, strict=True):
            mean.lerp_(parameter, 1.0 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let parameters hold the averages, inside."""
        now = [parameter.detach().clone() for parameter in self._followed]
        with torch.no_grad():
            for mean, parameter in zip(self.buffers(), self._followed, strict=True):
                parameter.copy_(mean)
        try:
            yield
        finally:
            with torch.no_grad():
                for own, parameter in zip(now, self._followed, strict=True):
                    parameter.copy_(own)
