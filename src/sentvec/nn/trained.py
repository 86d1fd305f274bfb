"""A stack of post-norm layers for training on a processor: states (tokens, hidden) in, (tokens, hidden) out.

Forward and backward are written out: matrix products, and one pass over memory between two of them. Gradients are
those of `PostNormLayer` to rounding. Dropout drops other numbers than torch's would, from a seed that torch's generator
gives: whoever restores the generator's state repeats a pass exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import FeedForward
from sentvec.nn.fused import ACT_NAMES, fusible
from sentvec.nn.gradients import Gradients, listened
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.passes import Dropout, Normed, Passes, with_room
from sentvec.nn.probe import Probe
from sentvec.nn.products import Products

SITES = 3
"""Places in a layer at which something is dropped: probabilities, and the outputs of both parts."""


def trainable(layers: Sequence[nn.Module]) -> bool:
    """Say whether `TrainedStack` computes what these layers do, and everybody who listens to them hears it."""
    return fusible(layers) and all(_plain(module) for layer in layers for module in layer.modules())


def _plain(module: nn.Module) -> bool:
    if listened(module):
        return False
    if isinstance(module, nn.Linear | nn.LayerNorm):
        if type(module) not in (nn.Linear, nn.LayerNorm) or module.bias is None:
            return False
        return all(p.dtype == torch.float32 and p.device.type == "cpu" for p in (module.weight, module.bias))
    return not isinstance(module, FeedForward) or module.dropout.p == 0


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer: its parts under their types, and what they compute with."""

    module: PostNormLayer
    attention: SelfAttention
    feed_forward: FeedForward
    act: str

    @classmethod
    def of(cls, layer: nn.Module) -> _Layer:
        assert isinstance(layer, PostNormLayer), "see trainable"
        assert isinstance(layer.attention, SelfAttention), "see trainable"
        assert isinstance(layer.feed_forward, FeedForward), "see trainable"
        return cls(layer, layer.attention, layer.feed_forward, ACT_NAMES[layer.feed_forward.act_name])

    def parameters(self) -> list[nn.Parameter]:
        """Return what learns, in the order of the numbers below."""
        layer = self.module
        parts = (
            self.attention.qkv, self.attention.output, layer.attention_norm,
            self.feed_forward.up, self.feed_forward.down, layer.feed_forward_norm,
        )  # fmt: skip
        return [p for part in parts for p in part.parameters()]


