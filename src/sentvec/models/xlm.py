"""XLM (Lample & Conneau 2019, arXiv 1901.07291): BERT's encoder without token types and pooler, under other names.

Embeddings of languages are left out, as the reference leaves them out of texts whose language it is not told. Where it
is given token types it adds the embeddings of the words of those numbers; nothing was trained so, and it is not done.
In training BERT's layers drop what the original does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.bert import BertEncoder
from sentvec.models.config import EncoderConfig, Keys, read_config
from sentvec.models.head_table import SPAN, TOKENS, Part, family


@dataclass(frozen=True, kw_only=True)
class XlmNumbers:
    """What XLM says otherwise than BERT.

    Attributes:
        gelu: whether the activation is gelu, or else relu.
    """

    gelu: bool = True


KEYS: Keys = MappingProxyType(
    {
        "vocab": ("vocab_size", int),
        "hidden": ("emb_dim", int),
        "layers": ("n_layers", int),
        "heads": ("n_heads", int),
        "positions": ("max_position_embeddings", int),
        "gelu": ("gelu_activation", bool),
        "norm_eps": ("layer_norm_eps", float),
        "dropout": ("dropout", float),
        "attention_dropout": ("attention_dropout", float),
    }
)
_ONLY = MappingProxyType({"causal": (False,), "is_encoder": (True,)})

BUFFERS = ("lang_embeddings.weight", "position_ids")


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json; the feed-forward part is four times as wide as the layers, and no key changes it."""
    if "n_words" in raw:  # as older files call it
        raw = {"vocab_size": raw["n_words"]} | dict(raw)
    numbers = read_config(raw, KEYS, types=0, own=XlmNumbers, only=_ONLY)
    return replace(numbers, act="gelu" if numbers.own.gelu else "relu")


NAMES: Names = (
    ("embeddings.token_table.weight", ("embeddings.weight",)),
    # stored also where they are sines, so that both kinds are read alike
    ("embeddings.position_table.weight", ("position_embeddings.weight",)),
    *weight_and_bias(
        (
            ("embeddings.norm.*", "layer_norm_emb.*"),
            ("layers.{i}.attention.qkv.*", tuple(f"attentions.{{i}}.{x}_lin.*" for x in ("q", "k", "v"))),
            ("layers.{i}.attention.output.*", "attentions.{i}.out_lin.*"),
            ("layers.{i}.attention_norm.*", "layer_norm1.{i}.*"),
            ("layers.{i}.feed_forward.up.*", "ffns.{i}.lin1.*"),
            ("layers.{i}.feed_forward.down.*", "ffns.{i}.lin2.*"),
            ("layers.{i}.feed_forward_norm.*", "layer_norm2.{i}.*"),
        )
    ),
)

TASKS = family(
    "transformer.",
    {
        "masked-lm": Part(readout="tokens", out="pred_layer.proj", tied=True),
        "sequence-classification": Part(
            readout="first", out="sequence_summary.summary", settings=(("readout", "summary_type"),)
        ),
        "token-classification": TOKENS,
        "question-answering": SPAN,
    },
    masked_lm="WithLMHeadModel",
    question_answering="ForQuestionAnsweringSimple",
)

ARCHITECTURE = Architecture(
    build=BertEncoder,
    names=NAMES,
    saved_as="XLMModel",
    tasks=TASKS,
    keys=KEYS,
    read=read,
    heads=("classifier.", "dropout.", "logits_proj."),
    buffers=BUFFERS,
)
