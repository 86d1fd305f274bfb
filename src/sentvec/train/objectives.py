"""What a batch's vectors are held to: the name of an objective in, a module from vectors to one number out.

A new objective is a module in a file beside this one and one row in `OBJECTIVES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sentvec.errors import InvalidInput
from sentvec.ops.losses.common import wide
from sentvec.train.batches import Batch, Kind
from sentvec.train.objectives_contrastive import InfoNCE
from sentvec.train.objectives_pairs import CoSENT

VALUED: frozenset[Kind] = frozenset({"scored", "labelled_pairs", "classes", "lists", "taught_scores", "taught_vectors"})
"""Kinds whose batches have values."""


class Objective(nn.Module):
    """An objective with all that the step has to know of it.

    Attributes:
        name: as in `OBJECTIVES`.
        kinds: of batches that it learns from.
        views: how often each column is encoded, each time with fresh dropout.
        layers: inner layers, counted from 1, whose vectors it needs besides the last layer's.
        body: the module that computes the loss; it may own parameters and buffers.
    """

    def __init__(
        self, body: nn.Module, *, name: str, kinds: frozenset[Kind], views: int = 1, layers: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.body = body
        self.name = name
        self.kinds = kinds
        self.views = views
        self.layers = layers

    def forward(self, vectors: tuple[Tensor, ...], batch: Batch) -> Tensor:
        """Compute the loss in float32, also where the step runs under autocast.

        Args:
            vectors: for the last layer, then for each of `layers`: for each view: for each of the batch's columns:
                (texts, dim).
            batch: the texts that the vectors are of, and what is known of them.

        Returns:
            () loss.

        Raises:
            InvalidInput: the objective does not learn from such batches, or the vectors are not those of the batch.
        """
        self._check(vectors, batch)
        with torch.autocast(vectors[0].device.type, enabled=False):
            loss: Tensor = self.body(tuple(wide(part) for part in vectors), batch)
        return loss

    def _check(self, vectors: tuple[Tensor, ...], batch: Batch) -> None:
        if batch.kind not in self.kinds:
            raise InvalidInput(
                f"objective {self.name!r} learns from {' or '.join(sorted(self.kinds))}; this batch is "
                f"{batch.kind}. Objectives for {batch.kind}: {', '.join(names_for(batch.kind))}."
            )
        if batch.kind in VALUED and batch.values is None:
            raise InvalidInput(f"a batch of {batch.kind} has no values; objective {self.name!r} learns from them.")
        wanted = [len(column) for column in batch.columns] * (self.views * (1 + len(self.layers)))
        if [len(part) for part in vectors] != wanted:
            raise InvalidInput(
                f"objective {self.name!r} needs (texts, dim) vectors of {wanted} texts: {len(batch.columns)} columns, "
                f"{self.views} views, {1 + len(self.layers)} layers; got {[tuple(part.shape) for part in vectors]}."
            )


@dataclass(frozen=True)
class Row:
    """One objective.

    Attributes:
        build: keyword options -> the module that computes the loss. Its signature is the list of options.
        kinds: of batches that it learns from.
        line: what it does, in one line, for the docs.
        paper: where it is from.
        views: how often each column is encoded.
        preset: options whose default is another than the module's own.
    """

    build: Callable[..., nn.Module]
    kinds: frozenset[Kind]
    line: str
    paper: str
    views: int = 1
    preset: Mapping[str, Any] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, Any]:
        """The options that may be left out, with their values."""
        given = {name: option.default for name, option in inspect.signature(self.build).parameters.items()}
        return {name: value for name, value in {**given, **self.preset}.items() if value is not inspect.Parameter.empty}

    @property
    def needs(self) -> tuple[str, ...]:
        """The options that have no default, such as `dim` and `classes`."""
        return tuple(name for name in inspect.signature(self.build).parameters if name not in self.defaults)


def _kinds(*names: Kind) -> frozenset[Kind]:
    return frozenset(names)


OBJECTIVES: dict[str, Row] = {
    "infonce": Row(
        InfoNCE,
        _kinds("pairs", "tuples"),
        "the positive against all other documents of the batch",
        "van den Oord et al. 2018, arXiv 1807.03748; Henderson et al. 2017, arXiv 1705.00652",
    ),
    "simcse": Row(
        InfoNCE,
        _kinds("texts"),
        "a text against all others, its positive the same text under another dropout",
        "Gao et al. 2021, arXiv 2104.08821",
        views=2,
    ),
    "cosent": Row(
        CoSENT,
        _kinds("scored", "labelled_pairs"),
        "cosines in the order of the scores",
        "Su 2022, kexue.fm/archives/8847",
    ),
}

DEFAULTS: dict[Kind, str] = {"pairs": "infonce", "tuples": "infonce", "scored": "cosent", "texts": "simcse"}
"""The objective that each kind is learnt with where none is named."""


def names_for(kind: Kind) -> list[str]:
    """Return the names of the objectives that learn from batches of `kind`."""
    return [name for name, row in OBJECTIVES.items() if kind in row.kinds]


def objective(name: str, **options: Any) -> Objective:
    """Build an objective.

    Args:
        name: one of `OBJECTIVES`.
        options: those of its row; what is left out has the row's default.

    Raises:
        InvalidInput: the name or an option is not known, an option that is needed is left out, or a value cannot be.

    >>> objective("infonce", temperature=0.02).views
    1
    """
    if name not in OBJECTIVES:
        raise InvalidInput(f"objective {name!r} is not known. Known: {', '.join(OBJECTIVES)}.")
    row = OBJECTIVES[name]
    for option, value in options.items():
        _check_option(name, row, option, value)
    missing = [option for option in row.needs if option not in options]
    if missing:
        raise InvalidInput(f"objective {name!r} needs {' and '.join(missing)}; pass {', '.join(missing)}=...")
    return Objective(row.build(**{**row.defaults, **options}), name=name, kinds=row.kinds, views=row.views)


def _check_option(name: str, row: Row, option: str, value: object) -> None:
    known = (*row.needs, *row.defaults)
    if option not in known:
        raise InvalidInput(f"objective {name!r} has no option {option!r}. Its options: {', '.join(known) or 'none'}.")
    default = row.defaults.get(option)
    number = (int, float) if isinstance(default, float) else type(default)
    fits = isinstance(value, number) and isinstance(value, bool) == isinstance(default, bool)
    if isinstance(default, bool | int | float | str) and not fits:
        raise InvalidInput(
            f"option {option!r} of objective {name!r} is {value!r}; "
            f"it must be of type {type(default).__name__}, such as {default!r}."
        )
