"""All that can be chosen for a run of training, as one value that is written beside its results."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_type_hints

from sentvec.errors import ConfigError, InvalidInput
from sentvec.train.hints import fits, words
from sentvec.train.mine import MineConfig
from sentvec.train.optim import SCHEDULES

_RANGES = {
    "warmup": (0, 1), "layer_decay": (0, 1), "weight_decay": (0, 1), "learning_rate": (0, 1), "head_rate": (0, 1),
    "clip": (0, 1e9), "ema": (0, 1), "adversary": (0, 1e9), "lora_alpha": (0, 1e9),
}  # fmt: skip
_OPTIONAL = ("head_rate", "clip", "ema", "adversary")
_COUNTS = ("max_steps", "unfreeze_every", "evaluate_every", "patience", "save_every", "lora_rank", "mine_every")
_TUPLES = ("matryoshka", "inner_layers", "lora_targets", "pupil_layers")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """One data set of a run, a table of `[[data]]` in a file.

    Attributes:
        path: of the file or folder.
        loss, loss_options: what it is learnt with; None takes those of the run.
        kind, columns: what its examples are, and which column is what, see `sentvec.train.read.read_dataset`.
    """

    path: str
    loss: str | None = None
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is not possible.

        Raises:
            InvalidInput: a value is of another type than it must be, or there are options for no loss.
        """
        _check_types(self)
        if self.loss_options and self.loss is None:
            raise InvalidInput(f"data {self.path} has loss_options and no loss; name the loss that they are of.")


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
        lora_rank: rank of the changes of linear maps that alone are learnt (Hu et al. 2021, arXiv 2106.09685); None
            learns all weights. See `sentvec.train.lora`.
        lora_alpha: the changes are multiplied with alpha / rank.
        lora_targets: which maps: parts of their names, ours or the checkpoint's, such as query and value.
        gradient_checkpointing: keep only what each layer began with, and compute the rest of it again on the way back
            (Chen et al. 2016, arXiv 1604.06174): same gradients, less memory, more time.
        mine_every: steps after which the model looks for hard negatives of all pairs anew; None never. See
            `sentvec.train.remine`.
        mine: what a hard negative is; names and values as `sentvec.train.mine.MineConfig` has them.
        teacher: name of a model that the trained one is to learn from; None for none. See `sentvec.train.pupil`.
        taught: what of it: its vectors of texts, its layers (hidden states and attention), or, of a cross-encoder,
            its scores of documents.
        pupil_layers: numbers of the layers that the trained model keeps of its own, from 1; none for all.
        data: the data sets, each with what it is learnt with; without any, each is learnt with `loss`.
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
    lora_rank: int | None = None
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] = ("attention", "feed_forward")
    gradient_checkpointing: bool = False
    mine_every: int | None = None
    mine: Mapping[str, Any] = field(default_factory=dict)
    teacher: str | None = None
    taught: Literal["vectors", "layers", "scores"] = "vectors"
    pupil_layers: tuple[int, ...] = ()
    data: tuple[DataConfig, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is not possible.

        Raises:
            InvalidInput: a value is not possible; the message names it.
        """
        for name in _TUPLES:  # lists, when they come from a file
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if isinstance(self.data, Mapping):
            raise InvalidInput("data is one table; it must be a list of tables: in a file, write [[data]], not [data].")
        if isinstance(self.data, list | tuple):
            data = tuple(one if isinstance(one, DataConfig) else _data(one) for one in self.data)
            object.__setattr__(self, "data", data)
        _check_types(self)
        for name in ("epochs", "batch_size", "micro_tokens", "accumulate"):
            _least(name, getattr(self, name), 1)
        for name in _COUNTS:
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
        _check_mine(self.mine)
        _check_together(self)

    def losses(self, count: int) -> list[tuple[str | None, Mapping[str, Any]]]:
        """Return name and options of the loss for each of `count` data sets; None is the usual one.

        Raises:
            InvalidInput: settings are of another number of data sets.
        """
        if self.data and len(self.data) != count:
            raise InvalidInput(f"settings are of {len(self.data)} data sets, and there are {count}.")
        own = [(one.loss, one.loss_options) for one in self.data] or [(None, {})] * count
        return [(self.loss, self.loss_options) if name is None else (name, options) for name, options in own]

    def to_toml(self) -> str:
        """Write it as TOML; what is None is left away."""
        return "".join(f"{name} = {toml(value)}\n" for name, value in asdict(self).items() if value is not None)


def read_config(path: Path, **given: Any) -> TrainConfig:
    """Read settings from a TOML file; those that are given count more.

    Raises:
        ConfigError: the file cannot be read, or names a setting that is not known.
        InvalidInput: a value is not possible.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{path} cannot be read as TOML ({why}). Give settings as run/config.toml of a trained model has them."
        ) from None
    if unknown := unknown_setting(content):
        raise ConfigError(f"{path} sets {unknown}")
    return TrainConfig(**(content | given))


