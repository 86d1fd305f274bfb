"""What happens to vectors after pooling: (seqs, dim) in, (seqs, dim) out."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def normalize(vectors: Tensor) -> Tensor:
    """Scale each vector to length one; a zero vector stays zero.

    >>> import torch
    >>> normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    return functional.normalize(vectors, dim=-1)


def truncate(vectors: Tensor, dim: int) -> Tensor:
    """Keep the first `dim` features (Kusupati et al. 2022, Matryoshka representations)."""
    return vectors[..., :dim]
