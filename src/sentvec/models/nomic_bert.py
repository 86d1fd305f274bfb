"""NomicBERT (Nussbaum et al. 2024, arXiv 2402.01613): a packed batch in, hidden states (tokens, hidden) out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.models import bert
from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.config import BERT_KEYS, EncoderConfig, Keys, read_config, refuse_head_width
from sentvec.models.head_table import BERT_LM, POOLED, TOKENS, family
from sentvec.models.rotary import RotaryNumbers, rotary_base
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import GatedFeedForward
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe
from sentvec.nn.rotary import Rotary
from sentvec.nn.stack import Layers

KEYS: Keys = MappingProxyType({**BERT_KEYS, "rope": ("rope_parameters", dict)})
_DEFAULTS = {
    "types": 2, "positions": 2048, "act": "silu", "dropout": 0.0, "attention_dropout": 0.0,
}  # fmt: skip

# the published files have GPT-2's keys; transformers 5 writes BERT's, and files that were mended for it have both
_GPT2 = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
    "resid_pdrop": "hidden_dropout_prob",
    "attn_pdrop": "attention_probs_dropout_prob",
}
_MAY_DIFFER = ("n_positions", "resid_pdrop", "attn_pdrop")  # none of them changes a vector
_GATED = {"swiglu": "silu", "geglu": "gelu", "glu": "sigmoid"}
# what the published code can be told to compute, and no published text model asks for
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "activation_function": tuple(_GATED),
    "prenorm": (False,),
    "parallel_block": (False,),
    "causal": (False,),
    "use_rms_norm": (False,),
    "qkv_proj_bias": (False,),
    "mlp_fc1_bias": (False,),
    "mlp_fc2_bias": (False,),
    "rotary_emb_fraction": (1.0,),
    "rotary_emb_interleaved": (False,),
    "rotary_emb_scale_base": (None,),
    "rotary_scaling_factor": (None,),
    "rotary_head_dim": (False,),
    "moe_every_n_layers": (-1, 0),
    "scale_attn_by_inverse_layer_idx": (False,),
}


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json, with GPT-2's keys, as published, or with BERT's, as transformers 5 has them.

    Raises:
        ConfigError: see `read_config`; or the two kinds of keys contradict each other, or a head is of another width
            than hidden / heads.
    """
    merged = dict(raw)
    for old, new in _GPT2.items():
        if raw.get(old) is None:
            continue
        if old not in _MAY_DIFFER and raw.get(new) not in (None, raw[old]):
            raise ConfigError(
                f"config.json cannot be used: {old} is {raw[old]!r}, but {new}, which means the same, is {raw[new]!r}."
            )
        merged[new] = raw[old]
    given = raw.get("activation_function")
    if isinstance(given, str) and given in _GATED:
        merged["hidden_act"] = _GATED[given]
    plain = read_config(merged, BERT_KEYS, defaults=_DEFAULTS, only=_ONLY)
    refuse_head_width(raw, "head_dim", plain)
    return replace(plain, own=RotaryNumbers(base=rotary_base(raw, "rotary_emb_base", 1000.0)))


class NomicBertEncoder(nn.Module):
    """Embeddings without positions, post-norm layers with rotary ones and SwiGLU, and where there is one, the pooler.

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
        """Encode a packed batch.

        Args:
            batch: texts without padding.
            kernel: name of the attention kernel, see `sentvec.nn.kernels`.
            probe: collects hidden states and attention on the way.

        Returns:
            The last layer's hidden states, (tokens, hidden).
        """
        out: Tensor = self.layers(self.embeddings(batch), batch, kernel, probe)
        return out


def _layer(config: EncoderConfig) -> PostNormLayer:
    return PostNormLayer(
        SelfAttention(
            hidden=config.hidden,
            heads=config.heads,
            dropout=config.attention_dropout,
            bias=False,
            rotary=Rotary(config.own.base),
        ),
        GatedFeedForward(hidden=config.hidden, intermediate=config.intermediate, act=config.act),
        hidden=config.hidden,
        norm_eps=config.norm_eps,
        dropout=config.dropout,
    )


# ours <- theirs, see bert.NAMES: the published names, which transformers 5 reads and writes too
NAMES: Names = (
    ("embeddings.token_table.weight", ("embeddings.word_embeddings.weight",)),
    ("embeddings.type_table.weight", ("embeddings.token_type_embeddings.weight",)),
    ("layers.{i}.attention.qkv.weight", ("encoder.layers.{i}.attn.Wqkv.weight",)),
    ("layers.{i}.attention.output.weight", ("encoder.layers.{i}.attn.out_proj.weight",)),
    # fc12 is the map with the activation
    ("layers.{i}.feed_forward.up.weight", ("encoder.layers.{i}.mlp.fc12.weight", "encoder.layers.{i}.mlp.fc11.weight")),
    ("layers.{i}.feed_forward.down.weight", ("encoder.layers.{i}.mlp.fc2.weight",)),
    *weight_and_bias(
        (
            ("embeddings.norm.*", "emb_ln.*"),
            ("layers.{i}.attention_norm.*", "encoder.layers.{i}.norm1.*"),
            ("layers.{i}.feed_forward_norm.*", "encoder.layers.{i}.norm2.*"),
            ("pooler.dense.*", "pooler.dense.*"),
        )
    ),
)

TASKS = family(
    "nomic_bert.",
    {
        "masked-lm": replace(BERT_LM, norm="cls.predictions.transform.layer_norm"),
        "sequence-classification": POOLED,
        "token-classification": TOKENS,
    },
)

ARCHITECTURE = Architecture(
    build=NomicBertEncoder,
    names=NAMES,
    saved_as="NomicBertModel",
    tasks=TASKS,
    keys=KEYS,
    read=read,
    prefixes=("bert.",),
    heads=("score.",),
    buffers=bert.BUFFERS,
)
