"""ModernBERT (Warner et al. 2024, arXiv 2412.13663): a packed batch in, hidden states (tokens, hidden) out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.models import bert
from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.config import EncoderConfig, Keys, read_config
from sentvec.models.head_table import Part, family
from sentvec.models.rotary import rotary_base
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import GatedFeedForward
from sentvec.nn.layer import PreNormLayer
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe
from sentvec.nn.rotary import Rotary
from sentvec.nn.stack import Layers


@dataclass(frozen=True, kw_only=True)
class ModernBertNumbers:
    """What ModernBERT has beyond BERT.

    Attributes:
        attention_bias: whether attention's projections have biases.
        feed_forward_bias: whether the feed-forward part has biases.
        norm_bias: whether layer normalisations have biases.
        inner_dropout: dropped share inside the feed-forward part in training.
        local: tokens that a local layer's token sees, both sides together.
        bases: of each layer, the base of its rotary positions.
        windows: of each layer, how many tokens a token sees to either side; None for all.
    """

    attention_bias: bool = False
    feed_forward_bias: bool = False
    norm_bias: bool = False
    inner_dropout: float = 0.0
    local: int = 128
    bases: tuple[float, ...] = ()
    windows: tuple[int | None, ...] = ()


KEYS: Keys = MappingProxyType(
    {
        "vocab": ("vocab_size", int),
        "hidden": ("hidden_size", int),
        "layers": ("num_hidden_layers", int),
        "heads": ("num_attention_heads", int),
        "intermediate": ("intermediate_size", int),
        "positions": ("max_position_embeddings", int),
        "act": ("hidden_activation", str),
        "norm_eps": ("norm_eps", float),
        "dropout": ("embedding_dropout", float),
        "attention_dropout": ("attention_dropout", float),
        "attention_bias": ("attention_bias", bool),
        "feed_forward_bias": ("mlp_bias", bool),
        "norm_bias": ("norm_bias", bool),
        "inner_dropout": ("mlp_dropout", float),
        "local": ("local_attention", int),
    }
)
_DEFAULTS = {"positions": 8192, "norm_eps": 1e-5, "dropout": 0.0, "attention_dropout": 0.0, "intermediate": 1152}
# there is no position table whatever this key says: mmBERT writes sans_pos, ModernBERT absolute
_ONLY = {"position_embedding_type": ("absolute", "sans_pos")}
_KINDS = ("full_attention", "sliding_attention")
_BASES = {"full_attention": ("global_rope_theta", 160_000.0), "sliding_attention": ("local_rope_theta", 10_000.0)}


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json, as transformers 4 wrote it (`global_attn_every_n_layers`) or as 5 does (`layer_types`).

    Raises:
        ConfigError: see `read_config`; or the kinds of layers or their rotary positions are not supported.
    """
    plain = read_config(raw, KEYS, types=0, defaults=_DEFAULTS, own=ModernBertNumbers, only=_ONLY)
    kinds = _layer_kinds(raw, plain.layers)
    bases = {kind: rotary_base(raw, *_BASES[kind], kind=kind) for kind in _KINDS}
    half = plain.own.local // 2
    own = replace(
        plain.own,
        bases=tuple(bases[kind] for kind in kinds),
        windows=tuple(half if kind == "sliding_attention" else None for kind in kinds),
    )
    return replace(plain, own=own)


def _layer_kinds(raw: Mapping[str, Any], layers: int) -> list[str]:
    kinds = raw.get("layer_types")
    if kinds is None:
        every = raw.get("global_attn_every_n_layers", 3)
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise ConfigError(
                f"config.json cannot be used: global_attn_every_n_layers is {every!r}, which should be a whole "
                "number from 1."
            )
        return ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
    if not isinstance(kinds, list) or len(kinds) != layers or any(kind not in _KINDS for kind in kinds):
        raise ConfigError(
            f"config.json cannot be used: layer_types is {str(kinds)[:200]}, which should name one of "
            f"{', '.join(_KINDS)} for each of {layers} layers."
        )
    return kinds


