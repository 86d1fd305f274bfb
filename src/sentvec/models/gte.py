"""GTE v1.5 (Zhang et al. 2024, arXiv 2407.19669): a packed batch in, hidden states (tokens, hidden) out.

BERT's post-norm layers with rotary positions and GeGLU, for texts of up to 8,192 tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.models import bert
from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.config import BERT_KEYS, EncoderConfig, Keys, read_config, refuse_head_width
from sentvec.models.head_table import POOLED, TOKENS, Part, family
from sentvec.models.rotary import RotaryNumbers, rotary_base
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import GatedFeedForward
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe
from sentvec.nn.rotary import Rotary
from sentvec.nn.stack import Layers

BASE = 160_000.0
"""Of the rotary positions, where config.json names no other."""


KEYS: Keys = MappingProxyType({**BERT_KEYS, "rope": ("rope_parameters", dict)})
_DEFAULTS = MappingProxyType({"types": 1, "positions": 8192, "attention_dropout": 0.0})
# what the published code can be told to compute, and no published text model asks for
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "position_embedding_type": ("rope",),
    "layer_norm_type": ("layer_norm",),
    "logn_attention_scale": (False,),
    "pack_qkv": (True,),
}


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json.

    Raises:
        ConfigError: see `read_config`; or a head is of another width than hidden / heads.
    """
    plain = read_config(raw, BERT_KEYS, defaults=_DEFAULTS, only=_ONLY, may_be_none=("types",))
    refuse_head_width(raw, "head_dim", plain)
    return replace(plain, own=RotaryNumbers(base=rotary_base(raw, "rope_theta", BASE)))


class GteEncoder(nn.Module):
    """Embeddings without positions, post-norm layers with rotary ones and GeGLU, and where there is one, the pooler.

    Args:
        config: the encoder's numbers; `own` is of `RotaryNumbers`.
        add_pooling_layer: whether to build the pooler.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = bert.embeddings_of(config, positions=0)
        self.layers = Layers(_layer(config) for _ in range(config.layers))
        self.pooler = Pooler(hidden=config.hidden) if add_pooling_layer else None

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch: (tokens, hidden). Arguments are those of `BertEncoder`."""
        out: Tensor = self.layers(self.embeddings(batch), batch, kernel, probe)
        return out


def _layer(config: EncoderConfig) -> PostNormLayer:
    return PostNormLayer(
        SelfAttention(
            hidden=config.hidden,
            heads=config.heads,
            dropout=config.attention_dropout,
            rotary=Rotary(config.own.base),
        ),
        GatedFeedForward(
            hidden=config.hidden,
            intermediate=config.intermediate,
            act=config.act,
            down_bias=True,
            gate_first=True,
            dropout=config.dropout,
        ),
        hidden=config.hidden,
        norm_eps=config.norm_eps,
        dropout=config.dropout,
    )


# the published names, which transformers 5 reads and writes too
NAMES: Names = (
    ("embeddings.token_table.weight", ("embeddings.word_embeddings.weight",)),
    ("embeddings.type_table.weight", ("embeddings.token_type_embeddings.weight",)),
    ("layers.{i}.feed_forward.up.weight", ("encoder.layer.{i}.mlp.up_gate_proj.weight",)),
    *weight_and_bias(
        (
            ("embeddings.norm.*", "embeddings.LayerNorm.*"),
            ("layers.{i}.attention.qkv.*", "encoder.layer.{i}.attention.qkv_proj.*"),
            ("layers.{i}.attention.output.*", "encoder.layer.{i}.attention.o_proj.*"),
            ("layers.{i}.attention_norm.*", "encoder.layer.{i}.attn_ln.*"),
            ("layers.{i}.feed_forward.down.*", "encoder.layer.{i}.mlp.down_proj.*"),
            ("layers.{i}.feed_forward_norm.*", "encoder.layer.{i}.mlp_ln.*"),
            ("pooler.dense.*", "pooler.dense.*"),
        )
    ),
)

_LM = Part(readout="tokens", dense="lm_head.dense", act="gelu", norm="lm_head.norm", out="lm_head.decoder", tied=True)

ARCHITECTURE = Architecture(
    build=GteEncoder,
    names=NAMES,
    saved_as="GteModel",
    tasks=family("new.", {"masked-lm": _LM, "sequence-classification": POOLED, "token-classification": TOKENS}),
    keys=KEYS,
    read=read,
    prefixes=("gte.",),
    buffers=bert.BUFFERS,
)
