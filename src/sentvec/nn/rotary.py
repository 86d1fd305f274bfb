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
    """

    base: float

    def __call__(self, states: Tensor, positions: Tensor) -> Tensor:
        """Turn queries or keys; their products then depend on the distance of two tokens only.

        Args:
            states: (tokens, ..., head_dim), head_dim even.
            positions: place of each token in its own text, (tokens,) int64.

        Returns:
            What came in, turned: the same shape and number format.
        """
        head_dim = states.shape[-1]
        # in float32 whatever the model's format: half precision cannot tell place 8,000 from its neighbours
        steps = torch.arange(0, head_dim, 2, dtype=torch.float32, device=states.device) / head_dim
        angles = positions[:, None].float() * (1.0 / self.base**steps)  # (tokens, head_dim / 2)
        angles = angles.view(-1, *[1] * (states.ndim - 2), head_dim // 2)
        cos, sin = angles.cos(), angles.sin()
        first, second = states.chunk(2, dim=-1)
        turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
        return turned.to(states.dtype)
