"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT's encoder without token types and pooler, under other names.

In training BERT's layers also drop parts of attention's output, which the original does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sentvec.models.config import EncoderConfig, Keys, read_config

KEYS: Keys = MappingProxyType(
    {
        "vocab": ("vocab_size", int),
        "hidden": ("dim", int),
        "layers": ("n_layers", int),
        "heads": ("n_heads", int),
        "intermediate": ("hidden_dim", int),
        "positions": ("max_position_embeddings", int),
        "act": ("activation", str),
        "dropout": ("dropout", float),
        "attention_dropout": ("attention_dropout", float),
    }
)

HEADS = ("vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "pre_classifier.", "classifier.", "qa_outputs.")
BUFFERS = ("embeddings.position_ids",)

NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("embeddings.token_table.weight", ("embeddings.word_embeddings.weight",)),
    # stored also where they are sines, so that both kinds are read alike
    ("embeddings.position_table.weight", ("embeddings.position_embeddings.weight",)),
    *(
        (ours.replace("*", part), tuple(name.replace("*", part) for name in theirs))
        for part in ("weight", "bias")
        for ours, theirs in (
            ("embeddings.norm.*", ("embeddings.LayerNorm.*",)),
            (
                "layers.{i}.attention.qkv.*",
                tuple(f"transformer.layer.{{i}}.attention.{x}_lin.*" for x in ("q", "k", "v")),
            ),
            ("layers.{i}.attention.output.*", ("transformer.layer.{i}.attention.out_lin.*",)),
            ("layers.{i}.attention_norm.*", ("transformer.layer.{i}.sa_layer_norm.*",)),
            ("layers.{i}.feed_forward.up.*", ("transformer.layer.{i}.ffn.lin1.*",)),
            ("layers.{i}.feed_forward.down.*", ("transformer.layer.{i}.ffn.lin2.*",)),
            ("layers.{i}.feed_forward_norm.*", ("transformer.layer.{i}.output_layer_norm.*",)),
        )
    ),
)


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json; epsilon is BERT's, and no key changes it."""
    return read_config(raw, KEYS, types=0)
