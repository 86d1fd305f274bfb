"""A stack of post-norm layers for encoding on a processor: states (tokens, hidden) in, (tokens, hidden) out.

Weights are packed once in the order in which oneDNN multiplies them, or quantised to int8, and everything between two
products is one pass over memory. Numbers are those of `PostNormLayer`, to rounding. There is no training here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentvec.batch import PackedBatch
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import FeedForward
from sentvec.nn.few import MOST, Layer, M, Map
from sentvec.nn.int8 import Int8Map
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.probe import Probe
from sentvec.nn.steps import Norm, Operand, Product, Steps, quantise, rotated_by

MULTIPLE = 16
"""Widths must be multiples of so many features: the lanes of the compiled steps."""

ACT_NAMES = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_python_tanh": "gelu_tanh", "relu": "relu",
}  # fmt: skip
"""Config.json's names of activations -> what steps call them."""


def fusible(layers: Sequence[nn.Module]) -> bool:
    """Say whether `FusedStack` computes what these layers do."""
    return bool(layers) and all(
        type(layer) is PostNormLayer
        and type(layer.attention) is SelfAttention
        and layer.attention.plain
        and type(layer.feed_forward) is FeedForward
        and layer.feed_forward.act_name in ACT_NAMES
        and layer.attention.qkv.in_features // layer.attention.heads % MULTIPLE == 0
        and layer.feed_forward.up.out_features % MULTIPLE == 0
        for layer in layers
    )


class FusedStack:
    """Post-norm layers, made ready once.

    It holds weights of its own and does not follow changes of the layers; `stale` tells.

    Args:
        layers: layers that are `fusible`, float32 or bfloat16, on the processor.
        steps: what runs between the products.
        int8: multiply int8: weights with one scale for each output feature, activations with one for each token.
            States stay in float32.
    """

    def __init__(self, layers: Sequence[nn.Module], steps: Steps, *, int8: bool = False) -> None:
        self._steps = steps
        self._int8 = int8
        self._made_from = _versions(layers)
        plain = [layer for layer in layers if isinstance(layer, PostNormLayer)]
        with torch.no_grad():  # a layer that runs more than once is made ready once
            ready = {layer: _Ready.of(layer, int8) for layer in dict.fromkeys(plain)}
        self._layers = [ready[layer] for layer in plain]
        packed = {layer: found for layer, one in ready.items() if (found := one.together()) is not None}
        self._few = steps.few([packed[layer] for layer in plain]) if len(packed) == len(ready) else None
        small = {layer: turned for layer, one in ready.items() if (turned := one.quantised()) is not None}
        self._whole = steps.int8([small[layer] for layer in plain]) if len(small) == len(ready) else None
        if self._whole is not None:
            self._layers = []  # it has weights of its own

    def stale(self, layers: Sequence[nn.Module]) -> bool:
        """Say whether weights have changed since."""
        return _versions(layers) != self._made_from

    def __call__(
        self, states: Tensor, batch: PackedBatch, probe: Probe | None = None, relative: Tensor | None = None
    ) -> Tensor:
        """Send the output of the embeddings through every layer.

        Args:
            states: (tokens, hidden), float32 or bfloat16.
            batch: the texts that they are of.
            probe: may ask for hidden states, not for attention.
            relative: what distances add to scores, see `kernels.attention`.
        """
        steps = self._steps
        tokens = len(states)
        if self._few is not None and 0 < tokens <= MOST and probe is None and relative is None:
            return self._few(states, batch)
        if self._int8:
            states = states.float()
        if self._whole is not None:
            return self._whole(states, batch, probe, relative)
        if probe is not None:
            probe.hidden(0, states)
        states = functional.pad(states, (0, 0, 0, rounded(tokens) - tokens)).contiguous()
        operand = steps.operand(states, self._int8)
        for number, layer in enumerate(self._layers, start=1):
            mixed = steps.attend(layer.qkv(operand), batch, layer.heads, relative)
            states, operand = steps.add_norm(
                layer.output(steps.operand(mixed, self._int8)), states, layer.attention_norm
            )
            inner = steps.act(layer.up(operand), layer.act)
            states, operand = steps.add_norm(layer.down(inner), states, layer.feed_forward_norm)
            if probe is not None:
                probe.hidden(number, states[:tokens])
        return states[:tokens]


