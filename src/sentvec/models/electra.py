"""ELECTRA (Clark et al. 2020, arXiv 2003.10555): a packed batch in, hidden states (tokens, hidden) out.

BERT without a pooler, whose embeddings may be narrower than its layers: a linear map stands between the two then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.models import bert
from sentvec.models.architecture import Architecture, Names, weight_and_bias
from sentvec.models.config import BERT_KEYS, EncoderConfig, Keys, read_config
from sentvec.models.head_table import SPAN, TOKENS, Part, family
from sentvec.nn.probe import Probe
from sentvec.nn.stack import Layers


@dataclass(frozen=True, kw_only=True)
class ElectraNumbers:
    """What ELECTRA has beyond BERT.

    Attributes:
        embedding: width of the embeddings.
    """

    embedding: int = 128


KEYS: Keys = MappingProxyType(dict(BERT_KEYS) | {"embedding": ("embedding_size", int)})


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json."""
    return read_config(raw, KEYS, own=ElectraNumbers)


class ElectraEncoder(nn.Module):
    """Embeddings, a map to the layers' width where they are of another, and a stack of post-norm layers.

    Args:
        config: the encoder's numbers.
        add_pooling_layer: there is none; the argument is there for architectures that have one.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = False) -> None:
        super().__init__()
        self.config = config
        width = config.own.embedding
        self.embeddings = bert.embeddings_of(config, hidden=width)
        self.widen = nn.Linear(width, config.hidden) if width != config.hidden else None
        self.layers = Layers(bert.layer_of(config) for _ in range(config.layers))
        self.pooler = None

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch: (tokens, hidden). Arguments are those of `BertEncoder`."""
        states = self.embeddings(batch)
        if self.widen is not None:
            states = self.widen(states)
        out: Tensor = self.layers(states, batch, kernel, probe)
        return out


NAMES: Names = (
    *(row for row in bert.NAMES if not row[0].startswith("pooler.")),
    *weight_and_bias([("widen.*", "embeddings_project.*")]),
)

TASKS = family(
    "electra.",
    {
        "masked-lm": Part(  # of the generator
            readout="tokens",
            dense="generator_predictions.dense",
            act="gelu",
            norm="generator_predictions.LayerNorm",
            out="generator_lm_head",
            tied=True,
        ),
        "sequence-classification": Part(
            readout="first", dense="classifier.dense", act="gelu", out="classifier.out_proj"
        ),
        "multiple-choice": Part(
            readout="first",
            dense="sequence_summary.summary",
            act="gelu",
            out="classifier",
            rows=1,
            settings=(("readout", "summary_type"), ("act", "summary_activation")),
        ),
        "token-classification": TOKENS,
        "question-answering": SPAN,
    },
    # of the discriminator (Clark et al. 2020): was this token replaced?
    pre_training={
        "replaced-token": Part(
            readout="tokens",
            dense="discriminator_predictions.dense",
            out="discriminator_predictions.dense_prediction",
            rows=1,
        )
    },
)

ARCHITECTURE = Architecture(
    build=ElectraEncoder,
    names=NAMES,
    saved_as="ElectraModel",
    tasks=TASKS,
    keys=KEYS,
    read=read,
    buffers=bert.BUFFERS,
)
