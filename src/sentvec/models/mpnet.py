"""MPNet (Song et al. 2020, arXiv 2004.09297): a packed batch in, hidden states (tokens, hidden) out.

BERT's layers, RoBERTa's layout and positions, no token types, and what distances add to attention's scores, one table
for all layers (Raffel et al. 2019, arXiv 1910.10683, section 2.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.bert import embeddings_of, layer_of
from sentvec.models.config import BERT_KEYS, EncoderConfig, Keys, read_config
from sentvec.models.head_table import roberta_heads
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe
from sentvec.nn.stack import Layers

BUCKETS = 32
"""Rows of the table that are used. The reference takes so many whatever config.json says."""
FAR = 128
"""Tokens from which on all distances share one row."""


@dataclass(frozen=True, kw_only=True)
class MPNetNumbers:
    """What MPNet has beyond BERT.

    Attributes:
        buckets: rows of the table of distances, at least `BUCKETS`.
    """

    buckets: int = BUCKETS


KEYS: Keys = MappingProxyType(
    {field: key for field, key in BERT_KEYS.items() if field != "types"}
    | {"buckets": ("relative_attention_num_buckets", int)}
)


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json. Positions begin at row 2 whatever the padding id: the reference has the 1 before it fixed."""
    numbers = read_config(raw, KEYS, types=0, position_offset=2, own=MPNetNumbers)
    if numbers.own.buckets < BUCKETS:
        raise ConfigError(
            f"config.json cannot be used: relative_attention_num_buckets is {numbers.own.buckets}, but MPNet uses "
            f"{BUCKETS} rows of that table, and the reference fails with fewer."
        )
    return numbers


class MPNetEncoder(nn.Module):
    """Embeddings, a stack of post-norm layers that share a table of distances and, where there is one, the pooler.

    Args:
        config: the encoder's numbers.
        add_pooling_layer: whether to build the pooler.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = embeddings_of(config)
        self.distance_table = nn.Embedding(config.own.buckets, config.heads)
        self.layers = Layers(layer_of(config) for _ in range(config.layers))
        self.pooler = Pooler(hidden=config.hidden) if add_pooling_layer else None

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch: (tokens, hidden). Arguments are those of `BertEncoder`."""
        longest = batch.longest
        distances = torch.arange(1 - longest, longest, device=batch.ids.device)
        relative = self.distance_table(bucket(distances)).t()  # (heads, 2 * longest - 1)
        out: Tensor = self.layers(self.embeddings(batch), batch, kernel, probe, relative)
        return out


def bucket(distances: Tensor) -> Tensor:
    """Return the row of the table for each distance, the query's place less the key's.

    Half of the rows are for keys before the query, half for those after it. Of each half, near distances have rows of
    their own, further ones share them ever more, by the logarithm, up to `FAR`.

    >>> bucket(torch.tensor([0, 1, 7, 8, 20, 127, 500, -1, -500])).tolist()
    [0, 1, 7, 8, 10, 15, 15, 17, 31]
    """
    half = BUCKETS // 2
    exact = half // 2
    steps = distances.abs()
    # in float32 whatever the weights are, as the reference has it: at a boundary rounding decides
    logs = torch.log(steps.clamp(min=1).float() / exact) / math.log(FAR / exact) * (half - exact)
    far = (exact + logs.long()).clamp(max=half - 1)
    return torch.where(steps < exact, steps, far) + half * (distances < 0)


BUFFERS = ("embeddings.position_ids",)

NAMES: Names = (
    ("embeddings.token_table.weight", ("embeddings.word_embeddings.weight",)),
    ("embeddings.position_table.weight", ("embeddings.position_embeddings.weight",)),
    ("distance_table.weight", ("encoder.relative_attention_bias.weight",)),
    *weight_and_bias(
        (
            ("embeddings.norm.*", "embeddings.LayerNorm.*"),
            (
                "layers.{i}.attention.qkv.*",
                tuple(f"encoder.layer.{{i}}.attention.attn.{x}.*" for x in ("q", "k", "v")),
            ),
            ("layers.{i}.attention.output.*", "encoder.layer.{i}.attention.attn.o.*"),
            ("layers.{i}.attention_norm.*", "encoder.layer.{i}.attention.LayerNorm.*"),
            ("layers.{i}.feed_forward.up.*", "encoder.layer.{i}.intermediate.dense.*"),
            ("layers.{i}.feed_forward.down.*", "encoder.layer.{i}.output.dense.*"),
            ("layers.{i}.feed_forward_norm.*", "encoder.layer.{i}.output.LayerNorm.*"),
            ("pooler.dense.*", "pooler.dense.*"),
        )
    ),
)

ARCHITECTURE = Architecture(
    build=MPNetEncoder,
    names=NAMES,
    saved_as="MPNetModel",
    tasks=roberta_heads("mpnet."),
    keys=KEYS,
    read=read,
    buffers=BUFFERS,
)
