"""DeBERTa, version 2 and 3 (He et al. 2021, arXiv 2006.03654 and 2111.09543): a packed batch in, hidden states out.

BERT's layers without a pooler, whose attention knows content and distance apart: one table of distances for all layers.
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
from sentvec.models import bert
from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.config import BERT_KEYS, EncoderConfig, Keys, read_config, refuse_head_width
from sentvec.models.head_table import BERT_LM, SPAN, TOKENS, Part, family
from sentvec.nn.disentangled import DisentangledAttention
from sentvec.nn.feedforward import FeedForward
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.probe import Probe
from sentvec.nn.stack import Layers


@dataclass(frozen=True, kw_only=True)
class DebertaNumbers:
    """What DeBERTa has beyond BERT.

    Attributes:
        biased_input: whether positions are added to the embeddings too.
        span: distances from which on all share a row of the table, to either side.
        reach: distances that rows are shared out among by their logarithm; None where each has its own.
        normed: whether the table of distances is normalised.
        terms: which distances count, "c2p" and "p2c".
    """

    biased_input: bool = True
    span: int = 0
    reach: int | None = None
    normed: bool = False
    terms: tuple[str, ...] = ()


KEYS: Keys = MappingProxyType(dict(BERT_KEYS) | {"biased_input": ("position_biased_input", bool)})
_TERMS = ("c2p", "p2c")
# what old files leave out, and what is computed of it: all published checkpoints of version 2 and 3 say so
_SILENT = {"relative_attention": False, "share_att_key": False}
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "relative_attention": (True,),
    "share_att_key": (True,),
    "norm_rel_ebd": ("none", "layer_norm"),
    "conv_kernel_size": (0,),
}


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json.

    Raises:
        ConfigError: see `read_config`; or distances count in a way that is not known.
    """
    plain = read_config(
        dict(raw) | {key: value for key, value in _SILENT.items() if raw.get(key) is None},
        KEYS,
        types=0,
        may_be_none=("types",),
        defaults={"norm_eps": 1e-7},
        own=DebertaNumbers,
        only=_ONLY,
    )
    refuse_head_width(raw, "attention_head_size", plain)
    if raw.get("embedding_size") not in (None, plain.hidden):
        raise ConfigError(
            f"embedding_size {raw['embedding_size']!r} in config.json is not supported for this architecture. "
            f"Supported: {plain.hidden}, the hidden size."
        )
    given = raw.get("pos_att_type") or ()
    terms = [term.strip() for term in given.lower().split("|")] if isinstance(given, str) else given
    if not isinstance(terms, list | tuple) or any(term not in _TERMS for term in terms):
        raise ConfigError(f"pos_att_type {given!r} in config.json is not known. Known: {', '.join(_TERMS)}.")
    reach, buckets = (_distance(raw, key) for key in ("max_relative_positions", "position_buckets"))
    reach = reach or plain.positions
    if buckets and not 1 <= buckets // 2 < reach - 1:
        raise ConfigError(
            f"config.json cannot be used: position_buckets is {buckets}, half of which should be 1 or more and below "
            f"the {reach} distances that share them."
        )
    own = replace(
        plain.own,
        span=buckets or reach,
        reach=reach if buckets else None,
        normed=raw.get("norm_rel_ebd") == "layer_norm",
        terms=tuple(terms),
    )
    return replace(plain, own=own)


def _distance(raw: Mapping[str, Any], key: str) -> int:
    """Return a number of distances, or 0 where the file says none."""
    value = raw.get(key, -1)
    if not isinstance(value, int) or isinstance(value, bool) or value > 1 << 20:
        raise ConfigError(f"config.json cannot be used: {key} is {value!r}, which should be a whole number, or -1.")
    return max(value, 0)


