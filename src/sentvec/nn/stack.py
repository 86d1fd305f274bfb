"""An encoder's stack of layers: the output of the embeddings (tokens, hidden) in, (tokens, hidden) out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sentvec.batch import PackedBatch
from sentvec.nn.fused import FusedStack, fusible
from sentvec.nn.passes import Passes
from sentvec.nn.probe import Probe
from sentvec.nn.steps import Steps
from sentvec.nn.trained import TrainedStack, trainable


class Layers(nn.ModuleList):
    """Layers that run one after the other, or, once `fuse` was called, as one `FusedStack` when that is possible.

    Args:
        layers: the layers.
        order: the numbers of the layers, from 0, as they run: one may run more than once. None is each once, in turn.
    """

    def __init__(self, layers: Iterable[nn.Module], *, order: Iterable[int] | None = None) -> None:
        super().__init__(layers)
        self.order = tuple(range(len(self)) if order is None else order)
        self._steps: Steps | None = None
        self._int8 = False
        self._fused: FusedStack | None = None
        self._trained: TrainedStack | None = None
        self._again = False

    @property
    def fusible(self) -> bool:
        """Whether `fuse` can do anything for these layers."""
        return fusible(list(self))

    def fuse(self, steps: Steps, *, int8: bool = False) -> None:
        """Run as a `FusedStack` from now on, wherever no gradients and nothing inside attention are asked for.

        Weights are made ready at the first call, and again when they have changed.
        """
        self._steps, self._int8, self._fused = steps, int8, None

    def fuse_training(self, passes: Passes | None) -> None:
        """Run as a `TrainedStack` from now on, wherever there may be gradients or dropout, and no probe looks inside.

        None ends it.
        """
        self._trained = None if passes is None else TrainedStack(self._in_order(), passes, again=self._again)

    def recompute(self) -> None:
        """Keep only what each layer begins with from now on, and compute the rest again on the way back."""
        self._again = True
        if self._trained is not None:
            self._trained.again = True

    def forward(
        self, states: Tensor, batch: PackedBatch, kernel: str, probe: Probe | None, relative: Tensor | None = None
    ) -> Tensor:
        """Run all layers, showing each hidden state to the probe. A named attention `kernel` runs layer by layer.

        What distances add to scores, `relative`, is for all layers alike; see `kernels.attention`.
        """
        if kernel == "auto" and not (probe is not None and probe.inside):
            fused = self._trained if self._trained is not None and self._learns() else self._ready(states)
            if fused is not None:
                return fused(states, batch, probe, relative)
        if probe is not None:
            probe.hidden(0, states)
        given = () if relative is None else (relative,)  # most kinds of layers know of none
        again = self._again and torch.is_grad_enabled() and not (probe is not None and probe.inside)
        for number, layer in enumerate(self._in_order(), start=1):
            if again:
                states = checkpoint(layer, states, batch, kernel, probe, *given, use_reentrant=False)
            else:
                states = layer(states, batch, kernel, probe, *given)
            if probe is not None:
                probe.hidden(number, states)
        return states

    def __getstate__(self) -> dict[str, Any]:
        """Copies and other processes make weights ready for themselves: packed ones cannot travel."""
        return self.__dict__ | {"_steps": None, "_fused": None, "_trained": None}

    def _ready(self, states: Tensor) -> FusedStack | None:
        if (
            self._steps is None
            or torch.is_grad_enabled()
            or self.training
            or states.device.type != "cpu"
            or states.dtype not in (torch.float32, torch.bfloat16)
        ):
            return None
        layers = self._in_order()
        if self._fused is None or self._fused.stale(layers):
            if not self.fusible:
                return None
            self._fused = FusedStack(layers, self._steps, int8=self._int8)
        return self._fused

    def _learns(self) -> bool:
        may = (self.training or torch.is_grad_enabled()) and not torch.is_inference_mode_enabled()
        return may and trainable(list(self))

    def _in_order(self) -> list[nn.Module]:
        return [self[number] for number in self.order]
