"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT's encoder without token types and pooler, under other names.

In training BERT's layers also drop parts of attention's output, which the original does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.bert import BertEncoder
from sentvec.models.config import EncoderConfig, Keys, read_config
from sentvec.models.head_table import SPAN, TOKENS, Part, family

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

BUFFERS = ("embeddings.position_ids",)

NAMES: Names = (
    ("embeddings.token_table.weight", ("embeddings.word_embeddings.weight",)),
    # stored also where they are sines, so that both kinds are read alike
    ("embeddings.position_table.weight", ("embeddings.position_embeddings.weight",)),
    *weight_and_bias(
        (
            ("embeddings.norm.*", "embeddings.LayerNorm.*"),
            (
                "layers.{i}.attention.qkv.*",
                tuple(f"transformer.layer.{{i}}.attention.{x}_lin.*" for x in ("q", "k", "v")),
            ),
            ("layers.{i}.attention.output.*", "transformer.layer.{i}.attention.out_lin.*"),
            ("layers.{i}.attention_norm.*", "transformer.layer.{i}.sa_layer_norm.*"),
            ("layers.{i}.feed_forward.up.*", "transformer.layer.{i}.ffn.lin1.*"),
            ("layers.{i}.feed_forward.down.*", "transformer.layer.{i}.ffn.lin2.*"),
            ("layers.{i}.feed_forward_norm.*", "transformer.layer.{i}.output_layer_norm.*"),
        )
    ),
)


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json; epsilon is BERT's, and no key changes it."""
    return read_config(raw, KEYS, types=0)


_FIRST = Part(readout="first", dense="pre_classifier", act="relu", out="classifier")
TASKS = family(
    "distilbert.",
    {
        "masked-lm": Part(
            readout="tokens", dense="vocab_transform", norm="vocab_layer_norm", out="vocab_projector", tied=True
        ),
        "sequence-classification": _FIRST,
        "multiple-choice": replace(_FIRST, rows=1),
        "token-classification": TOKENS,
        "question-answering": SPAN,
    },
)

ARCHITECTURE = Architecture(
    build=BertEncoder,
    names=NAMES,
    saved_as="DistilBertModel",
    tasks=TASKS,
    keys=KEYS,
    read=read,
    buffers=BUFFERS,
)
