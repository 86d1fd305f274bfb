"""What an architecture is: one row of facts about it in, its encoder, built and without memory for its weights, out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sentvec.batch import PackedBatch
from sentvec.models.config import BERT_KEYS, EncoderConfig, Keys, read_config
from sentvec.models.head_table import Family
from sentvec.nn.pooler import Pooler
from sentvec.nn.probe import Probe

Names = tuple[tuple[str, tuple[str, ...]], ...]
"""Our parameter <- the checkpoint's; several of theirs are stacked along the first dimension; {i} counts layers."""

Places = Sequence[Mapping[str, int]]
"""For each layer that a checkpoint stores, what the braces in its names stand for, such as ``{"i": 0}``."""


def weight_and_bias(rows: Iterable[tuple[str, str | tuple[str, ...]]]) -> Names:
    """Write out rows of a table of names for parameters that come in twos, a star in the place of their last part.

    >>> weight_and_bias([("norm.*", "ln.*"), ("qkv.*", ("q.*", "k.*"))])[1:3]
    (('norm.bias', ('ln.bias',)), ('qkv.weight', ('q.weight', 'k.weight')))
    """
    given = [(ours, (theirs,) if isinstance(theirs, str) else theirs) for ours, theirs in rows]
    return tuple(
        (ours.replace("*", part), tuple(name.replace("*", part) for name in theirs))
        for ours, theirs in given
        for part in ("weight", "bias")
    )


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
        tasks: the heads that checkpoints of this family can have, and what stands before the encoder's names then.
        places: the layers that are stored, where not every layer is.
        keys: our configuration fields and their keys in config.json.
        read: config.json -> the encoder's numbers.
        prefixes: what else checkpoints may put before the encoder's names.
        heads: beginnings of names that are no part of the encoder nor of a head in `tasks`, and are left out.
        buffers: names of stored constants, left out as well; and of what only some encoders of the kind use.
        constants: the encoder's numbers -> such constants, for other readers that miss them in what is saved.
        pads_left: whether other readers must pad texts on the left, for a head reads the last token. There is no
            padding here; it is told to them when a model is saved.
    """

    build: Callable[..., Any]
    names: Names
    saved_as: str
    tasks: Family = field(default_factory=Family)
    places: Callable[[EncoderConfig], Places] = every_layer
    keys: Keys = field(default_factory=lambda: BERT_KEYS)
    read: Callable[[Mapping[str, Any]], EncoderConfig] = read_config
    prefixes: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    constants: Callable[[EncoderConfig], Mapping[str, Tensor]] = lambda _: {}
    pads_left: bool = False

    @property
    def wrappers(self) -> tuple[str, ...]:
        """All that may stand before the encoder's names."""
        return (*self.prefixes, *([self.tasks.prefix] if self.tasks.prefix else []))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Beginnings of the names of all that is no part of the encoder."""
        parts = [part for row in self.tasks.rows.values() for part in row.parts.values()]
        known = {f"{name.split('.')[0]}." for part in parts for name in part.names.values()}
        return (*self.heads, *sorted(known))


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