PARAMETERS = 12
QKV, OUTPUT, ATTENTION_NORM, UP, DOWN, FEED_FORWARD_NORM = range(0, PARAMETERS, 2)


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a layer begins with, all that is kept of one that runs again; (tokens, hidden), float32 and as operand."""

    states: Tensor
    operand: Tensor


@dataclass(frozen=True, slots=True)
class _Kept:
    """What one layer keeps for the way back; operands and products, (tokens, their width)."""

    states: Tensor
    qkv: Tensor
    mixed: Tensor
    attention_norm: Normed
    middle: Tensor
    acted: Tensor
    slopes: Tensor
    feed_forward_norm: Normed


class TrainedStack:
    """Post-norm layers that are `trainable`.

    Args:
        layers: the layers in the order in which they run; one may run more than once.
        passes: what runs between the products.
        again: keep only what each layer begins with, and run it again on the way back (Chen et al. 2016, arXiv
            1604.06174).
    """

    def __init__(self, layers: Sequence[nn.Module], passes: Passes, *, again: bool = False) -> None:
        self._layers = list(layers)
        self._passes = passes
        self.again = again

    def __call__(
        self, states: Tensor, batch: PackedBatch, probe: Probe | None = None, relative: Tensor | None = None
    ) -> Tensor:
        """Send the output of the embeddings through every layer, in bfloat16 where torch's autocast says so.

        Args:
            states: (tokens, hidden).
            batch: the texts that they are of.
            probe: may ask for hidden states, not for attention; gradients go through them too.
            relative: what distances add to scores, see `kernels.attention`; it learns.

        Returns:
            (tokens, hidden), float32.
        """
        half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        layers = [_Layer.of(layer) for layer in self._layers]
        drops = any(x.module.dropout.p or x.attention.dropout for x in layers)
        seed = int(torch.randint(2**62, (), dtype=torch.int64)) if drops else 0
        inner = () if probe is None else tuple(n for n in range(1, len(layers)) if probe.wants(n))
        products, versions = self._passes.products(half), versions_of(self._layers)
        near = None if relative is None else with_room(relative)
        run = _Run(layers, batch, seed, half, inner, self._passes, products, versions, self.again)
        parameters = [p for layer in dict.fromkeys(layers) for p in layer.parameters()]
        outs: tuple[Tensor, ...] = _Stack.apply(run, states, near, *parameters)  # type: ignore[no-untyped-call]
        if probe is not None:
            for number, hidden in zip((0, *inner, len(layers)), (states, *outs), strict=True):
                probe.hidden(number, hidden)
        return outs[-1]


def versions_of(layers: Sequence[nn.Module]) -> list[tuple[int, int]]:
    """Return what changes when a parameter is written to or replaced."""
    return [(p.data_ptr(), p._version) for layer in layers for p in layer.parameters()]


@dataclass(frozen=True, slots=True)
class _Run:
    """One pass through a stack; `inner` are the numbers of layers, from 1, whose states are shown."""

    layers: list[_Layer]
    batch: PackedBatch
    seed: int
    half: bool
    inner: tuple[int, ...]
    passes: Passes
    products: Products
    versions: list[tuple[int, int]]
    again: bool

    def dropouts(self, number: int) -> tuple[Dropout, Dropout, Dropout]:
        """Return what is dropped in the layer that runs as number `number`."""
        layer = self.layers[number]
        attention = layer.attention.dropout if layer.attention.training else 0.0
        hidden = layer.module.dropout.p if layer.module.dropout.training else 0.0
        shares = attention, hidden, hidden
        a, b, c = (Dropout(share, self.seed, SITES * number + i) for i, share in enumerate(shares))
        return a, b, c

    def forward(self, states: Tensor, near: Tensor | None) -> tuple[list[Tensor], list[_Kept | _Begun]]:
        """Return the states that are shown and the last, (tokens, hidden) float32, and what each layer keeps."""
        states = states.float().contiguous()
        begun = _Begun(states, states.bfloat16() if self.half else states)
        outs: list[Tensor] = []
        kept: list[_Kept | _Begun] = []
        for number in range(len(self.layers)):
            after, more = self.layer(number, begun, near)
            kept.append(begun if self.again else more)
            begun = after
            if number + 1 in (*self.inner, len(self.layers)):
                outs.append(begun.states)
        return outs, kept

    def layer(self, number: int, begun: _Begun, near: Tensor | None) -> tuple[_Begun, _Kept]:
        """Run one layer: return what the next begins with, and what this one keeps."""
        passes, products, layer = self.passes, self.products, self.layers[number]
        attention, feed_forward = layer.attention, layer.feed_forward
        dropouts = self.dropouts(number)
        product = products.linear(begun.operand, attention.qkv)
        mixed = passes.attend(product, self.batch, attention.heads, dropouts[0], near)
        states, middle, one = passes.add_norm(
            products.linear(mixed, attention.output), begun.states, layer.module.attention_norm, dropouts[1]
        )
        acted, slopes = products.activated(middle, feed_forward.up, layer.act)
        states, operand, two = passes.add_norm(
            products.linear(acted, feed_forward.down), states, layer.module.feed_forward_norm, dropouts[2]
        )
        return _Begun(states, operand), _Kept(begun.operand, product, mixed, one, middle, acted, slopes, two)


class _Stack(torch.autograd.Function):
    """The stack and its gradient."""

    @staticmethod
    def forward(ctx: Any, run: _Run, states: Tensor, near: Tensor | None, *parameters: Tensor) -> tuple[Tensor, ...]:
        outs, kept = run.forward(states, near)
        ctx.run, ctx.kept, ctx.near, ctx.dtype = run, kept, near, states.dtype
        ctx.set_materialize_grads(False)
        return tuple(outs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *ds: Tensor | None) -> tuple[Tensor | None, ...]:
        run: _Run = ctx.run
        wanted = ctx.needs_input_grad[1:]
        if versions_of([layer.module for layer in run.layers]) != run.versions:
            raise RuntimeError("weights were changed between a forward pass and its backward pass. Step after both.")
        back = _Back(run, ctx.near, wanted[1], wanted[2:])
        found = back(dict(zip((*run.inner, len(run.layers)), ds, strict=True)), ctx.kept, wanted[0])
        return None, None if found is None else found.to(ctx.dtype), back.near_total, *back.gradients.found


class _Back:
    """One way back through a stack: gathers the gradients of parameters, and of what distances add."""

    def __init__(self, run: _Run, near: Tensor | None, near_learns: bool, wanted: Sequence[bool]) -> None:
        self._run = run
        distinct = list(dict.fromkeys(run.layers))
        self._first = {layer.module: PARAMETERS * number for number, layer in enumerate(distinct)}
        self.gradients = Gradients([p for layer in distinct for p in layer.parameters()], wanted)
        self._near = near
        self.near_total = torch.zeros_like(near) if near is not None and near_learns else None

    def __call__(self, ds: dict[int, Tensor | None], kept: list[_Kept | _Begun], wanted: bool) -> Tensor | None:
        """Return the gradient of the first states, if it is wanted; layers below all that learns are left out.

        Args:
            ds: gradients of the states that were shown, by the number of their layer, from 1.
            kept: what layers kept.
            wanted: whether what came in learns.
        """
        every = wanted or self.near_total is not None
        first = 0 if every else next((i for i, x in enumerate(self._run.layers) if self._learns(x)), len(kept))
        d: Tensor | None = None
        for number in reversed(range(first, len(kept))):
            shown = ds.get(number + 1)
            if shown is not None:
                d = shown.float().contiguous() if d is None else d.add_(shown)
            if d is not None:
                here = kept[number]
                if isinstance(here, _Begun):
                    here = self._run.layer(number, here, self._near)[1]
                d = self._layer(number, d, here, wanted or number > first)
        return d if wanted else None

    def _learns(self, layer: _Layer) -> bool:
        first = self._first[layer.module]
        return any(self.gradients.wants(first + i) for i in range(PARAMETERS))

    def _layer(self, number: int, d: Tensor, kept: _Kept, further: bool) -> Tensor:
        run, passes, products = self._run, self._run.passes, self._run.products
        layer = run.layers[number]
        module, attention, feed_forward = layer.module, layer.attention, layer.feed_forward
        dropouts = run.dropouts(number)
        d, product, *norm = passes.norm_back(d, kept.feed_forward_norm, module.feed_forward_norm, dropouts[2])
        self._norm(layer, FEED_FORWARD_NORM, norm)
        inner = products.back_sloped(product, feed_forward.down, kept.slopes)
        self._map(layer, DOWN, product, kept.acted)
        products.back_into(inner, feed_forward.up, d)
        self._map(layer, UP, inner, kept.middle)
        d, product, *norm = passes.norm_back(d, kept.attention_norm, module.attention_norm, dropouts[1])
        self._norm(layer, ATTENTION_NORM, norm)
        mixed = products.back(product, attention.output)
        self._map(layer, OUTPUT, product, kept.mixed)
        product = passes.attend_back(
            kept.qkv, mixed, run.batch, attention.heads, dropouts[0], self._near, self.near_total
        )
        self._map(layer, QKV, product, kept.states)
        if further:
            products.back_into(product, attention.qkv, d)
        return d

    def _map(self, layer: _Layer, part: int, d: Tensor, x: Tensor) -> None:
        """Gradients of a linear map, whose outputs' gradient is `d` and whose input was `x`."""
        at = self._first[layer.module] + part
        if self.gradients.wants(at) or self.gradients.wants(at + 1):
            matrix, add = self.gradients.room(at)
            bias, add_bias = self.gradients.room(at + 1)
            self._run.products.outer(d, x, matrix, bias, add, add_bias)

    def _norm(self, layer: _Layer, part: int, found: Sequence[Tensor]) -> None:
        for at, gradient in enumerate(found, start=self._first[layer.module] + part):
            self.gradients.add(at, gradient)
