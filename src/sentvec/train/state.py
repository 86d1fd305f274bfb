"""What a run of training needs to go on exactly where it was: gathered, written whole or not at all, and put back.

No state of random generators is among it: each step seeds them by its own number.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from sentvec.checkpoint.files import write_bytes
from sentvec.errors import OutputError

_VERSION = 2
_DIGEST = 64  # characters of a hash, which nobody can read


@dataclass
class Position:
    """Where a run is. It changes at every step.

    Attributes:
        step: optimiser steps done.
        epoch: number of the epoch, from 0.
        batch: batches of the epoch that are done.
        best: best score so far, or None.
        scores: all scores of the model that had it.
        waited: evaluations since then.
        loss: mean loss since the last line of the log.
        counted: batches in that mean.
        texts: texts that went through so far.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    waited: int = 0
    loss: float = 0.0
    counted: int = 0
    texts: int = 0


@dataclass(frozen=True)
class Stateful:
    """All that a run changes, besides its position.

    Attributes:
        modules: encoder, projections, objectives and the average of weights, by name.
        optimizer: the optimiser.
        made_from: settings, model and data, each by its name; a state of others is refused.
    """

    modules: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer
    made_from: Mapping[str, str]


def save_state(path: Path, state: Stateful, position: Position) -> None:
    """Write a state in one file, which is replaced only once the new one is on the disk."""
    content = {
        "version": _VERSION,
        "made_from": dict(state.made_from),
        "position": vars(position),
        "modules": {name: module.state_dict() for name, module in state.modules.items()},
        "optimizer": state.optimizer.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path, state: Stateful) -> Position:
    """Put a state back into modules and optimiser.

    Raises:
        OutputError: the file cannot be read, or is of another run.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["version"] != _VERSION:
            raise OutputError(f"{path} is of version {content['version']!r}; known: {_VERSION}. Begin a new run.")
        if changed := _changes(content["made_from"], state.made_from):
            raise OutputError(
                f"{path} is of a run with other settings, data or another model: {changed}. Give those of that run "
                f"(settings: {path.with_name('config.toml')}), or begin a new one in another folder."
            )
        for name, module in state.modules.items():
            module.load_state_dict(content["modules"][name])
        state.optimizer.load_state_dict(content["optimizer"])
        return Position(**content["position"])
    except OutputError:
        raise
    except Exception as error:  # torch.load raises almost anything for a file that is damaged
        raise OutputError(f"{path} is damaged ({str(error).splitlines()[0]}). Begin a new run.") from None


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say what is not what it was.

    >>> _changes({"seed": "0", "data": "a" * 64}, {"seed": "1", "data": "b" * 64})
    'data changed; seed was 0 and is 1'
    """
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    told = []
    for name in changed:
        values = before.get(name, "nothing"), now.get(name, "nothing")
        plain = all(len(value) < _DIGEST for value in values)
        told.append(f"{name} was {values[0]} and is {values[1]}" if plain else f"{name} changed")
    return "; ".join(told)


def cut_log(path: Path, step: int) -> None:
    """Take away the lines that an interrupted run wrote after its last state."""
    if path.exists():  # of an older run, too
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        write_bytes(path, "".join(f"{line}\n" for line in kept).encode())
