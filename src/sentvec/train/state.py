"""What a run of training needs to go on exactly where it was: gathered, written whole or not at all, and put back.

No state of random generators is among it: each step seeds them by its own number.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from sentvec.checkpoint.files import write_bytes
from sentvec.errors import OutputError

_VERSION = 1


@dataclass
class Position:
    """Where a run is. It changes at every step.

    Attributes:
        step: optimiser steps done.
        epoch: number of the epoch, from 0.
        batch: batches of the epoch that are done.
        best: best score so far, or None.
        waited: evaluations since then.
        loss: mean loss since the last line of the log.
        counted: batches in that mean.
        texts: texts that went through so far.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float | None = None
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
        key: what the run was made from; a state of another key is refused.
    """

    modules: Mapping[str, nn.Module]
    optimizer: torch.optim.Optimizer
    key: str


def save_state(path: Path, state: Stateful, position: Position) -> None:
    """Write a state in one file, which is replaced only once the new one is on the disk."""
    content = {
        "version": _VERSION,
        "key": state.key,
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
        if content["key"] != state.key:
            raise OutputError(
                f"{path} is of a run with another model, other data or other settings. Give those of that run, or "
                "begin a new one in another folder."
            )
        for name, module in state.modules.items():
            module.load_state_dict(content["modules"][name])
        state.optimizer.load_state_dict(content["optimizer"])
        return Position(**content["position"])
    except OutputError:
        raise
    except Exception as error:  # torch.load raises almost anything for a file that is damaged
        raise OutputError(f"{path} is damaged ({str(error).splitlines()[0]}). Begin a new run.") from None
