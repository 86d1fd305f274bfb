"""Parameters in; groups with their rates and decay, and the factor that a schedule puts on rates at a step, out."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_UNDECAYED = re.compile(r"(?:^|[._])(?:bias|.*norm\..*)$")

Schedule = Callable[[float], float]
"""Share of the steps after warming up, 0 to 1, to the factor on the rate."""

SCHEDULES: dict[str, Schedule] = {
    "constant": lambda _: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "cosine_with_restarts": lambda done: 0.5 * (1.0 + math.cos(math.pi * (2.0 * done % 1.0))) if done < 1.0 else 0.0,
    "polynomial": lambda done: (1.0 - done) ** 2,
}
"""Schedules by name; each follows a linear rise from zero over the warm-up steps."""


def rate_factor(schedule: str, step: int, steps: int, warmup: int) -> float:
    """Return what the highest rate is multiplied with at a step.

    Args:
        schedule: a name in `SCHEDULES`.
        step: number of the step, from 0.
        steps: how many there are.
        warmup: steps in which the rate rises.

    >>> [rate_factor("linear", step, 6, 2) for step in range(6)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]
    """
    if step < warmup:
        return step / warmup
    return SCHEDULES[schedule](min((step - warmup) / max(steps - warmup, 1), 1.0))


def depth_of(name: str, layers: int) -> int:
    """Return how far from the input a parameter is: 0 for embeddings, 1 to `layers` for layers, more for what follows.

    >>> depth_of("embeddings.token_table.weight", 6), depth_of("layers.5.attention.qkv.bias", 6), depth_of("pooler", 6)
    (0, 6, 7)
    """
    found = _LAYER.search(name)
    if found:
        return int(found[1]) + 1
    return 0 if "embedding" in name or "relative" in name else layers + 1


def layer_count(names: Iterable[str]) -> int:
    """Return how many layers parameters of these names belong to."""
    return max((int(found[1]) + 1 for name in names if (found := _LAYER.search(name))), default=0)


def groups(
    encoder: nn.Module,
    extra: Iterable[nn.Module],
    *,
    rate: float,
    head_rate: float,
    decay: float,
    layer_decay: float,
) -> list[dict[str, Any]]:
    """Sort parameters into groups of like rate and decay, as BERT's own optimiser does (Devlin et al. 2018).

    Args:
        encoder: its biases and normalisations are not decayed.
        extra: projections and what an objective learns; frozen parameters are left away everywhere.
        rate: highest rate of the encoder's last layer.
        head_rate: highest rate of `extra`.
        decay: weight decay.
        layer_decay: factor for each layer further down.

    Returns:
        Groups as `torch.optim` takes them, each with its highest rate as "highest".
    """
    named = [(name, parameter) for name, parameter in encoder.named_parameters() if parameter.requires_grad]
    layers = layer_count(name for name, _ in named)
    sorted_: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in named:
        above = layers + 1 - min(depth_of(name, layers), layers + 1)
        key = rate * layer_decay ** max(above - 1, 0), 0.0 if _UNDECAYED.search(name) else decay
        sorted_[key].append(parameter)
    for module in extra:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                sorted_[head_rate, 0.0 if _UNDECAYED.search(name) or parameter.ndim < 2 else decay].append(parameter)
    return [
        {"params": found, "lr": highest, "highest": highest, "weight_decay": weight}
        for (highest, weight), found in sorted_.items()
    ]


def adamw(found: list[dict[str, Any]]) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) over groups."""
    return torch.optim.AdamW(found, lr=0.0, betas=(0.9, 0.999), eps=1e-8, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's rate to `factor` times its highest."""
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * factor
