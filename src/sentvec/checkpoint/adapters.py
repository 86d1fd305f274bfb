"""Adapters: low-rank changes of linear maps ↔ a folder as peft lays it out; a model and changes in, their sum out.

The change of a map is `scale · up @ down` (Hu et al. 2021, LoRA, arXiv 2106.09685). Maps go by the checkpoint's own
names, so that peft finds them in the model that transformers builds of the same base.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sentvec.checkpoint.files import present, read_json, write_bytes, write_json
from sentvec.checkpoint.load import CONFIGS, Checkpoint
from sentvec.checkpoint.names import expand
from sentvec.errors import ConfigError, WeightsError
from sentvec.models.registry import architecture

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_BEFORE = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
# what peft can do besides, and what it says where it does not
_OTHERWISE: dict[str, tuple[Any, ...]] = {
    "bias": ("none",), "use_dora": (False,), "fan_in_fan_out": (False,), "modules_to_save": ([],),
    "alpha_pattern": ({},), "layer_replication": ([],), "lora_bias": (False,),
    "trainable_token_indices": ([], {}), "target_parameters": ([],),
}  # fmt: skip


@dataclass(frozen=True)
class LowRank:
    """The change of one linear map.

    Attributes:
        down: (rank, inputs) float32.
        up: (outputs, rank) float32.
        scale: what their product is multiplied with.
    """

    down: Tensor
    up: Tensor
    scale: float

    def added_to(self, base: Tensor) -> Tensor:
        """Return a map's matrix (outputs, inputs) with the change in it."""
        return torch.addmm(base, self.up, self.down, alpha=self.scale)


@dataclass(frozen=True)
class Adapter:
    """All changes of a model.

    Attributes:
        base: name of the model that they are of, as it was written; empty where it is not said.
        changes: the checkpoint's name of a linear map, such as ``encoder.layer.0.attention.self.query``, -> its change.
    """

    base: str
    changes: Mapping[str, LowRank]


def is_adapter(folder: Path) -> bool:
    """Say whether a folder holds changes of a model, and no model."""
    return present(folder / CONFIG) and not any(present(folder / name) for name in CONFIGS)


def maps_of(checkpoint: Checkpoint) -> dict[str, tuple[str, ...]]:
    """Return our name of each linear map -> the checkpoint's names of those that it is made of, one under the other."""
    row = architecture(checkpoint.model_type)
    table = expand(row.names, row.places(checkpoint.encoder.config))
    modules = dict(checkpoint.encoder.named_modules()) if isinstance(checkpoint.encoder, torch.nn.Module) else {}
    return {
        name: tuple(one.removesuffix(".weight") for one in theirs)
        for ours, theirs in table.items()
        if type(modules.get(name := ours.removesuffix(".weight"))) is torch.nn.Linear
        and all(one.endswith(".weight") for one in (ours, *theirs))
    }


def write_adapter(folder: Path, adapter: Adapter, *, rank: int, alpha: float) -> None:
    """Write changes in the two files that peft reads.

    Args:
        folder: made if it is not there.
        adapter: all of one rank; the scale of each is `alpha / rank`.
        rank, alpha: as peft calls them.
    """
    tensors = {}
    for name, change in adapter.changes.items():
        tensors[f"{_BEFORE}{name}{_DOWN}"] = change.down.detach().float().cpu().contiguous()
        tensors[f"{_BEFORE}{name}{_UP}"] = change.up.detach().float().cpu().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_json(
        folder / CONFIG,
        {
            "peft_type": "LORA", "task_type": "FEATURE_EXTRACTION", "base_model_name_or_path": adapter.base or None,
            "r": rank, "lora_alpha": alpha, "lora_dropout": 0.0, "target_modules": sorted(adapter.changes),
            "bias": "none", "fan_in_fan_out": False, "modules_to_save": None, "inference_mode": True,
        },
    )  # fmt: skip


def read_adapter(folder: Path) -> Adapter:
    """Read the files of an adapter, ours or peft's.

    Raises:
        ConfigError: it is none, or of another kind than a low-rank change of linear maps.
        WeightsError: the weights cannot be read, or do not go together.
    """
    config = read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise ConfigError(f"{folder / CONFIG} is of kind {config.get('peft_type')!r}; known: LORA.")
    for key, usual in _OTHERWISE.items():
        if (found := config.get(key)) is not None and found not in usual:
            raise ConfigError(f"{folder / CONFIG} sets {key} to {found!r}, which is not read. Merge it with peft.")
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, int | float):
        raise ConfigError(f"lora_alpha in {folder / CONFIG} is {alpha!r}, which should be a number.")
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{folder / WEIGHTS} cannot be read ({error}).") from None
    changes = {}
    for name, down in tensors.items():
        up = tensors.get(name.removesuffix(_DOWN) + _UP)
        if not name.endswith(_DOWN):
            if not name.endswith(_UP) or name.removesuffix(_UP) + _DOWN not in tensors:
                raise WeightsError(f"{folder / WEIGHTS} holds {name!r}, which is no half of a low-rank change.")
            continue
        if up is None or up.ndim != 2 or down.ndim != 2 or up.shape[1] != len(down):
            raise WeightsError(f"{name!r} in {folder / WEIGHTS} has no other half that fits it.")
        scale = alpha / (math.sqrt(len(down)) if config.get("use_rslora") else len(down))
        changes[name.removeprefix(_BEFORE).removesuffix(_DOWN)] = LowRank(down.float(), up.float(), scale)
    return Adapter(str(config.get("base_model_name_or_path") or ""), changes)


@torch.no_grad()
def merge(checkpoint: Checkpoint, adapter: Adapter) -> None:
    """Add changes to a model's weights, in place.

    Raises:
        WeightsError: a change is of a map that the model does not have, or of another shape.
    """
    wrappers = architecture(checkpoint.model_type).wrappers
    maps = maps_of(checkpoint)
    places = {name: (ours, i, len(theirs)) for ours, theirs in maps.items() for i, name in enumerate(theirs)}
    assert isinstance(checkpoint.encoder, torch.nn.Module)
    for given, change in adapter.changes.items():
        name = next((plain for one in ("", *wrappers) if (plain := given.removeprefix(one)) in places), given)
        if name not in places:
            known = ", ".join(list(places)[:6])
            raise WeightsError(f"the adapter changes {name!r}, which the model does not have. It has {known} ….")
        ours, number, count = places[name]
        part = checkpoint.encoder.get_submodule(ours).get_parameter("weight").chunk(count)[number]
        if part.shape != (len(change.up), change.down.shape[1]):
            shape = (len(change.up), change.down.shape[1])
            raise WeightsError(f"the adapter's change of {name} is {shape}, the model's map is {tuple(part.shape)}.")
        part.copy_(change.added_to(part))