class ModernBertEncoder(nn.Module):
    """Embeddings, pre-norm layers that see all of a text or a window of it, and a last normalisation.

    Args:
        config: the encoder's numbers; `own` is of `ModernBertNumbers`.
        add_pooling_layer: has no effect: there is no pooler in this architecture.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = False) -> None:
        super().__init__()
        self.config = config
        self.pooler: Pooler | None = None
        own: ModernBertNumbers = config.own
        self.embeddings = bert.embeddings_of(config, positions=0, norm_bias=own.norm_bias)
        self.layers = Layers(_layer(config, own, number) for number in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden, eps=config.norm_eps, bias=own.norm_bias)

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch.

        Args:
            batch: texts without padding.
            kernel: name of the attention kernel, see `sentvec.nn.kernels`.
            probe: collects hidden states, the last of them normalised, and attention on the way.

        Returns:
            The last layer's hidden states, normalised, (tokens, hidden).
        """
        out: Tensor = self.norm(self.layers(self.embeddings(batch), batch, kernel, probe))
        if probe is not None:
            probe.hidden(self.config.layers, out)
        return out


def _layer(config: EncoderConfig, own: ModernBertNumbers, number: int) -> PreNormLayer:
    return PreNormLayer(
        SelfAttention(
            hidden=config.hidden,
            heads=config.heads,
            dropout=config.attention_dropout,
            bias=own.attention_bias,
            rotary=Rotary(own.bases[number]),
            window=own.windows[number],
        ),
        GatedFeedForward(
            hidden=config.hidden,
            intermediate=config.intermediate,
            act=config.act,
            bias=own.feed_forward_bias,
            dropout=own.inner_dropout,
        ),
        hidden=config.hidden,
        norm_eps=config.norm_eps,
        norm_bias=own.norm_bias,
        attention_norm=number > 0,  # the embeddings are normalised already
        dropout=config.attention_dropout,
    )


# ours <- theirs, see bert.NAMES; biases are there where the configuration says so
NAMES: Names = (
    ("embeddings.token_table.weight", ("embeddings.tok_embeddings.weight",)),
    *weight_and_bias(
        (
            ("embeddings.norm.*", "embeddings.norm.*"),
            ("layers.{i}.attention_norm.*", "layers.{i}.attn_norm.*"),
            ("layers.{i}.attention.qkv.*", "layers.{i}.attn.Wqkv.*"),
            ("layers.{i}.attention.output.*", "layers.{i}.attn.Wo.*"),
            ("layers.{i}.feed_forward_norm.*", "layers.{i}.mlp_norm.*"),
            ("layers.{i}.feed_forward.up.*", "layers.{i}.mlp.Wi.*"),
            ("layers.{i}.feed_forward.down.*", "layers.{i}.mlp.Wo.*"),
            ("norm.*", "final_norm.*"),
        )
    ),
)

_HEAD = Part(
    readout="tokens",
    dense="head.dense",
    act="gelu",
    norm="head.norm",
    out="classifier",
    settings=(("act", "classifier_activation"), ("dense_bias", "classifier_bias"), ("norm_bias", "norm_bias")),
)
_HEAD_FIRST = replace(_HEAD, readout="first", settings=(*_HEAD.settings, ("readout", "classifier_pooling")))
TASKS = family(
    "model.",
    {
        "masked-lm": replace(_HEAD, out="decoder", tied=True, settings=(*_HEAD.settings, ("out_bias", "decoder_bias"))),
        "sequence-classification": _HEAD_FIRST,
        "multiple-choice": replace(_HEAD_FIRST, rows=1),
        "token-classification": _HEAD,
        "question-answering": replace(_HEAD, rows=2),
    },
)

ARCHITECTURE = Architecture(
    build=ModernBertEncoder,
    names=NAMES,
    saved_as="ModernBertModel",
    tasks=TASKS,
    keys=KEYS,
    read=read,
)