def unknown_setting(given: Iterable[str]) -> str:
    """Say which of some names is no setting, and which there are; nothing where all are settings.

    >>> unknown_setting(["seed", "epochs"])
    ''
    >>> unknown_setting(["batchsize"])[-39:]
    'warmup, weight_decay. Is it batch_size?'
    """
    known = sorted(one.name for one in fields(TrainConfig))
    unknown = sorted(set(given).difference(known))
    if not unknown:
        return ""
    near = "".join(f" Is it {one}?" for one in get_close_matches(unknown[0], known, n=1))
    return f"{unknown[0]!r}, which is not known. Known: {', '.join(known)}.{near}"


def refuse(config: TrainConfig, names: Sequence[str], whose: str) -> None:
    """Refuse settings that a job has no use for, where they are set.

    Raises:
        InvalidInput: one of them is not what it is by itself.
    """
    usual = TrainConfig()
    for name in names:
        if getattr(config, name) != getattr(usual, name):
            raise InvalidInput(f"{name} is {getattr(config, name)!r}, and is {whose}; leave it out.")


def _check_types(config: TrainConfig | DataConfig) -> None:
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not fits(value, hint):
            raise InvalidInput(f"{name} is {value!r}; it must be {words(hint)}.")


def _check_together(config: TrainConfig) -> None:
    if config.pupil_layers and config.teacher is None:
        raise InvalidInput("pupil_layers are for a model that has a teacher; name one as teacher.")
    if config.lora_rank is not None and config.adversary is not None:
        raise InvalidInput("adversary moves word embeddings, which stay as they are with lora_rank; leave out one.")
    if config.unfreeze_every is not None and config.freeze == 0:
        raise InvalidInput(f"unfreeze_every is {config.unfreeze_every}, and freeze is 0: no layer is frozen.")


def _least(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(f"{name} is {value!r}, which should be a whole number, {least} or more.")


def _data(given: object) -> DataConfig:
    known = [one.name for one in fields(DataConfig)]
    if not isinstance(given, Mapping) or "path" not in given:
        raise InvalidInput(f"data holds {given!r}; give tables with {', '.join(known)}, path at least.")
    if unknown := sorted(set(given) - set(known)):
        raise InvalidInput(f"data sets {unknown[0]!r}, which is not known. Known: {', '.join(known)}.")
    return DataConfig(**given)


def _check_mine(given: Mapping[str, Any]) -> None:
    known = [one.name for one in fields(MineConfig)]
    if unknown := sorted(set(given) - set(known)):
        raise InvalidInput(f"mine sets {unknown[0]!r}, which is not known. Known: {', '.join(known)}.")
    MineConfig(**given)


def toml(value: Any) -> str:
    """Write a value as TOML.

    >>> toml({"a": [1, True, "b"]})
    '{ "a" = [1, true, "b"] }'
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False)  # a basic string of TOML has JSON's escapes
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{toml(str(key))} = {toml(one)}" for key, one in value.items() if one is not None) + " }"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value)
