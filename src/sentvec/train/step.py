"""A batch of texts in, gradients of all parameters out: the path of a text, with gradients.

A batch whose tokens do not fit into memory at once goes through in parts: all vectors first, without gradients; then
the gradient of the loss with respect to the vectors; then every part again, with that gradient sent back (Gao et al.
2021, arXiv 2101.06983). It is the gradient of the whole batch, whatever the objective, for an objective sees vectors
only.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from sentvec.batch import TokenIds, pack
from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.save import save_checkpoint
from sentvec.models.heads import Projection
from sentvec.runtime.device import device_of, precision_of
from sentvec.runtime.engine import Engine
from sentvec.runtime.forward import Finish, vectors
from sentvec.runtime.plan import plan
from sentvec.train.batches import Batch
from sentvec.train.config import TrainConfig
from sentvec.train.objectives import Objective

B_contra = TypeVar("B_contra", contravariant=True)
M_co = TypeVar("M_co", covariant=True)


class Learner(Protocol[B_contra, M_co]):
    """What the loop needs of a model that learns.

    Attributes:
        encoder: the encoder.
        extra: all else that has a state: projections, heads, objectives, by name.
    """

    encoder: nn.Module
    extra: Mapping[str, nn.Module]

    def run(self, number: int, batch: B_contra, scale: float) -> float:
        """Add the gradient of `scale` times the loss of a batch of data set `number` to all parameters; return it."""

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

    Attributes:
        encoder, extra: see `Learner`.
        checkpoint: what is trained.
    """

    def __init__(
        self, checkpoint: Checkpoint, objectives: Sequence[Objective], config: TrainConfig, *, device: str = "auto"
    ) -> None:
        assert isinstance(checkpoint.encoder, nn.Module)
        self.encoder: nn.Module = checkpoint.encoder
        projections = [step for step in checkpoint.recipe.steps if isinstance(step, Projection)]
        self.extra: Mapping[str, nn.Module] = {
            **{f"projection.{i}": step for i, step in enumerate(projections)},
            **{f"objective.{i}": one for i, one in enumerate(objectives)},
        }
        self.checkpoint = checkpoint
        self.device = device_of(device)
        for module in (self.encoder, *self.extra.values()):
            module.to(self.device).train()
        self._objectives = objectives
        self._tokens = config.micro_tokens
        self._autocast = precision_of(config.precision)
        self._engine = Engine(checkpoint.tokenizer, checkpoint.recipe, self.device)
        self._prompts = config.prompts

    def run(self, number: int, batch: Batch, scale: float) -> float:
        """Add the gradient of `scale` times the loss to all parameters, and return the loss."""
        objective = self._objectives[number]
        rows, sizes = self._rows(batch, objective.views)
        parts = plan([len(row) for row in rows], self._tokens)
        if len(parts) == 1:
            found = self._encode(rows, parts[0])
            loss = objective(torch.split(_in_order(found, parts), sizes), batch)
            torch.autograd.backward(loss * scale)
            return float(loss.detach())
        return self._in_parts(rows, sizes, parts, objective, batch, scale)

    def count(self, batch: Batch) -> int:
        """Return how many texts a batch has."""
        return sum(map(len, batch.columns))

    def copy(self) -> Checkpoint:
        """Return the checkpoint as it is, on the processor, ready to encode."""
        checkpoint = self.checkpoint
        recipe = checkpoint.recipe
        steps = tuple(still(step) if isinstance(step, nn.Module) else step for step in recipe.steps)
        encoder = copy.deepcopy(checkpoint.encoder)
        assert isinstance(encoder, nn.Module)
        encoder.cpu().eval()
        return replace(checkpoint, encoder=encoder, recipe=replace(recipe, steps=steps))

    def save(self, folder: Path) -> None:
        """Write the model as sentence-transformers has it."""
        save_checkpoint(folder, self.copy())

    def _in_parts(
        self,
        rows: list[TokenIds],
        sizes: list[int],
        parts: list[list[int]],
        objective: Objective,
        batch: Batch,
        scale: float,
    ) -> float:
        before, found = [], []
        with torch.no_grad():
            for part in parts:
                before.append(torch.get_rng_state())
                found.append(self._encode(rows, part))
        known = _in_order(torch.cat(found), parts).requires_grad_()
        loss = objective(torch.split(known, sizes), batch)
        torch.autograd.backward(loss * scale)
        assert known.grad is not None, "an objective that does not depend on vectors"
        for part, state in zip(parts, before, strict=True):
            with _random(state):  # dropout must be what it was
                again = self._encode(rows, part)
            torch.autograd.backward(again, known.grad[torch.tensor(part)])
        return float(loss.detach())

    def _rows(self, batch: Batch, views: int) -> tuple[list[TokenIds], list[int]]:
        """Tokenise all columns, as often as the objective wants them, and return how many texts each has."""
        rows: list[TokenIds] = []
        sizes = []
        for number, texts in enumerate(batch.columns):
            prefix = self._prompts.get("query" if number == 0 else "document", "")
            rows += self._engine.tokenize(texts, prefix)
            sizes.append(len(texts))
        return rows * views, sizes * views

    def _encode(self, rows: Sequence[TokenIds], chosen: list[int]) -> Tensor:
        packed = pack([rows[i] for i in chosen], self.device)
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast != torch.float32):
            return vectors(self.checkpoint.encoder, self.checkpoint.recipe, packed, Finish()).float()


T = TypeVar("T", bound=nn.Module)


def still(module: T) -> T:
    """Return a copy of a module on the processor, in evaluation mode."""
    return copy.deepcopy(module).cpu().eval()


def _in_order(found: Tensor, parts: list[list[int]]) -> Tensor:
    """Put vectors, which come part by part, back into the order of the texts: (texts, dim)."""
    order = torch.tensor([place for part in parts for place in part], device=found.device)
    return found.detach()[order.argsort()] if not found.requires_grad else found[order.argsort()]


@contextmanager
def _random(state: Tensor) -> Iterator[None]:
    """Draw, inside, what was drawn after `state`; outside, go on as if nothing had been drawn."""
    now = torch.get_rng_state()
    torch.set_rng_state(state)
    try:
        yield
    finally:
        torch.set_rng_state(now)
