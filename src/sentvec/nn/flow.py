"""Vectors (seqs, dim) in, vectors of the same width out that are spread like a standard normal, by an invertible map.

A normalising flow after Glow (Kingma and Dhariwal 2018), as BERT-flow puts it behind an encoder (Li et al. 2020,
arXiv 2011.05864): steps of actnorm, a fixed random rotation in place of the 1x1 convolution, and additive coupling.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FlowStep(nn.Module):
    """One step: scale and shift each feature, turn the vector, and move one half of it by what the other half says.

    Args:
        dim: features of a vector, 2 or more.
        width: features between the two linear maps of the coupling.
    """

    turn: Tensor

    def __init__(self, *, dim: int, width: int) -> None:
        super().__init__()
        self.kept = dim // 2
        self.log_scale = nn.Parameter(torch.zeros(dim))
        self.shift = nn.Parameter(torch.zeros(dim))
        self.register_buffer("turn", torch.eye(dim))
        # without torch's own random numbers, so that making a flow does not move the user's
        self.read = nn.Linear(self.kept, width, device="meta").to_empty(device="cpu")
        self.move = nn.Linear(width, dim - self.kept, device="meta").to_empty(device="cpu")
        for tensor in (*self.read.parameters(), *self.move.parameters()):
            nn.init.zeros_(tensor)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (seqs, dim) to (seqs, dim)."""
        turned = (vectors * self.log_scale.exp() + self.shift) @ self.turn.T
        kept, moved = turned[..., : self.kept], turned[..., self.kept :]
        return torch.cat([kept, moved + self._by(kept)], dim=-1)

    def inverse(self, vectors: Tensor) -> Tensor:
        """Map what `forward` gives, (seqs, dim), back to what it was given."""
        kept, moved = vectors[..., : self.kept], vectors[..., self.kept :]
        turned = torch.cat([kept, moved - self._by(kept)], dim=-1)
        return (turned @ self.turn - self.shift) * (-self.log_scale).exp()

    @torch.no_grad()
    def begin(self, vectors: Tensor, random: torch.Generator) -> None:
        """Set scales and shifts so that these vectors (n, dim) get mean 0 and variance 1, and the rest by chance.

        The coupling reads at random and moves nothing yet, as in Glow.
        """
        self.log_scale.copy_(-vectors.std(dim=0).log())
        self.shift.copy_(-vectors.mean(dim=0) * self.log_scale.exp())
        self.turn.copy_(torch.linalg.qr(torch.randn(self.turn.shape, generator=random))[0])
        self.read.weight.copy_(torch.randn(self.read.weight.shape, generator=random) / math.sqrt(self.kept))

    def _by(self, kept: Tensor) -> Tensor:
        by: Tensor = self.move(torch.relu(self.read(kept)))
        return by


class Flow(nn.Module):
    """Several steps, one behind the other. As it is made, it changes nothing.

    Args:
        dim: features of a vector, 2 or more.
        depth: steps.
        width: features between the two linear maps of each coupling.
    """

    def __init__(self, *, dim: int, depth: int, width: int) -> None:
        super().__init__()
        self.in_dim = self.out_dim = dim
        self.depth, self.width = depth, width
        self.steps = nn.ModuleList(FlowStep(dim=dim, width=width) for _ in range(depth))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (seqs, dim) to (seqs, dim)."""
        for step in self.steps:
            vectors = step(vectors)
        return vectors

    def inverse(self, vectors: Tensor) -> Tensor:
        """Map what `forward` gives, (seqs, dim), back to what it was given."""
        for step in reversed(list(self._steps())):
            vectors = step.inverse(vectors)
        return vectors

    def log_determinant(self) -> Tensor:
        """Return the log of the factor by which volumes grow, a scalar: the same everywhere, for only scales change it.

        A rotation and a shift, of one half by the other too, leave volumes as they are.
        """
        return torch.stack([step.log_scale.sum() for step in self._steps()]).sum()

    def log_likelihood(self, vectors: Tensor) -> Tensor:
        """Return each vector's log density, (seqs,), where what comes out is standard normal."""
        out: Tensor = self(vectors)
        return self.log_determinant() - (out.square().sum(dim=-1) + self.in_dim * math.log(2 * math.pi)) / 2

    @torch.no_grad()
    def begin(self, vectors: Tensor, random: torch.Generator) -> None:
        """Begin every step with these vectors (n, dim), as the steps before it give them."""
        for step in self._steps():
            step.begin(vectors, random)
            vectors = step(vectors)

    def _steps(self) -> list[FlowStep]:
        return [step for step in self.steps if isinstance(step, FlowStep)]
