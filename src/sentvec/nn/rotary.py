"""Rotary positions: queries and keys in, the same turned by an angle that grows with each token's place out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rotary:
    """Rotary position embedding (Su et al. 2021, arXiv 2104.09864), feature i paired with feature i + head_dim / 2.

    Attributes:
        base: how slowly the slowest pair turns: pair i turns by base ** (-2 i / head_dim) radians a token.
        neighbours: whether feature 2 i is paired with feature 2 i + 1 instead.
        values: whether values are turned too.
        exact: whether angles are computed in float64. References that turn by a table made so need it.
    """

    base: float
    neighbours: bool = False
    values: bool = False
    exact: bool = False

    def __call__(self, states: Tensor, positions: Tensor) -> Tensor:
        """Turn queries or keys; their products then depend on the distance of two tokens only.

        Args:
            states: (tokens, ..., head_dim), head_dim even.
            positions: place of each token in its own text, (tokens,) int64.

        Returns:
            What came in, turned: the same shape and number format.
        """
        head_dim = states.shape[-1]
        angles = _angles(positions, head_dim, self.base, exact=self.exact)
        angles = angles.view(-1, *[1] * (states.ndim - 2), head_dim // 2)
        cos, sin = angles.cos().float(), angles.sin().float()
        if self.neighbours:
            first, second = states[..., ::2], states[..., 1::2]
        else:
            first, second = states.chunk(2, dim=-1)
        parts = first * cos - second * sin, second * cos + first * sin
        turned = torch.stack(parts, dim=-1).flatten(-2) if self.neighbours else torch.cat(parts, dim=-1)
        return turned.to(states.dtype)


def sines(places: int, head_dim: int, base: float) -> Tensor:
    """Return the table of angles that some checkpoints hold: sines, then cosines, (places, head_dim) float32."""
    angles = _angles(torch.arange(places), head_dim, base, exact=True)
    return torch.cat((angles.sin(), angles.cos()), dim=-1).float()


def _angles(positions: Tensor, head_dim: int, base: float, *, exact: bool) -> Tensor:
    """Return (tokens, head_dim / 2), in float64 where `exact`, else in float32."""
    if exact and positions.device.type == "mps":  # which has no float64
        return _angles(positions.cpu(), head_dim, base, exact=True).float().to(positions.device)
    # in float32 at least, whatever the model's format: half precision cannot tell place 8,000 from its neighbours
    dtype = torch.float64 if exact else torch.float32
    steps = torch.arange(0, head_dim, 2, dtype=dtype, device=positions.device) / head_dim
    places = positions[:, None].to(dtype)
    # which of the two rounds as the references do
    return places / base**steps if exact else places * (1.0 / base**steps)
