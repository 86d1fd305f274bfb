"""A batch of texts in, gradients of all parameters out: the path of a text, with gradients.

A batch whose tokens do not fit into memory at once goes through in parts: all vectors first, without gradients; then
the gradient of the loss with respect to the vectors; then every part again, with that gradient sent back (Gao et al.
2021, arXiv 2101.06983). It is the gradient of the whole batch, whatever the objective, for an objective sees vectors
only.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from sentvec.batch import TokenIds, pack
from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.recipe import Normalize
from sentvec.checkpoint.save import save_checkpoint
from sentvec.errors import InvalidInput
from sentvec.runtime.device import device_of, precision_of
from sentvec.runtime.engine import Engine
from sentvec.runtime.fast import set_up_training
from sentvec.runtime.forward import Finish, layer_vectors
from sentvec.runtime.plan import plan
from sentvec.train.batches import Batch
from sentvec.train.config import TrainConfig
from sentvec.train.lora import FOLDER, adapters_in, adapters_of
from sentvec.train.objectives import Objective
from sentvec.train.together import Team, team

TWIN = "twin"
"""Name of a second encoder among what a learner has besides its encoder."""

B_contra = TypeVar("B_contra", contravariant=True)
M_co = TypeVar("M_co", covariant=True)


class Learner(Protocol[B_contra, M_co]):
    """What the loop needs of a model that learns.

    Attributes:
        encoder: the encoder.
        extra: all else that has a state: projections, heads, objectives, by name.
        team: the processes that learn together.
    """

    encoder: nn.Module
    extra: Mapping[str, nn.Module]
    team: Team

    def run(self, number: int, batch: B_contra, scale: float, seed: int) -> float:
        """Add the gradient of `scale` times the loss of a batch of data set `number` to all parameters; return it.

        Whatever is random is drawn from `seed`. Of several processes, each has its share of the batch, and adds a part
        of the gradient: see `Team.add_up`.
        """

    def count(self, batch: B_contra) -> int:
        """Return how many texts a batch has."""

    def copy(self) -> M_co:
        """Return the model as it is, ready to be judged; it stays so while this one learns on."""

    def save(self, folder: Path) -> None:
        """Write the model into a folder."""


class EmbedderLearner:
    """An encoder, its projections, and an objective for each data set.

    Args:
        checkpoint: what is trained; it is taken over, and changes in place.
        objectives: one for each data set.
        config: number format, tokens at once, prompts.
        device: where.
        origin: the model's name, for adapters to be written with.

    Attributes:
        encoder, extra: see `Learner`.
        checkpoint: what is trained.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        objectives: Sequence[Objective],
        config: TrainConfig,
        *,
        device: str = "auto",
        origin: str = "",
    ) -> None:
        assert isinstance(checkpoint.encoder, nn.Module)
        self.encoder: nn.Module = checkpoint.encoder
        projections = [step for step in checkpoint.recipe.steps if not isinstance(step, Normalize)]
        depth = checkpoint.encoder.config.layers
        if beyond := [layer for one in objectives for layer in one.layers if layer > depth]:
            raise InvalidInput(f"inner_layers has {beyond[0]}, and the encoder has {depth} layers.")
        self._twin = copied(checkpoint) if any(one.twin for one in objectives) else None
        if self._twin is not None and config.lora_rank is not None:
            raise InvalidInput("lora_rank is for one encoder, and the loss has two; leave one of them out.")
        self.extra: Mapping[str, nn.Module] = {
            **{f"projection.{i}": step for i, step in enumerate(projections)},
            **{f"objective.{i}": one for i, one in enumerate(objectives)},
            **adapters_of(checkpoint, config, origin),
            **({} if self._twin is None else _twins(self._twin)),
        }
        self.checkpoint = checkpoint
        self.device = device_of(device)
        for module in (self.encoder, *self.extra.values()):
            module.to(self.device).train()
        for encoder in (self.encoder, *(module for name, module in self.extra.items() if name == TWIN)):
            set_up_training(encoder)
        self._objectives = objectives
        self._tokens = config.micro_tokens
        self._autocast = precision_of(config.precision)
        self._engine = Engine(checkpoint.tokenizer, checkpoint.recipe, self.device)
        self._prompts = config.prompts
        self.team = team(self.device)

    def run(self, number: int, batch: Batch, scale: float, seed: int) -> float:
        """Add the gradient of `scale` times the loss to all parameters, and return the loss."""
        objective = self._objectives[number]
        rows, sizes = self._rows(batch, objective.views)
        parts = plan([len(row) for row in rows], self._tokens)
        torch.manual_seed(drawn_from(seed, self.team.rank + 1))  # dropout differs between processes
        return in_parts(
            parts,
            lambda part: self._encode(rows, part, objective),
            lambda found: self._learn(objective, found, sizes, batch, scale, seed),
            self._nothing(1 + len(objective.layers)),
        )

    def _learn(
        self, objective: Objective, found: Tensor, sizes: list[int], batch: Batch, scale: float, seed: int
    ) -> float:
        """Send the gradient of the loss of all processes' vectors back into this one's."""
        by_layer = [part for layer in found.unbind(1) for part in torch.split(layer, sizes)]
        columns, whole = self.team.gather(by_layer, batch)
        torch.manual_seed(seed)  # what objectives draw is the same in all processes
        loss = objective(columns, whole)
        torch.autograd.backward(loss * scale)
        return float(loss.detach())

    def _nothing(self, layers: int) -> Tensor:
        """Return the vectors of no texts, which a share may have."""
        width = self.checkpoint.recipe.width(self.checkpoint.encoder.config.hidden)
        return torch.zeros(0, layers, width, device=self.device)

    def count(self, batch: Batch) -> int:
        """Return how many texts a batch has."""
        return sum(map(len, batch.columns))

    def copy(self) -> Checkpoint:
        """Return the checkpoint as it is, on the processor, ready to encode."""
        return copied(self.checkpoint)

    def save(self, folder: Path) -> None:
        """Write the model as sentence-transformers has it; and adapters, which are in it already, alone."""
        save_checkpoint(folder, self.copy())
        if (adapters := adapters_in(self.extra)) is not None:
            adapters.save(folder / FOLDER)

    def _rows(self, batch: Batch, views: int) -> tuple[list[TokenIds], list[int]]:
        """Tokenise all columns, as often as the objective wants them, and return how many texts each has."""
        rows: list[TokenIds] = []
        sizes = []
        for number, texts in enumerate(batch.columns):
            prefix = self._prompts.get("query" if number == 0 else "document", "")
            rows += self._engine.tokenize(texts, prefix)
            sizes.append(len(texts))
        return rows * views, sizes * views

    def _encode(self, rows: Sequence[TokenIds], chosen: list[int], objective: Objective) -> Tensor:
        """Return the vectors of the last layer and of inner ones, (texts, 1 + layers, dim)."""
        if self._twin is None or not objective.twin:
            return self._vectors(self.checkpoint, [rows[i] for i in chosen], objective)
        half = len(rows) // 2  # the first view is the twin's
        sides = [
            (model, [place for place, i in enumerate(chosen) if (i < half) == first])
            for model, first in ((self._twin, True), (self.checkpoint, False))
        ]
        found = [self._vectors(model, [rows[chosen[k]] for k in some], objective) for model, some in sides if some]
        return _in_order(torch.cat(found), [some for _, some in sides])

    def _vectors(self, model: Checkpoint, rows: Sequence[TokenIds], objective: Objective) -> Tensor:
        packed = pack(rows, self.device)
        finish = Finish(unit=False) if objective.twin else Finish()
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast != torch.float32):
            found = layer_vectors(model.encoder, model.recipe, packed, finish, objective.layers)
        return torch.stack(found, dim=1).float()


