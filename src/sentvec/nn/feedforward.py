"""The feed-forward part of a layer: (tokens, hidden) in, (tokens, hidden) out."""

from __future__ import annotations

from torch import Tensor, nn

from sentvec.nn.activations import activation


class FeedForward(nn.Module):
    """Two linear maps with an activation between them.

    Args:
        hidden: width of the hidden states.
        intermediate: width between the two maps.
        act: the activation's name, as config.json writes it.
        dropout: dropped share of what the activation gives, in training; most architectures drop nothing there.
    """

    def __init__(self, *, hidden: int, intermediate: int, act: str, dropout: float = 0.0) -> None:
        super().__init__()
        self.up = nn.Linear(hidden, intermediate)
        self.down = nn.Linear(intermediate, hidden)
        self.act_name = act
        self.act = activation(act)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Map every token by itself."""
        out: Tensor = self.down(self.dropout(self.act(self.up(states))))
        return out


class GatedFeedForward(nn.Module):
    """Two linear maps side by side, one with an activation, multiplied; then a third (GLU, Shazeer 2020, 2002.05202).

    Args:
        hidden: width of the hidden states.
        intermediate: width of the product.
        act: name of the activation: GeGLU is "gelu", SwiGLU "silu", GLU "sigmoid".
        bias: whether the first two maps have biases.
        down_bias: whether the third has one; None is as the first two.
        gate_first: whether the map that is not activated comes first in the matrix of both.
        dropout: dropped share of the product in training.
    """

    def __init__(
        self,
        *,
        hidden: int,
        intermediate: int,
        act: str,
        bias: bool = False,
        down_bias: bool | None = None,
        gate_first: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.up = nn.Linear(hidden, 2 * intermediate, bias=bias)
        self.down = nn.Linear(intermediate, hidden, bias=bias if down_bias is None else down_bias)
        self.act = activation(act)
        self.gate_first = gate_first
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Map every token by itself."""
        first, second = self.up(states).chunk(2, dim=-1)  # each (tokens, intermediate)
        activated, gate = (second, first) if self.gate_first else (first, second)
        out: Tensor = self.down(self.dropout(self.act(activated) * gate))
        return out
