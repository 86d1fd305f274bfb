"""RoFormer (Su et al. 2021, arXiv 2104.09864): a packed batch in, hidden states (tokens, hidden) out.

BERT without a pooler and with rotary positions in the place of a table of them; embeddings may be narrower than layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.models import bert
from sentvec.models.architecture import Architecture, Names
from sentvec.models.config import BERT_KEYS, EncoderConfig, Keys, read_config
from sentvec.models.electra import NAMES as ELECTRA_NAMES
from sentvec.models.head_table import BERT_LM, SPAN, TOKENS, Part, family
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import FeedForward
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.probe import Probe
from sentvec.nn.rotary import Rotary, sines
from sentvec.nn.stack import Layers

BASE = 10_000.0
"""Of the rotary positions; no key changes it."""


@dataclass(frozen=True, kw_only=True)
class RoFormerNumbers:
    """What RoFormer has beyond BERT.

    Attributes:
        embedding: width of the embeddings.
        turns_values: whether values are turned as queries and keys are.
    """

    embedding: int = 0
    turns_values: bool = False


KEYS: Keys = MappingProxyType(
    dict(BERT_KEYS) | {"embedding": ("embedding_size", int), "turns_values": ("rotary_value", bool)}
)


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json; embeddings are as wide as the layers where it says nothing."""
    plain = read_config(raw, KEYS, own=RoFormerNumbers, defaults={"positions": 1536})
    own: RoFormerNumbers = plain.own
    return replace(plain, own=replace(own, embedding=own.embedding or plain.hidden))


class RoFormerEncoder(nn.Module):
    """Embeddings, a map to the layers' width where they are of another, and post-norm layers with rotary positions.

    Args:
        config: the encoder's numbers; `own` is of `RoFormerNumbers`.
        add_pooling_layer: has no effect: there is no pooler in this architecture.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = False) -> None:
        super().__init__()
        self.config = config
        width = config.own.embedding
        self.embeddings = bert.embeddings_of(config, hidden=width, positions=0)
        self.widen = nn.Linear(width, config.hidden) if width != config.hidden else None
        self.layers = Layers(_layer(config) for _ in range(config.layers))
        self.pooler = None

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch: (tokens, hidden). Arguments are those of `BertEncoder`."""
        states = self.embeddings(batch)
        if self.widen is not None:
            states = self.widen(states)
        out: Tensor = self.layers(states, batch, kernel, probe)
        return out


def _layer(config: EncoderConfig) -> PostNormLayer:
    return PostNormLayer(
        SelfAttention(
            hidden=config.hidden,
            heads=config.heads,
            dropout=config.attention_dropout,
            # the reference's angles are from a table that was made in float64
            rotary=Rotary(BASE, neighbours=True, values=config.own.turns_values, exact=True),
        ),
        FeedForward(hidden=config.hidden, intermediate=config.intermediate, act=config.act),
        hidden=config.hidden,
        norm_eps=config.norm_eps,
        dropout=config.dropout,
    )


NAMES: Names = tuple(row for row in ELECTRA_NAMES if row[0] != "embeddings.position_table.weight")

_TABLE = "encoder.embed_positions.weight"


def constants(numbers: EncoderConfig) -> Mapping[str, Tensor]:
    """Make the table of angles that every checkpoint has and that nothing is read from."""
    return {_TABLE: sines(numbers.positions, numbers.hidden // numbers.heads, BASE)}


TASKS = family(
    "roformer.",
    {
        "masked-lm": BERT_LM,
        "sequence-classification": Part(readout="first", dense="classifier.dense", out="classifier.out_proj"),
        "multiple-choice": Part(readout="last", out="classifier", rows=1, settings=(("readout", "summary_type"),)),
        "token-classification": TOKENS,
        "question-answering": SPAN,
    },
)

ARCHITECTURE = Architecture(
    build=RoFormerEncoder,
    names=NAMES,
    saved_as="RoFormerModel",
    tasks=TASKS,
    keys=KEYS,
    read=read,
    buffers=(_TABLE, *bert.BUFFERS),
    constants=constants,
)
