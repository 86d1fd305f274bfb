"""Look at what happens inside an encoder: a probe goes in with the batch, and holds what it saw after."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Probe:
    """Collects hidden states, attention probabilities, queries, keys and values of one forward pass.

    Attributes:
        layers: which hidden states to keep: 0 is the output of the embeddings, i that of layer i.
            None keeps all of them (layers + 1).
        attention: whether to keep attention probabilities; they are computed once more for it, text by text.
        qkv: whether to keep queries, keys and values, as attention gets them: after rotation, where there is one.
        hidden_states: layer number -> (tokens, hidden).
        attentions: one entry a layer, from the first; each holds one tensor (heads, length, length)
            for every text, rows being queries: row i sums to one.
        projections: one entry a layer, from the first: queries, keys and values, each (tokens, heads, head_dim).
    """

    layers: Container[int] | None = None
    attention: bool = False
    qkv: bool = False
    hidden_states: dict[int, Tensor] = field(default_factory=dict)
    attentions: list[list[Tensor]] = field(default_factory=list)
    projections: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    @property
    def inside(self) -> bool:
        """Whether anything is asked for that only attention itself can show."""
        return self.attention or self.qkv

    def wants(self, layer: int) -> bool:
        """Say whether the hidden states of a layer were asked for."""
        return self.layers is None or layer in self.layers

    def hidden(self, layer: int, states: Tensor) -> None:
        """Keep the hidden states (tokens, hidden) of one layer, if they were asked for."""
        if self.wants(layer):
            self.hidden_states[layer] = states
