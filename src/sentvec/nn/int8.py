"""Linear maps in int8: layers of them in, one call that runs all of them over any number of tokens out.

Weights have one scale for each output feature, activations one for each token. Where the processor has no instruction
for this, or there is no compiler, a product is torch's.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sentvec.batch import PackedBatch
from sentvec.nn.few import WIDTH, Layer, tail
from sentvec.nn.library import at
from sentvec.nn.probe import Probe

ZERO = 128
"""What stands for 0 in activations: the processor multiplies numbers without a sign with numbers that have one."""

BEYOND = 32
"""Numbers that the compiled attention reads beyond what distances add: queries go in blocks."""


@dataclass(frozen=True)
class Int8Map:
    """A linear map.

    Attributes:
        weight: (outputs, inputs) int8, turned by `steps.rotate`.
        scale: what one step of an output's weights is worth, (outputs,) float32.
        bias: (outputs,) float32.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor


class Int8Stack:
    """A stack of layers, ready to be run at once; see `int8_of`."""

    def __init__(self, library: ctypes.CDLL, layers: Sequence[Layer[Int8Map]]) -> None:
        self._library = library
        self._heads = {layer.heads for layer in layers}
        self._held: list[Tensor] = []  # what the addresses below are of
        written = {id(layer): self._written(layer) for layer in {id(one): one for one in layers}.values()}
        self._fields = [written[id(layer)] for layer in layers]  # one that runs more than once is laid out once

    def __call__(
        self, states: Tensor, batch: PackedBatch, probe: Probe | None = None, relative: Tensor | None = None
    ) -> Tensor:
        """Send states (tokens, hidden) float32 through all layers.

        A text's numbers depend on that text alone, to the last bit. For the arguments see `fused.FusedStack`.
        """
        if probe is None:
            return self._run(states, batch, self._fields, relative)
        probe.hidden(0, states)
        for number, fields in enumerate(self._fields, start=1):
            states = self._run(states, batch, [fields], relative)
            probe.hidden(number, states)
        return states

    def _run(self, states: Tensor, batch: PackedBatch, fields: list[bytes], relative: Tensor | None) -> Tensor:
        out = states.clone(memory_format=torch.contiguous_format)
        offsets = batch.offsets.contiguous()
        near, reach = nearness(relative)
        assert near is None or (reach >= batch.longest and {len(near)} == self._heads)
        self._library.sentvec_int8(
            b"".join(fields), len(fields), out.data_ptr(), offsets.data_ptr(), len(batch), at(near), reach
        )
        return out

    def _written(self, layer: Layer[Int8Map]) -> bytes:
        (gamma, beta, _), (gamma2, beta2, _) = layer.norms
        self._held += [gamma, beta, gamma2, beta2]
        return b"".join(self._map(one) for one in layer.maps) + tail(layer)

    def _map(self, one: Int8Map) -> bytes:
        fields, held = _packed(one)
        self._held += held
        return fields


def int8_of(library: ctypes.CDLL, layers: Sequence[Layer[Int8Map]]) -> Int8Stack | None:
    """Return layers as one call; None where the processor has no instruction for it, or torch has a faster one."""
    return Int8Stack(library, layers) if library.sentvec_int8_fast() else None


def nearness(relative: Tensor | None) -> tuple[Tensor | None, int]:
    """Return what distances add to scores as compiled attention reads it, with its reach; see `kernels.attention`."""
    if relative is None:
        return None, 0
    return functional.pad(relative.float(), (0, BEYOND)).contiguous(), (relative.shape[-1] + 1) // 2


def right(library: ctypes.CDLL) -> bool:
    """Compare products with torch's, which are exact, before code from an unknown compiler is believed."""
    if not library.sentvec_int8_fast():
        return True
    generator = torch.Generator().manual_seed(0)
    states, weight = (torch.randint(-127, 128, (n, 48), generator=generator, dtype=torch.int8) for n in (13, 80))
    one, found = torch.ones(80), torch.zeros(13, 80)
    fields, held = _packed(Int8Map(weight, one, one))
    shifted = (states.int() + ZERO).to(torch.uint8)
    library.sentvec_int8_product(shifted.data_ptr(), one.data_ptr(), 13, fields, found.data_ptr())
    del held
    return torch.equal(found, (states.double() @ weight.double().t() + 1).float())


def _packed(one: Int8Map) -> tuple[bytes, list[Tensor]]:
    """Lay weights in panels of `WIDTH` outputs, four inputs side by side; return their fields and what holds them."""
    outputs, inputs = one.weight.shape
    missing = -outputs % WIDTH
    weight = functional.pad(one.weight, (0, 0, 0, missing))
    panels = weight.view(-1, WIDTH, inputs // 4, 4).transpose(1, 2).contiguous()
    start = -ZERO * weight.sum(1, dtype=torch.int32)
    scale, bias = (functional.pad(x.float(), (0, missing)) for x in (one.scale, one.bias))
    held = [panels, scale, bias, start]
    return struct.pack("=6q", *(x.data_ptr() for x in held), inputs, outputs), held
