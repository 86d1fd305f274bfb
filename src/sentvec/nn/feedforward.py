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
    """

    def __init__(self, *, hidden: int, intermediate: int, act: str) -> None:
        super().__init__()
        self.up = nn.Linear(hidden, intermediate)
        self.down = nn.Linear(intermediate, hidden)
        self.act_name = act
        self.act = activation(act)

    def forward(self, states: Tensor) -> Tensor:
        """Map every token by itself."""
        out: Tensor = self.down(self.act(self.up(states)))
        return out
