"""Settings and data sets in; for each data set the objective that it is learnt with, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sentvec.errors import InvalidInput
from sentvec.runtime.embedder import Embedder
from sentvec.train.batches import Dataset
from sentvec.train.config import TrainConfig
from sentvec.train.objectives import DEFAULTS, OBJECTIVES, Objective, names_for, objective
from sentvec.train.objectives_contrastive import Guide
from sentvec.train.wrappers import adaptive_layers, matryoshka

COUNTED = "data"
"""Stands for how many examples each class has, where an option asks for that."""


def losses_for(datasets: Sequence[Dataset], config: TrainConfig) -> list[tuple[str, Mapping[str, Any]]]:
    """Return name and options of the loss for each data set.

    Raises:
        InvalidInput: settings are of another number of data sets, or there is no usual loss for one.
    """
    chosen = zip(config.losses(len(datasets)), datasets, strict=True)
    return [(name or _default(one), options) for (name, options), one in chosen]


def objective_for(
    name: str,
    options: Mapping[str, Any],
    dataset: Dataset,
    config: TrainConfig,
    width: int,
    *,
    device: str = "auto",
    local_files_only: bool = False,
) -> Objective:
    """Build an objective for a data set.

    Args:
        name: as in `sentvec.train.objectives.OBJECTIVES`.
        options: its options. As in a file, `guide` may be a model's name, and `counts` may be "data".
        dataset: what is learnt from; it tells the number of classes, where an objective asks for that.
        config: what it is wrapped in.
        width: features of a vector.
        device: where a guide encodes.
        local_files_only: whether the network must not be asked for the guide.

    Raises:
        InvalidInput: it does not learn from examples of this kind, or an option is not possible.
        ModelError: the guide cannot be loaded.
    """
    row = OBJECTIVES.get(name)
    known = {"dim": width, "classes": max(len(dataset.labels), 2)}
    needed = {} if row is None else {option: known[option] for option in row.needs if option in known}
    if row is not None and dataset.kind not in row.kinds:  # before a guide is loaded
        raise InvalidInput(
            f"loss {name!r} learns from {' or '.join(sorted(row.kinds))}, and {dataset.name} holds {dataset.kind}. "
            f"Losses for {dataset.kind}: {', '.join(names_for(dataset.kind))}. Or say what "
            "examples are (--kind), or what the columns are (--column)."
        )
    read = dict(options)
    if read.get("counts") == COUNTED and dataset.kind == "classes":
        labels = torch.tensor([one.value for one in dataset.examples], dtype=torch.int64)
        read["counts"] = torch.bincount(labels, minlength=known["classes"]).clamp(min=1).tolist()
    if isinstance(guide := read.get("guide"), str):
        read["guide"] = _guide(Embedder.from_pretrained(guide, device=device, local_files_only=local_files_only))
    made = objective(name, **(needed | read))
    if config.matryoshka:
        if max(config.matryoshka) > width:
            raise InvalidInput(
                f"matryoshka is {list(config.matryoshka)}, and vectors have {width} features. Give smaller widths."
            )
        made = matryoshka(made, (width, *config.matryoshka))
    return adaptive_layers(made, config.inner_layers) if config.inner_layers else made


def _guide(model: Embedder) -> Guide:
    return lambda texts: model.encode(list(texts), progress=False)


def _default(dataset: Dataset) -> str:
    if dataset.kind not in DEFAULTS:
        raise InvalidInput(f"{dataset.name} holds {dataset.kind}, for which no loss is the usual one; name one.")
    return DEFAULTS[dataset.kind]
