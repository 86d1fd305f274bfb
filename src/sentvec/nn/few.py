"""Plain layers as oneDNN packs their weights in; one call that runs all of them over few tokens, to the same bits, out.

A text or two leave little to compute and much to wait for: two dozen products and three dozen steps, called one by one.
Here a whole stack is one call. Sums follow oneDNN's order, which is looked for when the stack is made ready.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from sentvec.batch import PackedBatch
from sentvec.nn.library import ACTS, KINDS

MOST = 1024
"""Most tokens that go through in one call. For all-MiniLM it is a third faster with a text, a tenth with seven hundred
tokens, and no faster from here on."""

WIDTH = 64
"""Outputs of a panel of packed weights, as few.cpp reads them."""

DEPTHS = (1024, 512, 2048, 256, 4096, 128, 768, 384, 64)
"""Numbers that oneDNN adds up before it adds the sum to what there is: what to try, after all of them at once."""


@dataclass(frozen=True)
class Map:
    """A linear map.

    Attributes:
        packed: weights as oneDNN packs them, (outputs, inputs), float32 or bfloat16.
        bias: (outputs,), of the same kind.
        multiply: states (tokens, inputs) -> (tokens, outputs), by oneDNN.
    """

    packed: Tensor
    bias: Tensor
    multiply: Callable[[Tensor], Tensor]


M = TypeVar("M")


@dataclass(frozen=True)
class Layer(Generic[M]):
    """A post-norm layer.

    Attributes:
        maps: of queries, keys and values side by side; of attention's output; up; and down.
        norms: weight and bias, (hidden,) float32, and epsilon, after attention and after the feed-forward part.
        heads: of attention.
        act: a name of `ACTS`.
    """

    maps: tuple[M, M, M, M]
    norms: tuple[tuple[Tensor, Tensor, float], tuple[Tensor, Tensor, float]]
    heads: int
    act: str


class Few:
    """A stack of layers, ready to be run at once; see `few_of`."""

    def __init__(self, library: ctypes.CDLL, layers: Sequence[Layer[Map]], depths: dict[tuple[int, int], int]) -> None:
        self._library = library
        self._held: list[object] = list(layers)  # what the addresses below are of
        self._count = len(layers)
        self._wide = max(one.packed.shape[0] for layer in layers for one in layer.maps)
        self._fields = b"".join(self._written(layer, depths) for layer in layers)

    def __call__(self, states: Tensor, batch: PackedBatch) -> Tensor:
        """Send states (tokens, hidden) of a batch of at most `MOST` tokens through every layer."""
        out = states.clone(memory_format=torch.contiguous_format)
        wide = torch.empty(len(out), self._wide, dtype=out.dtype)
        narrow = torch.empty_like(out)
        offsets = batch.offsets.contiguous()
        self._library.sentvec_few(
            KINDS[out.dtype], self._fields, self._count, out.data_ptr(), len(out), offsets.data_ptr(), len(batch),
            wide.data_ptr(), narrow.data_ptr(),
        )  # fmt: skip
        return out

    def _written(self, layer: Layer[Map], depths: dict[tuple[int, int], int]) -> bytes:
        return b"".join(self._map(one, depths[_shape(one)]) for one in layer.maps) + tail(layer)

    def _map(self, one: Map, deep: int) -> bytes:
        bias = one.bias.float().contiguous()
        self._held.append(bias)
        return _fields(one, bias, deep)


def tail(layer: Layer[M]) -> bytes:
    """Write what follows a layer's maps, as C++ reads it."""
    (gamma, beta, eps), (gamma2, beta2, eps2) = layer.norms
    return struct.pack(
        "=4q3d2q",
        *(one.data_ptr() for one in (gamma, beta, gamma2, beta2)), eps, eps2, (len(gamma) // layer.heads) ** -0.5,
        layer.heads, ACTS[layer.act],
    )  # fmt: skip


def few_of(library: ctypes.CDLL, layers: Sequence[Layer[Map]]) -> Few | None:
    """Return layers as one call; None where oneDNN packs weights, or adds up, in a way that we do not know."""
    depths: dict[tuple[int, int], int] = {}
    for layer in layers:
        for one in layer.maps:
            if _shape(one) not in depths:
                deep = _depth(library, one)
                if deep is None:
                    return None
                depths[_shape(one)] = deep
    return Few(library, layers, depths)


def _shape(one: Map) -> tuple[int, int]:
    outputs, inputs = one.packed.shape
    return outputs, inputs


def _fields(one: Map, bias: Tensor, deep: int) -> bytes:
    outputs, inputs = one.packed.shape
    address = torch.ops.mkldnn.data_ptr(one.packed)
    return struct.pack("=5q", address, bias.data_ptr(), inputs, outputs, deep // (4 // one.bias.element_size()))


def _depth(library: ctypes.CDLL, one: Map) -> int | None:
    """Find how many numbers oneDNN adds up at a time, by the bits of a product; None if no answer gives them."""
    outputs, inputs = one.packed.shape
    size = one.bias.element_size()
    if not one.packed.is_mkldnn or not hasattr(torch.ops.mkldnn, "data_ptr") or outputs % WIDTH or inputs % 4:
        return None
    if torch.ops.mkldnn._nbytes(one.packed) != outputs * inputs * size:  # else we would read beyond
        return None
    with torch.inference_mode():
        rows = 256 if size == 2 else 8  # bfloat16 hides most of what another order changes
        states = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(0)).to(one.bias.dtype)
        expected = one.multiply(states)
        found = torch.empty_like(expected)
        bias = one.bias.float().contiguous()
        for deep in (inputs, *DEPTHS):
            fields = _fields(one, bias, deep)
            library.sentvec_few_product(KINDS[states.dtype], states.data_ptr(), rows, fields, found.data_ptr())
            if torch.equal(found, expected):
                return deep
    return None