class DebertaEncoder(nn.Module):
    """Embeddings, a table of distances, and post-norm layers whose attention knows them.

    Args:
        config: the encoder's numbers; `own` is of `DebertaNumbers`.
        add_pooling_layer: has no effect: there is no pooler in this architecture.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = False) -> None:
        super().__init__()
        self.config = config
        self.pooler = None
        own: DebertaNumbers = config.own
        self.embeddings = bert.embeddings_of(config, positions=config.positions if own.biased_input else 0)
        self.distance_table = nn.Embedding(2 * own.span, config.hidden)
        self.distance_norm = nn.LayerNorm(config.hidden, eps=config.norm_eps) if own.normed else None
        self.layers = Layers(_layer(config, own) for _ in range(config.layers))

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch: (tokens, hidden). There is one way to compute attention, whatever `kernel` says."""
        own: DebertaNumbers = self.config.own
        distances = torch.arange(batch.longest - 1, -batch.longest, -1, device=batch.ids.device)
        relative = self.distance_table(rows(distances, own.span, own.reach))  # (2 * longest - 1, hidden)
        if self.distance_norm is not None:
            relative = self.distance_norm(relative)
        out: Tensor = self.layers(self.embeddings(batch), batch, kernel, probe, relative)
        return out


def rows(distances: Tensor, span: int, reach: int | None) -> Tensor:
    """Return the row of the table for each distance, the query's place less the key's.

    Near distances have rows of their own; further ones share them ever more, by the logarithm, up to `reach`.

    >>> rows(torch.tensor([0, 1, 2, 3, 7, 15, 16, -1, -15]), span=4, reach=16).tolist()
    [4, 5, 6, 7, 7, 7, 7, 3, 1]
    """
    places = distances
    if reach is not None:
        exact = span // 2
        steps = distances.abs()
        # in float32 whatever the weights are, as the reference has it: at a boundary rounding decides
        logs = torch.log(steps.clamp(min=1) / exact) / torch.log(torch.tensor((reach - 1) / exact)) * (exact - 1)
        places = torch.where(steps <= exact, distances, (logs.ceil() + exact).long() * distances.sign())
    return (span + places).clamp(0, 2 * span - 1)


def _layer(config: EncoderConfig, own: DebertaNumbers) -> PostNormLayer:
    return PostNormLayer(
        DisentangledAttention(
            hidden=config.hidden,
            heads=config.heads,
            to_position="c2p" in own.terms,
            from_position="p2c" in own.terms,
            dropout=config.attention_dropout,
            distance_dropout=config.dropout,
        ),
        FeedForward(hidden=config.hidden, intermediate=config.intermediate, act=config.act),
        hidden=config.hidden,
        norm_eps=config.norm_eps,
        dropout=config.dropout,
    )


_QKV = tuple(f"encoder.layer.{{i}}.attention.self.{x}_proj.*" for x in ("query", "key", "value"))
NAMES: Names = (
    *(row for row in bert.NAMES if ".qkv." not in row[0] and not row[0].startswith("pooler.")),
    ("distance_table.weight", ("encoder.rel_embeddings.weight",)),
    *weight_and_bias([("distance_norm.*", "encoder.LayerNorm.*"), ("layers.{i}.attention.qkv.*", _QKV)]),
)

_FIRST = Part(
    readout="first", dense="pooler.dense", act="gelu", out="classifier", settings=(("act", "pooler_hidden_act"),)
)

ARCHITECTURE = Architecture(
    build=DebertaEncoder,
    names=NAMES,
    saved_as="DebertaV2Model",
    tasks=family(
        "deberta.",
        {
            "masked-lm": BERT_LM,
            "sequence-classification": _FIRST,
            "multiple-choice": replace(_FIRST, rows=1),
            "token-classification": TOKENS,
            "question-answering": SPAN,
        },
    ),
    keys=KEYS,
    read=read,
    # the heads of version 3's pre-training, which transformers does not compute either unless told to
    heads=("lm_predictions.", "mask_predictions."),
    # a table of positions may be there where it is not added
    buffers=(*bert.BUFFERS, "embeddings.position_embeddings.weight"),
)