def in_parts(
    parts: list[list[int]], encode: Callable[[list[int]], Tensor], learn: Callable[[Tensor], float], none: Tensor
) -> float:
    """Send texts through an encoder, and the gradient of the loss of all of them back, part by part.

    Args:
        parts: places of the texts that are in memory with their gradients at once.
        encode: places -> what the loss is of: their vectors or scores, (texts, ...).
        learn: these of all texts, in their order -> the loss, with its gradient sent back into them.
        none: these of no text, (0, ...), for a share may have none.

    Returns:
        The loss.
    """
    if len(parts) == 1:
        return learn(_in_order(encode(parts[0]), parts))
    before, some = [], []
    with torch.no_grad():
        for part in parts:
            before.append(_random_state(none.device))
            some.append(encode(part))
    known = _in_order(torch.cat(some), parts) if some else none
    known.requires_grad_()
    loss = learn(known)
    for part, state in zip(parts, before, strict=True):
        _set_random_state(none.device, state)  # dropout must be what it was
        assert known.grad is not None, "an objective that does not depend on vectors"
        torch.autograd.backward(encode(part), known.grad[torch.tensor(part)])
    return loss


def copied(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint that stays as this one is, on the processor, ready to encode."""
    recipe = checkpoint.recipe
    steps = tuple(still(step) if isinstance(step, nn.Module) else step for step in recipe.steps)
    encoder = copy.deepcopy(checkpoint.encoder)
    assert isinstance(encoder, nn.Module)
    encoder.cpu().eval()
    return replace(checkpoint, encoder=encoder, recipe=replace(recipe, steps=steps))


def _twins(twin: Checkpoint) -> dict[str, nn.Module]:
    """Return a second encoder and its projections, by the names that they learn under."""
    assert isinstance(twin.encoder, nn.Module)
    steps = [step for step in twin.recipe.steps if not isinstance(step, Normalize)]
    return {TWIN: twin.encoder, **{f"{TWIN}.projection.{i}": step for i, step in enumerate(steps)}}


T = TypeVar("T", bound=nn.Module)


def still(module: T) -> T:
    """Return a copy of a module on the processor, in evaluation mode."""
    return copy.deepcopy(module).cpu().eval()


def _in_order(found: Tensor, parts: list[list[int]]) -> Tensor:
    """Put vectors, which come part by part, back into the order of the texts: (texts, dim)."""
    order = torch.tensor([place for part in parts for place in part], device=found.device)
    return found.detach()[order.argsort()] if not found.requires_grad else found[order.argsort()]


def drawn_from(seed: int, *numbers: int) -> int:
    """Return a seed that follows from others, and from which nothing can be told of them."""
    return int.from_bytes(hashlib.blake2b(repr((seed, *numbers)).encode(), digest_size=7).digest(), "big")


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
