"""The steps of a layer in C++: matrix products in, the next operands out, each step one pass over memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.nn.few import Few, Layer, Map, few_of
from sentvec.nn.int8 import Int8Map, Int8Stack, int8_of, nearness
from sentvec.nn.int8 import right as int8_right
from sentvec.nn.library import ACTS, COUNT, FLOAT, INT, KINDS, POINTER, Code, at, library
from sentvec.nn.steps import EagerSteps, Norm, Operand, Product, Steps, states_of

_PRODUCT = [INT, POINTER, POINTER, POINTER, POINTER]
_FUNCTIONS = {
    "sentvec_attention": [
        *_PRODUCT, COUNT, COUNT, POINTER, COUNT, FLOAT, POINTER, COUNT, POINTER,
    ],
    "sentvec_norm": [
        *_PRODUCT, POINTER, POINTER, POINTER, FLOAT, COUNT, COUNT, POINTER, POINTER, POINTER,
    ],
    "sentvec_activate": [INT, *_PRODUCT, COUNT, COUNT, POINTER, POINTER],
    "sentvec_quantise": [POINTER, COUNT, COUNT, POINTER, POINTER],
    "sentvec_few": [INT, POINTER, COUNT, POINTER, COUNT, POINTER, COUNT, POINTER, POINTER],
    "sentvec_few_product": [INT, POINTER, COUNT, POINTER, POINTER],
    "sentvec_int8_fast": [],
    "sentvec_int8_product": [POINTER, POINTER, COUNT, POINTER, POINTER],
    "sentvec_int8": [POINTER, COUNT, POINTER, POINTER, COUNT, POINTER, COUNT],
}  # fmt: skip


class CompiledSteps:
    """The steps of a layer as single passes over memory; see `sentvec.nn.steps.Steps`.

    Features of a head, of the states and of the intermediate layer come in multiples of 16.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def attend(self, product: Product, batch: PackedBatch, heads: int, relative: Tensor | None = None) -> Tensor:
        """See `Steps`."""
        tokens, hidden = product.data.shape[0], product.data.shape[1] // 3
        out = torch.empty(tokens, hidden, dtype=states_of(product))
        out[len(batch.ids) :] = 0
        offsets = batch.offsets.contiguous()
        near, reach = nearness(relative)
        assert near is None or (reach >= batch.longest and len(near) == heads)
        self._library.sentvec_attention(
            *_given(product), heads, hidden // heads, offsets.data_ptr(), len(batch),
            (hidden // heads) ** -0.5, at(near), reach, out.data_ptr(),
        )  # fmt: skip
        return out

    def add_norm(self, product: Product, states: Tensor, norm: Norm) -> tuple[Tensor, Operand]:
        """See `Steps`."""
        out = torch.empty_like(states)
        operand = _room(out) if product.data.dtype == torch.int32 else Operand(out)
        int8 = operand.data.data_ptr() if operand.rows is not None else None
        self._library.sentvec_norm(
            *_given(product), states.data_ptr(), norm.weight.data_ptr(), norm.bias.data_ptr(), norm.eps,
            *states.shape, out.data_ptr(), int8, at(operand.rows),
        )  # fmt: skip
        return out, operand

    def act(self, product: Product, name: str) -> Operand:
        """See `Steps`."""
        int8 = product.data.dtype == torch.int32
        operand = _room(product.data) if int8 else Operand(torch.empty_like(product.data))
        self._library.sentvec_activate(
            ACTS[name], *_given(product), *product.data.shape, operand.data.data_ptr(), at(operand.rows)
        )
        return operand

    def few(self, layers: Sequence[Layer[Map]]) -> Few | None:
        """See `Steps`."""
        return few_of(self._library, layers)

    def int8(self, layers: Sequence[Layer[Int8Map]]) -> Int8Stack | None:
        """See `Steps`."""
        return int8_of(self._library, layers)

    def operand(self, states: Tensor, int8: bool) -> Operand:
        """See `Steps`."""
        if not int8:
            return Operand(states)
        operand = _room(states)
        self._library.sentvec_quantise(states.data_ptr(), *states.shape, operand.data.data_ptr(), at(operand.rows))
        return operand


@cache
def compiled() -> CompiledSteps | None:
    """Return the compiled steps; None where they cannot be had, with the reason in the log."""
    sources = ("steps.cpp", "few.cpp", "int8.cpp")
    found = library(
        Code(
            "steps", sources, _FUNCTIONS, lambda made: _right(CompiledSteps(made)) and int8_right(made),
            gives={"sentvec_int8_fast": INT},
        )
    )  # fmt: skip
    return None if found is None else CompiledSteps(found)


def _right(steps: Steps) -> bool:
    """Compare one small layer's steps with torch's, before code from an unknown compiler is believed."""
    generator = torch.Generator().manual_seed(0)
    batch = pack([TokenIds([0] * n, [0] * n) for n in (1, 19, 40)])
    product = Product(torch.randn(60, 96, generator=generator))
    weight, bias = torch.randn(2, 96, generator=generator)
    norm = Norm(weight, bias, 1e-12)
    results = [
        (one.attend(product, batch, 2), one.add_norm(product, product.data, norm)[0], one.act(product, "gelu").data)
        for one in (steps, EagerSteps())
    ]
    return all(torch.allclose(found, expected, atol=1e-4) for found, expected in zip(*results, strict=True))


def _given(product: Product) -> tuple[int, int, int | None, int | None, int | None]:
    data = product.data
    assert data.is_contiguous(), "products come out of one matrix multiplication"
    return KINDS[data.dtype], data.data_ptr(), at(product.rows), at(product.columns), at(product.bias)


def _room(like: Tensor) -> Operand:
    return Operand(torch.empty(like.shape, dtype=torch.int8), torch.empty(like.shape[0]))
