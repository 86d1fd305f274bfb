"""XLNet (Yang et al. 2019, arXiv 1906.08237): a packed batch in, hidden states (tokens, hidden) out.

Encoding needs one of its two streams, the one that sees every token. The other predicts tokens in pre-training; what it
begins with is kept so that a saved checkpoint is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.config import EncoderConfig, Keys, read_config, refuse_head_width
from sentvec.models.head_table import SPAN, TOKENS, Part, family
from sentvec.nn.feedforward import FeedForward
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe
from sentvec.nn.relative import RelativeAttention, distances
from sentvec.nn.stack import Layers

SEGMENTS = 3
"""The first text, the second, and `<cls>`, which is a segment of its own. There is no table of them."""
UNLIMITED = 1 << 20
"""Distances have no last row; what limits a text is memory and the folder's `max_seq_length`."""


@dataclass(frozen=True, kw_only=True)
class XLNetNumbers:
    """What XLNet has beyond BERT.

    Attributes:
        clamp: distances beyond it count as this one; None for no limit.
    """

    clamp: int | None = None


KEYS: Keys = MappingProxyType(
    {
        "vocab": ("vocab_size", int),
        "hidden": ("d_model", int),
        "layers": ("n_layer", int),
        "heads": ("n_head", int),
        "intermediate": ("d_inner", int),
        "act": ("ff_activation", str),
        "norm_eps": ("layer_norm_eps", float),
        "dropout": ("dropout", float),
    }
)
_ONLY = {"attn_type": ("bi",), "bi_data": (False,)}


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json; old files call the vocabulary's size `n_token`.

    Raises:
        ConfigError: see `read_config`; or a head is of another width than hidden / heads.
    """
    merged = {"vocab_size": raw.get("n_token")} | dict(raw)
    plain = read_config(merged, KEYS, types=SEGMENTS, defaults={"positions": UNLIMITED}, only=_ONLY)
    refuse_head_width(raw, "d_head", plain)
    clamp = raw.get("clamp_len", -1)
    if not isinstance(clamp, int) or isinstance(clamp, bool):
        raise ConfigError(f"config.json cannot be used: clamp_len is {clamp!r}, which should be a whole number, or -1.")
    if plain.hidden % 2:  # distances are sines and cosines, half and half
        raise ConfigError(f"config.json cannot be used: d_model is {plain.hidden}, which should be an even number.")
    own = XLNetNumbers(clamp=clamp if 0 < clamp < UNLIMITED else None)
    return replace(plain, attention_dropout=plain.dropout, own=own)


class XLNetEncoder(nn.Module):
    """A table of words, and post-norm layers whose attention knows distances and segments.

    Args:
        config: the encoder's numbers; `own` is of `XLNetNumbers`.
        add_pooling_layer: has no effect: there is no pooler in this architecture.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = False) -> None:
        super().__init__()
        self.config = config
        self.pooler: Pooler | None = None
        self.embeddings = nn.Embedding(config.vocab, config.hidden)
        self.query_stream = nn.Parameter(torch.empty(1, 1, config.hidden))
        nn.init.normal_(self.query_stream, std=0.02)
        self.layers = Layers(_layer(config) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch.

        Args:
            batch: texts without padding.
            kernel: there is one way to compute this attention, whatever is asked for.
            probe: collects hidden states and attention on the way.

        Returns:
            The last layer's hidden states, (tokens, hidden).
        """
        states = self.dropout(self.embeddings(batch.ids))
        far = distances(batch.longest, self.config.hidden, clamp=self.config.own.clamp, like=states)
        out: Tensor = self.dropout(self.layers(states, batch, kernel, probe, self.dropout(far)))
        return out


def _layer(config: EncoderConfig) -> PostNormLayer:
    return PostNormLayer(
        RelativeAttention(hidden=config.hidden, heads=config.heads, dropout=config.attention_dropout),
        FeedForward(hidden=config.hidden, intermediate=config.intermediate, act=config.act, dropout=config.dropout),
        hidden=config.hidden,
        norm_eps=config.norm_eps,
        dropout=config.dropout,
    )


# ours <- theirs, see bert.NAMES
NAMES: Names = (
    ("embeddings.weight", ("word_embedding.weight",)),
    ("query_stream", ("mask_emb",)),
    ("layers.{i}.attention.qkv", tuple(f"layer.{{i}}.rel_attn.{part}" for part in "qkv")),
    *(
        (f"layers.{{i}}.attention.{ours}", (f"layer.{{i}}.rel_attn.{theirs}",))
        for ours, theirs in (
            ("output", "o"),
            ("distance", "r"),
            ("segment", "seg_embed"),
            ("content_bias", "r_w_bias"),
            ("distance_bias", "r_r_bias"),
            ("segment_bias", "r_s_bias"),
        )
    ),
    *weight_and_bias(
        (
            ("layers.{i}.attention_norm.*", "layer.{i}.rel_attn.layer_norm.*"),
            ("layers.{i}.feed_forward.up.*", "layer.{i}.ff.layer_1.*"),
            ("layers.{i}.feed_forward.down.*", "layer.{i}.ff.layer_2.*"),
            ("layers.{i}.feed_forward_norm.*", "layer.{i}.ff.layer_norm.*"),
        )
    ),
)

_LAST = Part(
    readout="last",
    dense="sequence_summary.summary",
    act="tanh",
    out="logits_proj",
    settings=(("readout", "summary_type"), ("act", "summary_activation")),
)
TASKS = family(
    "transformer.",
    {
        "masked-lm": Part(readout="tokens", out="lm_loss", tied=True),
        "sequence-classification": _LAST,
        "multiple-choice": replace(_LAST, rows=1),
        "token-classification": TOKENS,
        "question-answering": SPAN,
    },
    masked_lm="LMHeadModel",
    question_answering="ForQuestionAnsweringSimple",
)

ARCHITECTURE = Architecture(
    build=XLNetEncoder,
    names=NAMES,
    saved_as="XLNetModel",
    tasks=TASKS,
    keys=KEYS,
    read=read,
    heads=("start_logits.", "end_logits.", "answer_class."),
    pads_left=True,
)