def rounded(tokens: int) -> int:
    """Return the rows that so many tokens are multiplied with: a rest of rows without meaning is added.

    oneDNN makes and keeps code for each shape that it meets. Left to themselves, batches come in thousands of shapes,
    which took 200 MB for a long run in bfloat16. So there are eight to sixteen numbers of rows in each doubling, and
    never fewer than four: with one row alone, oneDNN adds up in another order.

    >>> [rounded(n) for n in (1, 17, 64, 65, 257, 700, 4000)]
    [4, 20, 64, 72, 288, 704, 4096]
    """
    step = 1 << min(7, max(2, (tokens - 1).bit_length() - 4))
    return -(-tokens // step) * step


class _Packed:
    """A linear map in float32 or bfloat16, packed where torch offers it."""

    def __init__(self, linear: nn.Linear) -> None:
        self._weight = linear.weight.detach()
        self._bias = linear.bias.detach()
        self._packed: Tensor | None = None
        if hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and torch._C._has_mkldnn:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight.contiguous(), None)

    @property
    def together(self) -> Map | None:
        """What one call for all layers needs; None where weights are not packed."""
        if self._packed is None:
            return None
        return Map(self._packed, self._bias, lambda states: self(Operand(states)).data)

    def __call__(self, operand: Operand) -> Product:
        if self._packed is None:
            return Product(functional.linear(operand.data, self._weight, self._bias))
        return Product(torch.ops.mkldnn._linear_pointwise(operand.data, self._packed, self._bias, "none", [], ""))


class _Quantised:
    """A linear map in int8, with one scale for each output feature."""

    def __init__(self, linear: nn.Linear) -> None:
        weight = linear.weight.detach().float()
        turned = quantise(weight)  # a row of weights is an output feature
        assert turned.rows is not None
        scale = turned.rows / rotated_by(weight.shape[1])
        self.together = Int8Map(turned.data, scale, linear.bias.detach().float())

    def __call__(self, operand: Operand) -> Product:
        own = self.together
        return Product(torch._int_mm(operand.data, own.weight.t()), operand.rows, own.scale, own.bias)


@dataclass(frozen=True)
class _Ready:
    """One layer, ready to run."""

    heads: int
    act: str
    qkv: _Packed | _Quantised
    output: _Packed | _Quantised
    attention_norm: Norm
    up: _Packed | _Quantised
    down: _Packed | _Quantised
    feed_forward_norm: Norm

    @classmethod
    def of(cls, layer: PostNormLayer, int8: bool) -> _Ready:
        make = _Quantised if int8 else _Packed
        assert isinstance(layer.attention, SelfAttention), "see fusible"
        assert isinstance(layer.feed_forward, FeedForward), "see fusible"
        return cls(
            heads=layer.attention.heads,
            act=ACT_NAMES[layer.feed_forward.act_name],
            qkv=make(layer.attention.qkv),
            output=make(layer.attention.output),
            attention_norm=_norm(layer.attention_norm),
            up=make(layer.feed_forward.up),
            down=make(layer.feed_forward.down),
            feed_forward_norm=_norm(layer.feed_forward_norm),
        )

    def together(self) -> Layer[Map] | None:
        """Return the layer for one call with all others; None where its weights are not packed."""
        return self._layer([one.together for one in self._maps() if isinstance(one, _Packed)])

    def quantised(self) -> Layer[Int8Map] | None:
        """Return the same in int8; None where it is not."""
        return self._layer([one.together for one in self._maps() if isinstance(one, _Quantised)])

    def _maps(self) -> tuple[_Packed | _Quantised, ...]:
        return self.qkv, self.output, self.up, self.down

    def _layer(self, maps: Sequence[M | None]) -> Layer[M] | None:
        found = [one for one in maps if one is not None]
        if len(found) < len(self._maps()):
            return None
        first, second = self.attention_norm, self.feed_forward_norm
        norms = ((first.weight, first.bias, first.eps), (second.weight, second.bias, second.eps))
        qkv, output, up, down = found
        return Layer((qkv, output, up, down), norms, self.heads, self.act)


def _norm(norm: nn.LayerNorm) -> Norm:
    # clones, so that they keep what the packed weights keep
    return Norm(norm.weight.detach().float().clone(), norm.bias.detach().float().clone(), norm.eps)


def _versions(layers: Sequence[nn.Module]) -> list[tuple[int, int]]:
    """Return what changes when a parameter is written to or replaced."""
    found, waiting = [], list[nn.Module | None](dict.fromkeys(layers))
    while waiting:  # by hand: this is asked for every batch, and `parameters()` takes longer than a layer
        module = waiting.pop()
        if module is not None:
            waiting.extend(module._modules.values())
            found += [(p.data_ptr(), p._version) for p in module._parameters.values() if p is not None]
    return found
