"""Stacks of layers and batches for tests, seeded."""

from __future__ import annotations

import torch
from torch import nn

from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import FeedForward
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.stack import Layers

LENGTHS = (1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 65, 130)
"""Around every boundary of the compiled attention's blocks."""


def batch_of(lengths=LENGTHS) -> PackedBatch:
    return pack([TokenIds([5] * n, [0] * n) for n in lengths])


def states_of(batch: PackedBatch, hidden: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(sum(batch.lengths), hidden, generator=torch.Generator().manual_seed(seed))


def layers_of(count=3, *, hidden=64, heads=2, intermediate=128, act="gelu", seed=0) -> Layers:
    torch.manual_seed(seed)
    layers = Layers(
        PostNormLayer(
            SelfAttention(hidden=hidden, heads=heads),
            FeedForward(hidden=hidden, intermediate=intermediate, act=act),
            hidden=hidden,
            norm_eps=1e-12,
        )
        for _ in range(count)
    )
    for module in layers.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, 0.0, 0.2)
    return layers.eval()
