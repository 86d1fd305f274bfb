"""All that can be chosen for a run of training, as one value that is written beside its results."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sentvec.errors import ConfigError, InvalidInput
from sentvec.train.optim import SCHEDULES

_RANGES = {
    "warmup": (0, 1), "layer_decay": (0, 1), "weight_decay": (0, 1), "learning_rate": (0, 1), "head_rate": (0, 1),
    "clip": (0, 1e9), "ema": (0, 1), "adversary": (0, 1e9),
}  # fmt: skip
_OPTIONAL = ("head_rate", "clip", "ema", "adversary")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a run.

    Attributes:
        loss: name of an objective; None takes the one for the kind of data.
        loss_options: its options.
        matryoshka: widths at which vectors are learnt besides the full one, such as (256, 128, 64); see
            `sentvec.train.wrappers.matryoshka`.
        inner_layers: layers, counted from 1, that are to give good vectors too; see `adaptive_layers` there.
        epochs: how often all examples are seen.
        max_steps: most optimiser steps; None for as many as the epochs have.
        batch_size: examples of a batch: those that are each other's negatives.
        micro_tokens: most tokens that are in memory with their gradients at once. A batch that has more is learnt from
            in parts, with the same gradient (Gao et al. 2021, GradCache).
        accumulate: batches whose gradients are averaged into one step.
        learning_rate: highest rate of the encoder.
        head_rate: highest rate of what the objective itself learns; None is that of the encoder.
        schedule: how the rate goes: see `sentvec.train.optim.SCHEDULES`.
        warmup: share of the steps in which the rate rises from zero.
        weight_decay: of all weights but biases and normalisations.
        layer_decay: factor on the rate for each layer further from the output (Howard & Ruder 2018); 1 for none.
        freeze: how many layers from the input on stay as they are, embeddings included; 0 freezes nothing.
        unfreeze_every: steps after which one frozen layer more learns, from the output on; None never.
        clip: longest gradient; None for no limit.
        precision: float32, or bfloat16: number format of the products; weights are kept in float32.
        seed: everything that is random is drawn from it.
        unique: no text twice in a batch.
        prompts: texts in front of a column's texts, by role: query, document.
        evaluate_every: steps between two evaluations; None is once an epoch.
        patience: evaluations without a better score after which the run ends; None never.
        save_every: steps between two checkpoints; None is once an epoch.
        ema: share of a running average of the weights that stays at each step, such as 0.999; the average is what is
            scored and saved. None keeps none.
        adversary: length by which word embeddings are moved along their gradient for a second pass (Miyato et al.
            2017, arXiv 1605.07725, FGM); None makes none.
    """

    loss: str | None = None
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    matryoshka: tuple[int, ...] = ()
    inner_layers: tuple[int, ...] = ()
    epochs: int = 1
    max_steps: int | None = None
    batch_size: int = 32
    micro_tokens: int = 16_384
    accumulate: int = 1
    learning_rate: float = 2e-5
    head_rate: float | None = None
    schedule: str = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    freeze: int = 0
    unfreeze_every: int | None = None
    clip: float | None = 1.0
    precision: str = "float32"
    seed: int = 0
    unique: bool = True
    prompts: Mapping[str, str] = field(default_factory=dict)
    evaluate_every: int | None = None
    patience: int | None = None
    save_every: int | None = None
    ema: float | None = None
    adversary: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is not possible.

        Raises:
            InvalidInput: a value is not possible; the message names it.
        """
        for name in ("matryoshka", "inner_layers"):  # lists, when they come from a file
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("epochs", "batch_size", "micro_tokens", "accumulate"):
            _least(name, getattr(self, name), 1)
        for name in ("max_steps", "unfreeze_every", "evaluate_every", "patience", "save_every"):
            if getattr(self, name) is not None:
                _least(name, getattr(self, name), 1)
        _least("freeze", self.freeze, 0)
        if self.schedule not in SCHEDULES:
            raise InvalidInput(f"schedule {self.schedule!r} is not known. Known: {', '.join(SCHEDULES)}.")
        if self.precision not in ("float32", "bfloat16"):
            raise InvalidInput(f"precision {self.precision!r} cannot be trained in. Known: float32, bfloat16.")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            fits = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
            if not fits and not (value is None and name in _OPTIONAL):
                raise InvalidInput(f"{name} is {value!r}; accepted: {least} to {most:g}.")

    def to_toml(self) -> str:
        """Write it as TOML; what is None is left away."""
        return "".join(f"{name} = {_toml(value)}\n" for name, value in asdict(self).items() if value is not None)


def read_config(path: Path, **given: Any) -> TrainConfig:
    """Read settings from a TOML file; those that are given count more.

    Raises:
        ConfigError: the file cannot be read, or names a setting that is not known.
        InvalidInput: a value is not possible.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML ({error}).") from None
    known = {one.name for one in fields(TrainConfig)}
    if unknown := sorted(set(content) - known):
        raise ConfigError(f"{path} sets {unknown[0]!r}, which is not known. Known: {', '.join(sorted(known))}.")
    return TrainConfig(**(content | given))


def _least(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(f"{name} is {value!r}, which should be a whole number, {least} or more.")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False)  # a basic string of TOML has JSON's escapes
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(str(key))} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)
