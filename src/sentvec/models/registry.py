"""The only dispatch on `model_type`: config.json in, the architecture that reads it out.

A new architecture is one file beside this one and one row in `ARCHITECTURES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError, UnknownModelType
from sentvec.models import (
    albert,
    bert,
    distilbert,
    electra,
    ernie,
    head_table,
    modernbert,
    mpnet,
    nomic_bert,
    xlm,
    xlnet,
)
from sentvec.models.config import BERT_KEYS, EncoderConfig, Keys, read_config
from sentvec.models.head_table import Family
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe

Names = tuple[tuple[str, tuple[str, ...]], ...]
Places = Sequence[Mapping[str, int]]
"""For each layer that a checkpoint stores, what the braces in its names stand for, such as ``{"i": 0}``."""


def every_layer(numbers: EncoderConfig) -> Places:
    """Say that every layer is stored, under its number from 0."""
    return [{"i": i} for i in range(numbers.layers)]


class Encoder(Protocol):
    """What every architecture's encoder is: a module from packed batches to hidden states."""

    config: EncoderConfig
    pooler: Pooler | None

    def __call__(self, batch: PackedBatch, *, kernel: str = "auto", probe: Probe | None = None) -> Tensor:
        """Return the last hidden states, (tokens, hidden)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All that one architecture has of its own.

    Attributes:
        build: the encoder's numbers, and whether there is a pooler -> a module. The module's parameters are those
            of `names`; a buffer that is computed, and not stored, must be made in `forward`.
        names: our parameter names and the checkpoint's, see `sentvec.checkpoint.names`.
        saved_as: class name that config.json gets in `architectures` on saving.
        places: the layers that are stored, where not every layer is.
        keys: our configuration fields and their keys in config.json.
        read: config.json -> the encoder's numbers.
        prefixes: what checkpoints may put before the encoder's names, with a task head for example.
        heads: beginnings of names that are no part of the encoder, and are left out on purpose.
        buffers: names of stored constants, left out as well.
        tasks: the heads that checkpoints of this family can have.
        pads_left: whether other readers must pad texts on the left, for a head reads the last token. There is no
            padding here; it is told to them when a model is saved.
    """

    build: Callable[..., Any]
    names: Names
    saved_as: str
    places: Callable[[EncoderConfig], Places] = every_layer
    keys: Keys = field(default_factory=lambda: BERT_KEYS)
    read: Callable[[Mapping[str, Any]], EncoderConfig] = read_config
    prefixes: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    tasks: Family = field(default_factory=Family)
    pads_left: bool = False


def _read_roberta(raw: Mapping[str, Any]) -> EncoderConfig:
    plain = read_config(raw)
    padding = raw.get("pad_token_id", 1)
    if not isinstance(padding, int) or not 0 <= padding < plain.positions - 1:
        raise ConfigError(
            f"config.json cannot be used: pad_token_id is {padding!r}, which should be a whole number below "
            "max_position_embeddings."
        )
    # rows 0 .. padding id of the position table are not for tokens (Liu et al. 2019; fairseq's numbering)
    return replace(plain, position_offset=padding + 1)


_BERT = Architecture(
    build=bert.BertEncoder,
    names=bert.NAMES,
    saved_as="BertModel",
    # both: checkpoints that are BERT in all but the name, such as chinese-roberta-wwm, come with either
    prefixes=("bert.", "roberta."),
    heads=bert.HEADS,
    buffers=bert.BUFFERS,
    tasks=head_table.BERT,
)
_ROBERTA = replace(_BERT, read=_read_roberta, saved_as="RobertaModel", tasks=head_table.ROBERTA)

