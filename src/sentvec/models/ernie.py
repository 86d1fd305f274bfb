"""ERNIE (Sun et al. 2020, arXiv 1907.12412; 2021, 2107.02137): a packed batch in, hidden states (tokens, hidden) out.

BERT, with one more table of embeddings from version 2 on: which training task a text is for. ERNIE 1 has none, and is
BERT in all but its training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.models import bert
from sentvec.models.architecture import Architecture, Names
from sentvec.models.config import BERT_KEYS, EncoderConfig, Keys, read_config
from sentvec.models.head_table import bert_heads
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe
from sentvec.nn.stack import Layers


@dataclass(frozen=True, kw_only=True)
class ErnieNumbers:
    """What ERNIE has beyond BERT.

    Attributes:
        tasks: rows of the table of tasks.
        has_tasks: whether there is that table.
    """

    tasks: int = 3
    has_tasks: bool = False


KEYS: Keys = MappingProxyType(
    dict(BERT_KEYS) | {"tasks": ("task_type_vocab_size", int), "has_tasks": ("use_task_id", bool)}
)


def read(raw: Mapping[str, Any]) -> EncoderConfig:
    """Read config.json."""
    return read_config(raw, KEYS, own=ErnieNumbers)


class ErnieEncoder(nn.Module):
    """Embeddings with those of tasks, a stack of post-norm layers and, where the checkpoint has one, the pooler.

    Args:
        config: the encoder's numbers.
        add_pooling_layer: whether to build the pooler.
    """

    def __init__(self, config: EncoderConfig, *, add_pooling_layer: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = bert.embeddings_of(config, tasks=config.own.tasks if config.own.has_tasks else 0)
        self.layers = Layers(bert.layer_of(config) for _ in range(config.layers))
        self.pooler = Pooler(hidden=config.hidden) if add_pooling_layer else None

    def forward(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Encode a packed batch: (tokens, hidden). Arguments are those of `BertEncoder`."""
        out: Tensor = self.layers(self.embeddings(batch), batch, kernel, probe)
        return out


NAMES: Names = (*bert.NAMES, ("embeddings.task_table.weight", ("embeddings.task_type_embeddings.weight",)))

ARCHITECTURE = Architecture(
    build=ErnieEncoder,
    names=NAMES,
    saved_as="ErnieModel",
    tasks=bert_heads("ernie."),
    keys=KEYS,
    read=read,
    heads=bert.HEADS,
    buffers=bert.BUFFERS,
)
