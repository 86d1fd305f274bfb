"""What lies between the matrix products of a training step, in C++: one pass over memory each, forward and backward.

Dropout is not stored. Where it applies is told by a seed and the number of its place in the encoder, and every pass
that needs it draws it again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.nn.kernels import attention
from sentvec.nn.library import COUNT, DOUBLE, FLOAT, INT, KINDS, POINTER, Code, at, library
from sentvec.nn.products import CompiledProducts, Products, TorchProducts
from sentvec.nn.steps import LANES

_DROPOUT = [FLOAT, COUNT, COUNT]
_FUNCTIONS: dict[str, list[Any]] = {
    "sentvec_train_norm": [
        INT, POINTER, POINTER, *_DROPOUT, POINTER, POINTER, FLOAT, COUNT, COUNT, POINTER, POINTER, POINTER, POINTER,
    ],
    "sentvec_norm_back": [
        INT, POINTER, POINTER, POINTER, POINTER, *_DROPOUT, COUNT, COUNT, POINTER, POINTER, POINTER,
    ],
    "sentvec_train_attention": [
        INT, POINTER, POINTER, COUNT, COUNT, FLOAT, POINTER, COUNT, POINTER, COUNT, *_DROPOUT, POINTER, POINTER,
    ],
    "sentvec_drop": [POINTER, *_DROPOUT, COUNT, COUNT, POINTER],
    "sentvec_embed": [
        POINTER, POINTER, COUNT, *_DROPOUT, POINTER, POINTER, FLOAT, COUNT, COUNT, POINTER, POINTER, POINTER,
    ],
    "sentvec_scatter": [POINTER, POINTER, COUNT, COUNT, POINTER],
    "sentvec_length": [POINTER, POINTER, COUNT],
    "sentvec_adamw": [POINTER] * 5 + [COUNT] + [POINTER] * 3 + [DOUBLE] * 4,
    "sentvec_fast": [INT],
    "sentvec_linear": [INT, POINTER, COUNT, POINTER, COUNT, COUNT, POINTER, INT, POINTER, POINTER],
    "sentvec_back": [INT, POINTER, COUNT, POINTER, COUNT, COUNT, POINTER, POINTER, INT],
    "sentvec_outer": [INT, POINTER, POINTER, COUNT, COUNT, COUNT, POINTER, POINTER, INT, INT],
}  # fmt: skip
_GIVES = {"sentvec_fast": INT, "sentvec_length": DOUBLE}


ROOM = 2 * LANES


@dataclass(frozen=True, slots=True)
class Dropout:
    """One place of an encoder at which numbers are dropped, in one forward pass.

    Attributes:
        share: how many, 0 to 1.
        seed: the pass's; any 63 bits.
        site: the place's number.
    """

    share: float
    seed: int
    site: int


@dataclass(frozen=True, slots=True)
class Normed:
    """What a normalisation keeps for the way back.

    Attributes:
        numbers: normalised, before weight and bias, (tokens, hidden) of the products' kind.
        scales: what they were multiplied with, (tokens,) float32.
    """

    numbers: Tensor
    scales: Tensor


@dataclass(frozen=True, slots=True)
class Moved:
    """A parameter that an optimiser moves; tensors are float32 and contiguous.

    Attributes:
        weights: the parameter.
        gradient: its gradient.
        mean: moving mean of its gradients.
        square: moving mean of their squares.
        rate: learning rate.
        decay: weight decay.
        step: number of this step, from 1.
    """

    weights: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    rate: float
    decay: float
    step: float


class Passes:
    """The passes. Products and what goes into them are float32 or bfloat16, states and their gradients float32.

    Features of a head, of the states and of the intermediate layer come in multiples of 16.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def products(self, half: bool) -> Products:
        """Return the fastest products for bfloat16 (`half`) or float32 on this processor."""
        amx = half and torch.cpu.get_capabilities().get("amx_bf16", False)
        own = not amx and self._library.sentvec_fast(int(half))
        return CompiledProducts(self._library) if own else TorchProducts()

    def attend(
        self, qkv: Tensor, batch: PackedBatch, heads: int, dropout: Dropout, near: Tensor | None = None
    ) -> Tensor:
        """Attention of queries, keys and values side by side, (tokens, 3 * hidden) -> (tokens, hidden).

        `near` is what distances add to scores, see `kernels.attention`, as `with_room` gives it.
        """
        out = qkv.new_empty(len(qkv), qkv.shape[1] // 3)
        self._attend(qkv, None, batch, heads, dropout, out, near, None)
        return out

    def attend_back(
        self,
        qkv: Tensor,
        d: Tensor,
        batch: PackedBatch,
        heads: int,
        dropout: Dropout,
        near: Tensor | None = None,
        near_total: Tensor | None = None,
    ) -> Tensor:
        """Gradient of what `attend` gave -> gradient of what it took. Probabilities are computed once more.

        That of `near` is added to `near_total`.
        """
        out = torch.empty_like(qkv)
        self._attend(qkv, d, batch, heads, dropout, out, near, near_total)
        return out

    def add_norm(
        self, product: Tensor, states: Tensor, norm: nn.LayerNorm, dropout: Dropout
    ) -> tuple[Tensor, Tensor, Normed]:
        """Drop, add to the states, normalise: the next states, the same as the next operand, and what is kept."""
        out = torch.empty_like(states)
        operand = out if product.dtype == torch.float32 else torch.empty_like(product)
        kept = Normed(torch.empty_like(product), states.new_empty(len(states)))
        self._library.sentvec_train_norm(
            KINDS[product.dtype], at(product), at(states), *_of(dropout), at(norm.weight), at(norm.bias), norm.eps,
            *states.shape, at(out), at(operand), at(kept.numbers), at(kept.scales),
        )  # fmt: skip
        return out, operand, kept

    def norm_back(
        self, d: Tensor, kept: Normed, norm: nn.LayerNorm, dropout: Dropout
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradient of `add_norm`'s states -> gradients of the states it took, its product, and the norm's weights."""
        out, dropped = torch.empty_like(d), torch.empty_like(kept.numbers)
        sums = d.new_empty(2, d.shape[1])
        self._library.sentvec_norm_back(
            KINDS[kept.numbers.dtype], at(d), at(kept.numbers), at(kept.scales), at(norm.weight), *_of(dropout),
            *d.shape, at(out), at(dropped), at(sums),
        )  # fmt: skip
        return out, dropped, sums[0], sums[1]

    def embed(
        self, lookups: Sequence[tuple[Tensor, Tensor | None]], norm: nn.LayerNorm, dropout: Dropout
    ) -> tuple[Tensor, Normed]:
        """Add up rows of tables, normalise, drop: states (tokens, hidden) float32, and what is kept.

        Args:
            lookups: tables (rows, hidden) float32, and the row for every token, (tokens,) int64, or None: the first.
            norm: the normalisation.
            dropout: what is dropped.
        """
        tokens = next(len(rows) for _, rows in lookups if rows is not None)
        out = torch.empty(tokens, lookups[0][0].shape[1])
        kept = Normed(torch.empty_like(out), out.new_empty(tokens))
        tables = (POINTER * len(lookups))(*(at(table) for table, _ in lookups))
        indices = (POINTER * len(lookups))(*(at(rows) for _, rows in lookups))
        self._library.sentvec_embed(
            tables, indices, len(lookups), *_of(dropout), at(norm.weight), at(norm.bias), norm.eps, *out.shape,
            at(out), at(kept.numbers), at(kept.scales),
        )  # fmt: skip
        return out, kept

    def scatter(self, x: Tensor, rows: Tensor | None, table: Tensor) -> None:
        """Add (tokens, hidden) to rows of a table, float32; None adds all to the first."""
        self._library.sentvec_scatter(at(x), at(rows), *x.shape, at(table))

    def length(self, gradients: Sequence[Tensor]) -> float:
        """Return the length of float32 tensors, taken as one vector."""
        sizes = (COUNT * len(gradients))(*(g.numel() for g in gradients))
        found: float = self._library.sentvec_length(_all(gradients), sizes, len(gradients))
        return found

    def adamw(self, moved: Sequence[Moved], betas: tuple[float, float], eps: float, scale: float) -> None:
        """Move parameters by AdamW (Loshchilov & Hutter 2019), their gradients multiplied with `scale`."""
        count = len(moved)
        kinds = [[getattr(x, name) for x in moved] for name in ("weights", "gradient", "mean", "square")]
        numbers = [(DOUBLE * count)(*(getattr(x, name) for x in moved)) for name in ("rate", "decay", "step")]
        sizes = (COUNT * count)(*(x.weights.numel() for x in moved))
        self._library.sentvec_adamw(*map(_all, kinds), sizes, count, *numbers, *betas, eps, scale)

    def drop(self, x: Tensor, dropout: Dropout) -> Tensor:
        """Drop numbers of (tokens, hidden) float32, or of its gradient."""
        out = torch.empty_like(x)
        self._library.sentvec_drop(at(x), *_of(dropout), *x.shape, at(out))
        return out

    def _attend(
        self,
        qkv: Tensor,
        d: Tensor | None,
        batch: PackedBatch,
        heads: int,
        dropout: Dropout,
        out: Tensor,
        near: Tensor | None,
        near_total: Tensor | None,
    ) -> None:
        dim = qkv.shape[1] // 3 // heads
        offsets = batch.offsets.contiguous()
        reach = 0 if near is None else (near.shape[1] - ROOM + 1) // 2
        assert near is None or (reach >= batch.longest and len(near) == heads)
        self._library.sentvec_train_attention(
            KINDS[qkv.dtype], at(qkv), at(d), heads, dim, dim**-0.5, at(near), reach, at(offsets), len(batch),
            *_of(dropout), at(out), at(near_total),
        )  # fmt: skip


def with_room(relative: Tensor) -> Tensor:
    """Return (heads, 2 * reach - 1) in float32 with room behind each row: queries go in blocks that look beyond it."""
    return functional.pad(relative.float(), (0, ROOM)).contiguous()


@cache
def passes() -> Passes | None:
    """Return the compiled passes; None where they cannot be had, with the reason in the log."""
    sources = ("training.cpp", "products.cpp", "adamw.cpp")
    found = library(Code("training", sources, _FUNCTIONS, _right, gives=_GIVES, without="Training"))
    return None if found is None else Passes(found)


def _right(made: ctypes.CDLL) -> bool:
    """Compare attention, its gradient, and a product with torch's."""
    generator = torch.Generator().manual_seed(0)
    batch = pack([TokenIds([0] * n, [0] * n) for n in (1, 19, 40)])
    one, none = Passes(made), Dropout(0.0, 0, 0)
    qkv = torch.randn(60, 96, generator=generator).requires_grad_()
    d = torch.randn(60, 32, generator=generator)
    q, k, v = qkv.view(60, 3, 2, 16).unbind(1)
    with torch.enable_grad():
        mixed = attention(q, k, v, batch.lengths).reshape(60, 32)
    (slope,) = torch.autograd.grad(mixed, qkv, d)
    with torch.no_grad():
        linear = nn.Linear(32, 48, device="meta").to_empty(device="cpu")  # the caller's random numbers stay as they are
        for parameter in linear.parameters():
            parameter.normal_(generator=generator)
        found, expected = (x.activated(d, linear, "gelu")[0] for x in (CompiledProducts(made), TorchProducts()))
        pairs = [
            (one.attend(qkv.detach(), batch, 2, none), mixed.detach()),
            (one.attend_back(qkv.detach(), d, batch, 2, none), slope),
            (found, expected),
        ]
    return all(torch.allclose(a, b, atol=1e-4) for a, b in pairs)


def _of(dropout: Dropout) -> tuple[float, int, int]:
    return dropout.share, dropout.seed, dropout.site


def _all(tensors: Sequence[Tensor]) -> ctypes.Array[Any]:
    return (POINTER * len(tensors))(*map(at, tensors))
