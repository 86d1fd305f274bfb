"""BERT's own pooler: the first token's state of each text (seqs, hidden) in, (seqs, hidden) out."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pooler(nn.Module):
    """A linear map and tanh, trained on next-sentence prediction (Devlin et al. 2018)."""

    def __init__(self, *, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)

    def forward(self, first: Tensor) -> Tensor:
        """Map first-token states (seqs, hidden) to pooled outputs (seqs, hidden)."""
        return torch.tanh(self.dense(first))