ARCHITECTURES: dict[str, Architecture] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": replace(_ROBERTA, saved_as="XLMRobertaModel"),
    "camembert": replace(_ROBERTA, saved_as="CamembertModel"),
    "distilbert": Architecture(
        build=bert.BertEncoder,
        names=distilbert.NAMES,
        saved_as="DistilBertModel",
        keys=distilbert.KEYS,
        read=distilbert.read,
        prefixes=("distilbert.",),
        heads=distilbert.HEADS,
        buffers=distilbert.BUFFERS,
        tasks=head_table.DISTILBERT,
    ),
    "albert": Architecture(
        build=albert.AlbertEncoder,
        names=albert.NAMES,
        saved_as="AlbertModel",
        places=albert.places,
        keys=albert.KEYS,
        read=albert.read,
        prefixes=("albert.",),
        heads=albert.HEADS,
        buffers=bert.BUFFERS,
        tasks=head_table.ALBERT,
    ),
    "electra": Architecture(
        build=electra.ElectraEncoder,
        names=electra.NAMES,
        saved_as="ElectraModel",
        keys=electra.KEYS,
        read=electra.read,
        prefixes=("electra.",),
        heads=electra.HEADS,
        buffers=bert.BUFFERS,
        tasks=head_table.ELECTRA,
    ),
    "ernie": Architecture(
        build=ernie.ErnieEncoder,
        names=ernie.NAMES,
        saved_as="ErnieModel",
        keys=ernie.KEYS,
        read=ernie.read,
        prefixes=("ernie.",),
        heads=bert.HEADS,
        buffers=bert.BUFFERS,
        tasks=head_table.ERNIE,
    ),
    "xlm": Architecture(
        build=bert.BertEncoder,
        names=xlm.NAMES,
        saved_as="XLMModel",
        keys=xlm.KEYS,
        read=xlm.read,
        prefixes=("transformer.",),
        heads=xlm.HEADS,
        buffers=xlm.BUFFERS,
        tasks=head_table.XLM,
    ),
    "mpnet": Architecture(
        build=mpnet.MPNetEncoder,
        names=mpnet.NAMES,
        saved_as="MPNetModel",
        keys=mpnet.KEYS,
        read=mpnet.read,
        prefixes=("mpnet.",),
        heads=mpnet.HEADS,
        buffers=mpnet.BUFFERS,
        tasks=head_table.MPNET,
    ),
    "modernbert": Architecture(
        build=modernbert.ModernBertEncoder,
        names=modernbert.NAMES,
        saved_as="ModernBertModel",
        keys=modernbert.KEYS,
        read=modernbert.read,
        prefixes=("model.",),
        heads=modernbert.HEADS,
        tasks=head_table.MODERNBERT,
    ),
    "xlnet": Architecture(
        build=xlnet.XLNetEncoder,
        names=xlnet.NAMES,
        saved_as="XLNetModel",
        keys=xlnet.KEYS,
        read=xlnet.read,
        prefixes=("transformer.",),
        heads=xlnet.HEADS,
        tasks=head_table.XLNET,
        pads_left=True,
    ),
    "nomic_bert": Architecture(
        build=nomic_bert.NomicBertEncoder,
        names=nomic_bert.NAMES,
        saved_as="NomicBertModel",
        keys=nomic_bert.KEYS,
        read=nomic_bert.read,
        prefixes=("bert.", "nomic_bert."),
        heads=nomic_bert.HEADS,
        buffers=bert.BUFFERS,
        tasks=head_table.NOMIC_BERT,
    ),
}


def build_empty(row: Architecture, numbers: EncoderConfig, *, pooler: bool) -> Any:
    """Build an encoder (a module) whose parameters have shapes but no memory, for weights about to be read."""
    with torch.device("meta"), NoInitialisation():
        return row.build(numbers, add_pooling_layer=pooler)


class NoInitialisation(TorchFunctionMode):
    """Leaves out random initialisation, which on parameters without memory makes torch import its compiler (2 s)."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))


def architecture(model_type: str) -> Architecture:
    """Return the architecture that `model_type` of config.json names.

    Raises:
        UnknownModelType: there is none of that name.
    """
    if model_type not in ARCHITECTURES:
        raise UnknownModelType(
            f"model_type {model_type!r} in config.json is not known. Known: {', '.join(ARCHITECTURES)}. "
            "CONTRIBUTING.md says how to add an architecture."
        )
    return ARCHITECTURES[model_type]
