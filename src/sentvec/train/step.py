"""A batch of texts in, gradients of all parameters out: the path of a text, with gradients.

A batch whose tokens do not fit into memory at once goes through in parts: all vectors first, without gradients; then
the gradient of the loss with respect to the vectors; then every part again, with that gradient sent back (Gao et al.
2021, arXiv 2101.06983). It is the gradient of the whole batch, whatever the objective, for an objective sees vectors
only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sentvec.batch import TokenIds, pack
from sentvec.checkpoint.load import Checkpoint
from sentvec.models.heads import Projection
from sentvec.runtime.engine import Engine
from sentvec.runtime.forward import Finish, vectors
from sentvec.runtime.plan import plan
from sentvec.train.batches import Batch
from sentvec.train.objectives import Objective


@dataclass(frozen=True)
class Step:
    """One batch's forward and backward pass.

    Attributes:
        checkpoint: what is trained: encoder and projections, in float32.
        objective: what is learnt.
        device: where.
        micro_tokens: most tokens that go through with gradients at once.
        autocast: number format of the products.
        prompts: what to put in front of the texts of a column, by role: query or document.
    """

    checkpoint: Checkpoint
    objective: Objective
    device: torch.device
    micro_tokens: int
    autocast: torch.dtype = torch.float32
    prompts: Mapping[str, str] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        """What tokenises."""
        return Engine(self.checkpoint.tokenizer, self.checkpoint.recipe, self.device)

    def run(self, batch: Batch, scale: float = 1.0) -> float:
        """Add the gradient of `scale` times the loss to all parameters, and return the loss."""
        rows, sizes = self._rows(batch)
        parts = plan([len(row) for row in rows], self.micro_tokens)
        if len(parts) == 1:
            found = self._encode(rows, parts[0])
            loss = self.objective(_columns(_in_order(found, parts), sizes), batch)
            torch.autograd.backward(loss * scale)
            return float(loss.detach())
        return self._in_parts(rows, sizes, parts, batch, scale)

    def _in_parts(
        self, rows: list[TokenIds], sizes: list[int], parts: list[list[int]], batch: Batch, scale: float
    ) -> float:
        before, found = [], []
        with torch.no_grad():
            for part in parts:
                before.append(torch.get_rng_state())
                found.append(self._encode(rows, part))
        known = _in_order(torch.cat(found), parts).requires_grad_()
        loss = self.objective(_columns(known, sizes), batch)
        torch.autograd.backward(loss * scale)
        assert known.grad is not None, "an objective that does not depend on vectors"
        for part, state in zip(parts, before, strict=True):
            with _random(state):  # dropout must be what it was
                again = self._encode(rows, part)
            torch.autograd.backward(again, known.grad[torch.tensor(part)])
        return float(loss.detach())

    def _rows(self, batch: Batch) -> tuple[list[TokenIds], list[int]]:
        """Tokenise all columns, as often as the objective wants them, and return how many texts each has."""
        rows: list[TokenIds] = []
        sizes = []
        for number, texts in enumerate(batch.columns):
            prefix = self.prompts.get("query" if number == 0 else "document", "")
            rows += self.engine.tokenize(texts, prefix)
            sizes.append(len(texts))
        return rows * self.objective.views, sizes * self.objective.views

    def _encode(self, rows: Sequence[TokenIds], chosen: list[int]) -> Tensor:
        packed = pack([rows[i] for i in chosen], self.device)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast != torch.float32):
            return vectors(self.checkpoint.encoder, self.checkpoint.recipe, packed, Finish()).float()


def learnt(checkpoint: Checkpoint) -> tuple[nn.Module, list[nn.Module]]:
    """Return what of a checkpoint learns: its encoder, and its projections."""
    encoder = checkpoint.encoder
    assert isinstance(encoder, nn.Module)
    return encoder, [step for step in checkpoint.recipe.steps if isinstance(step, Projection)]


def _columns(found: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    return torch.split(found, sizes)


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
