"""Gradients of an encoder's linear maps in; the maps, changed by products of low rank, out.

This is LoRA (Hu et al. 2021, arXiv 2106.09685). A map always holds its weights with the change in them:
`base + scale · up @ down`. So a step walks the very path of a step without adapters, written out or not, and what is
saved is merged already. What the path finds is the gradient G of the merged matrix, and by the chain rule that of `up`
is `scale · G @ downᵀ`, and that of `down` is `scale · upᵀ @ G`. It costs the room of G for the maps that change, and
spares the optimiser's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sentvec.checkpoint.adapters import Adapter, LowRank, maps_of, write_adapter
from sentvec.checkpoint.load import Checkpoint
from sentvec.errors import InvalidInput
from sentvec.train.config import TrainConfig

ADAPTERS = "adapters"
"""Their name among what a learner has besides its encoder."""

FOLDER = "adapter"


class Change(nn.Module):
    """The change of one map, or of a part of one.

    Args:
        matrix: (outputs, inputs), the map's weights, or some rows of them.
        rank: of the change.
        scale: what it is multiplied with.
        draw: draws `down`; `up` begins as zeros, so nothing is changed at first.
    """

    base: Tensor

    def __init__(self, matrix: Tensor, rank: int, scale: float, draw: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = matrix.shape
        self.scale = scale
        self.register_buffer("base", matrix.detach().clone())  # a part of the state, for the map has it no longer
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5), generator=draw)

    @property
    def low(self) -> LowRank:
        """The change as it is."""
        return LowRank(self.down.detach(), self.up.detach(), self.scale)

    def pull(self, gradient: Tensor | None) -> None:
        """Turn the gradient of the matrix, (outputs, inputs), into those of `down` and `up`."""
        if gradient is None:
            self.down.grad = self.up.grad = None
            return
        self.up.grad = self.scale * (gradient @ self.down.detach().t())
        self.down.grad = self.scale * (self.up.detach().t() @ gradient)


class Adapters(nn.Module):
    """The changes of an encoder's maps. Their parameters are all that learns in it.

    Parameters are called as the maps are, so that whoever asks for the layer of a parameter is told.

    Args:
        checkpoint: its encoder changes in place.
        config: rank, alpha, targets and seed.
        base: the model's name, for what is written.

    Raises:
        InvalidInput: no map is a target.
    """

    def __init__(self, checkpoint: Checkpoint, config: TrainConfig, base: str = "") -> None:
        super().__init__()
        assert config.lora_rank is not None
        assert isinstance(checkpoint.encoder, nn.Module)
        self._rank, self._alpha, self._base_name = config.lora_rank, config.lora_alpha, base
        self._names: dict[str, Change] = {}
        self._parts: list[tuple[str, nn.Parameter, int, list[tuple[int, Change]]]] = []
        draw = torch.Generator().manual_seed(config.seed)
        known: set[str] = set()
        for ours, theirs in maps_of(checkpoint).items():
            if not ours.startswith("layers."):
                continue
            known |= _words((ours, *theirs))
            chosen = [i for i, name in enumerate(theirs) if _words((ours, name)) & set(config.lora_targets)]
            weight = checkpoint.encoder.get_submodule(ours).get_parameter("weight")
            made = []
            for i in chosen:
                matrix = weight.chunk(len(theirs))[i]
                change = Change(matrix, config.lora_rank, config.lora_alpha / config.lora_rank, draw)
                _put(self, f"{ours}.{i}", change)
                self._names[theirs[i]] = change
                made.append((i, change))
            if made:
                self._parts.append((f"{ours}.weight", weight, len(theirs), made))
        if not self._parts:
            words = ", ".join(sorted(word for word in known if not word.isdigit()))
            raise InvalidInput(
                f"lora_targets are {list(config.lora_targets)}, which are no linear maps. Known: {words}."
            )

    @property
    def targets(self) -> frozenset[str]:
        """Names of the encoder's parameters whose gradients are needed."""
        return frozenset(name for name, *_ in self._parts)

    def pull(self) -> None:
        """Take the gradients of the encoder's maps, which have none after."""
        for _, weight, count, made in self._parts:
            found = None if weight.grad is None else weight.grad.chunk(count)
            for i, change in made:
                change.pull(None if found is None else found[i])
            weight.grad = None

    @torch.no_grad()
    def push(self) -> None:
        """Write the changes as they are into the encoder's maps."""
        for _, weight, count, made in self._parts:
            for i, change in made:
                weight.chunk(count)[i].copy_(change.low.added_to(change.base))

    def save(self, folder: Path) -> None:
        """Write the changes alone, as peft lays them out; with the model that they are of they are the whole model."""
        changes = {name: change.low for name, change in self._names.items()}
        write_adapter(folder, Adapter(self._base_name, changes), rank=self._rank, alpha=self._alpha)


def adapters_of(checkpoint: Checkpoint, config: TrainConfig, base: str = "") -> Mapping[str, Adapters]:
    """Return the adapters that a run asks for under their name, or nothing."""
    return {} if config.lora_rank is None else {ADAPTERS: Adapters(checkpoint, config, base)}


def adapters_in(extra: Mapping[str, nn.Module], config: TrainConfig | None = None) -> Adapters | None:
    """Return the adapters that a learner has besides its encoder, or None.

    Raises:
        InvalidInput: a run asks for them, and the learner has none.
    """
    found = extra.get(ADAPTERS)
    assert found is None or isinstance(found, Adapters)
    if found is None and config is not None and config.lora_rank is not None:
        raise InvalidInput("lora_rank is for embeddings; this task learns all weights. Leave it out.")
    return found


def _words(names: Iterable[str]) -> set[str]:
    return {word for name in names for word in name.split(".")}


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    *above, last = path.split(".")
    for name in above:
        if not hasattr(root, name):
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    root.add_module(last, module)
