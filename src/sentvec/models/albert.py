"""ALBERT (Lan et al. 2019, arXiv 1909.11942): a packed batch in, hidden states (tokens, hidden) out.

BERT with narrow embeddings that a linear map widens, and few layers that run many times each. In training BERT's layers
also drop parts of the feed-forward part's output, which the original does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.models import bert
from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.config import BERT_KEYS, DEEPEST, EncoderConfig, Keys, read_config
from sentvec.models.head_table import CHOICE, POOLED, SPAN, TOKENS, Part, family
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe
from sentvec.nn.stack import Layers


@dataclass(frozen=True, kw_only=True)
class AlbertNumbers:
    """What ALBERT has beyond BERT.

    Attributes:
        embedding: width of the embeddings.
        groups: groups of layers; neighbours among the `EncoderConfig.layers` steps share a group.
        inner: layers of each group, all of which run at every step.
    """

    embedding: int = 128
    groups: int = 1
    inner: int = 1


KEYS: Keys = MappingProxyType(
    dict(BERT_KEYS)
    | {
        "embedding": ("embedding_size", int),
        "groups": ("num_hidden_groups", int),
        "inner": ("inner_group_num", int),
    }
)
_DEFAULTS = MappingProxyType({"act": "gelu_new", "dropout": 0.0, "attention_dropout": 0.0})


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json."""
    numbers = read_config(raw, KEYS, own=AlbertNumbers, defaults=_DEFAULTS)
    groups, inner = numbers.own.groups, numbers.own.inner
    if groups * inner > DEEPEST:
        raise ConfigError(
            f"config.json cannot be used: num_hidden_groups is {groups} and inner_group_num {inner}, whose product, "
            f"the layers that are stored, should be {DEEPEST} at most."
        )
    return numbers


def places(config: EncoderConfig) -> list[dict[str, int]]:
    """List the layers that are stored, by group and place inside it."""
    inner = config.own.inner
    return [{"i": g * inner + k, "g": g, "k": k} for g in range(config.own.groups) for k in range(inner)]


class AlbertEncoder(nn.Module):
    """Embeddings, a map to the layers' width, post-norm layers that run in turns and, where there is one, the pooler.

    Args:
        config: the encoder's numbers.
        add_pooling_layer: whether to build the pooler.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = True) -> None:
        super().__init__()
        self.config = config
        own: AlbertNumbers = config.own
        self.embeddings = bert.embeddings_of(config, hidden=own.embedding)
        self.widen = nn.Linear(own.embedding, config.hidden)
        # the quotient first, in floating point: so the reference finds the group, and rounding is part of it
        groups = [int(step / (config.layers / own.groups)) for step in range(config.layers)]
        self.layers = Layers(
            (bert.layer_of(config) for _ in range(own.groups * own.inner)),
            order=[group * own.inner + k for group in groups for k in range(own.inner)],
        )
        self.pooler = Pooler(hidden=config.hidden) if add_pooling_layer else None

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch: (tokens, hidden). Arguments are those of `BertEncoder`."""
        out: Tensor = self.layers(self.widen(self.embeddings(batch)), batch, kernel, probe)
        return out


_LAYER = "encoder.albert_layer_groups.{g}.albert_layers.{k}."
NAMES: Names = (
    *(row for row in bert.NAMES if row[0].startswith("embeddings.")),
    *weight_and_bias(
        (
            ("widen.*", "encoder.embedding_hidden_mapping_in.*"),
            ("layers.{i}.attention.qkv.*", tuple(f"{_LAYER}attention.{x}.*" for x in ("query", "key", "value"))),
            ("layers.{i}.attention.output.*", f"{_LAYER}attention.dense.*"),
            ("layers.{i}.attention_norm.*", f"{_LAYER}attention.LayerNorm.*"),
            ("layers.{i}.feed_forward.up.*", f"{_LAYER}ffn.*"),
            ("layers.{i}.feed_forward.down.*", f"{_LAYER}ffn_output.*"),
            ("layers.{i}.feed_forward_norm.*", f"{_LAYER}full_layer_layer_norm.*"),
            ("pooler.dense.*", "pooler.*"),
        )
    ),
)

_LM = Part(
    readout="tokens",
    dense="predictions.dense",
    norm="predictions.LayerNorm",
    out="predictions.decoder",
    bias="predictions.bias",
    tied=True,
)
TASKS = family(
    "albert.",
    {
        "masked-lm": _LM,
        "sequence-classification": POOLED,
        "multiple-choice": CHOICE,
        "token-classification": TOKENS,
        "question-answering": SPAN,
    },
    # sentence order in place of the next sentence (Lan et al. 2019)
    pre_training={"masked-lm": _LM, "sentence-order": Part(readout="pooler", out="sop_classifier.classifier")},
)

ARCHITECTURE = Architecture(
    build=AlbertEncoder,
    names=NAMES,
    saved_as="AlbertModel",
    tasks=TASKS,
    places=places,
    keys=KEYS,
    read=read,
    buffers=bert.BUFFERS,
)
