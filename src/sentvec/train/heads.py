"""A model with a task head and labelled rows in, gradients out: classic fine-tuning (Devlin et al. 2018)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentvec.batch import PackedBatch, TokenIds, pack
from sentvec.checkpoint.headed import Headed, save_headed
from sentvec.checkpoint.load import load_parts
from sentvec.checkpoint.recipe import Recipe
from sentvec.checkpoint.sentence import read_modules, read_recipe
from sentvec.errors import HeadNotFound
from sentvec.models.architecture import Encoder
from sentvec.models.registry import architecture
from sentvec.models.task_head import TaskHead, build_head
from sentvec.nn.pooler import Pooler
from sentvec.runtime.checks import check
from sentvec.runtime.device import device_of, precision_of
from sentvec.runtime.fast import set_up_training
from sentvec.runtime.plan import plan
from sentvec.train.config import TrainConfig
from sentvec.train.step import drawn_from, still
from sentvec.train.together import team

IGNORED = -100
"""The target of a token that nothing is learnt from."""

_SPREAD = 0.02  # of the weights of a new head, as BERT has it


@dataclass(frozen=True)
class Rows:
    """What is learnt from at once.

    Attributes:
        tokens: what the model reads, a text or a pair each.
        targets: by head, for each row: the number of its label, () int64; its score, () float32; 0 or 1 for each label,
            (labels,) float32; the number of each token's label or `IGNORED`, (tokens,) int64; or the places of the
            answer's first and last token, (2,) int64.
    """

    tokens: Sequence[TokenIds]
    targets: Mapping[str, Sequence[Tensor]]


Loss = Callable[[TaskHead, Tensor, PackedBatch, Sequence[Tensor], Encoder], Tensor]
"""A head, states (tokens, hidden), their batch, targets, the encoder -> the sum of the losses, ()."""


class HeadLearner:
    """An encoder and the heads of one task.

    Args:
        headed: what is trained; it is taken over, and changes in place.
        config: number format, tokens at once.
        device: where.

    Attributes:
        encoder, extra: see `sentvec.train.step.Learner`.
    """

    def __init__(self, headed: Headed, config: TrainConfig, *, device: str = "auto") -> None:
        assert isinstance(headed.checkpoint.encoder, nn.Module)
        self.encoder: nn.Module = headed.checkpoint.encoder
        self._run = headed.checkpoint.encoder
        self.extra: Mapping[str, nn.Module] = {f"head.{name}": head for name, head in headed.heads.items()}
        self.device = device_of(device)
        for module in (self.encoder, *self.extra.values()):
            module.to(self.device).train()
        set_up_training(self.encoder)
        self._headed = headed
        self.team = team(self.device)
        self._tokens = config.micro_tokens
        self._autocast = precision_of(config.precision)
        self._losses = {
            name: _LOSSES[(headed.problem_type or name) if len(headed.heads) == 1 else name] for name in headed.heads
        }

    def run(self, number: int, batch: Rows, scale: float, seed: int) -> float:
        """Add the gradient of `scale` times the mean loss to all parameters, and return it; heads are added up."""
        del number  # one data set
        torch.manual_seed(drawn_from(seed, self.team.rank + 1))
        whole = {
            name: max(self.team.total(sum(int((target != IGNORED).sum()) for target in some)), 1)
            for name, some in batch.targets.items()
        }
        total = 0.0
        for part in plan([len(row) for row in batch.tokens], self._tokens):
            packed = pack([batch.tokens[i] for i in part], self.device)
            states = self.states(packed)
            losses = [
                self._losses[name](
                    self._headed.heads[name], states, packed, [some[i].to(self.device) for i in part], self._run
                )
                / whole[name]
                for name, some in batch.targets.items()
            ]
            loss = torch.stack(losses).sum()
            torch.autograd.backward(loss * scale)
            total += float(loss.detach())
        return self.team.total(total)

    def states(self, packed: PackedBatch) -> Tensor:
        """Return what the encoder makes of a batch, (tokens, hidden) float32, with gradients."""
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast != torch.float32):
            return self._run(packed).float()

    def count(self, batch: Rows) -> int:
        """Return how many texts or pairs a batch has."""
        return len(batch.tokens)

    def copy(self) -> Headed:
        """Return the model as it is, on the processor, ready to run."""
        headed = self._headed
        encoder = copy.deepcopy(self._run)
        assert isinstance(encoder, nn.Module)
        encoder.cpu().eval()
        heads = {name: still(head) for name, head in headed.heads.items()}
        return replace(headed, checkpoint=replace(headed.checkpoint, encoder=encoder), heads=heads)

    def save(self, folder: Path) -> None:
        """Write the model as transformers has it."""
        save_headed(folder, self.copy())


def new_headed(
    root: Path, task: str, labels: Sequence[str] = (), *, problem_type: str | None = None, seed: int = 0
) -> Headed:
    """Read an encoder and put a new head on it.

    Args:
        root: a folder; heads that it has are left away.
        task: a key of `sentvec.models.head_table.SUFFIXES`.
        labels: names of the labels.
        problem_type: one of `sentvec.checkpoint.headed.PROBLEMS`, or None.
        seed: of the head's weights.

    Raises:
        HeadNotFound: the architecture has no such head.
        ModelError: see `sentvec.checkpoint.load.load`.
    """
    modules = read_modules(root)
    parts = load_parts(modules[0].folder if modules else root)
    family = architecture(parts.model_type).tasks
    if task not in family.rows:
        raise HeadNotFound(f"{parts.model_type} has no head for {task}. It has: {', '.join(family.rows)}.")
    draw = torch.Generator().manual_seed(seed)
    heads = {}
    for name, part in family.rows[task].parts.items():
        made = build_head(part, parts.encoder, parts.config, labels=len(labels), tied=part.tied)
        heads[name] = _drawn(made, draw)
        if made.readout == "pooler" and parts.encoder.pooler is None:
            parts.encoder.pooler = _drawn(Pooler(hidden=parts.encoder.config.hidden), draw)
    numbers = parts.encoder.config
    whole = read_recipe(root, modules, hidden=numbers.hidden, max_tokens=numbers.max_tokens)
    recipe = Recipe(
        max_seq_length=whole.max_seq_length, lower_case=whole.lower_case
    )  # no prompts: they ask for vectors
    return Headed(parts.checkpoint(recipe), task, heads, tuple(labels), problem_type, None)


def limited(headed: Headed, tokens: int | None) -> Headed:
    """Return a model that reads so many tokens of a text or pair; None leaves it at what the checkpoint says.

    Raises:
        InvalidInput: it cannot read so many, or so few leave no room for text.
    """
    checkpoint = headed.checkpoint
    known = min(checkpoint.recipe.max_seq_length, checkpoint.encoder.config.max_tokens)
    recipe = replace(checkpoint.recipe, max_seq_length=known if tokens is None else tokens)
    checkpoint = replace(checkpoint, recipe=recipe)
    check(checkpoint)
    return replace(headed, checkpoint=checkpoint)


T = TypeVar("T", bound=nn.Module)


def _drawn(module: T, draw: torch.Generator) -> T:
    """Give a module weights of its own."""
    module.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, _SPREAD, generator=draw)
            else:
                parameter.fill_(1.0 if name == "norm.weight" else 0.0)
    return module


def _texts_loss(function: Callable[..., Tensor]) -> Loss:
    def loss(head: TaskHead, states: Tensor, batch: PackedBatch, targets: Sequence[Tensor], encoder: Encoder) -> Tensor:
        logits = head(states, batch, encoder)
        wanted = torch.stack(list(targets))
        return function(logits.view_as(wanted) if wanted.is_floating_point() else logits, wanted, reduction="sum")

    return loss


def _tokens_loss(
    head: TaskHead, states: Tensor, batch: PackedBatch, targets: Sequence[Tensor], encoder: Encoder
) -> Tensor:
    del batch
    wanted = torch.cat(list(targets))
    learnt = wanted != IGNORED  # the map to logits may be as wide as the vocabulary: only where it counts
    return functional.cross_entropy(head.logits(states[learnt], encoder), wanted[learnt], reduction="sum")


def _span_loss(
    head: TaskHead, states: Tensor, batch: PackedBatch, targets: Sequence[Tensor], encoder: Encoder
) -> Tensor:
    logits = torch.split(head(states, batch, encoder), list(batch.lengths))
    # both ends of a row at once: (2, tokens of the row)
    parts = [functional.cross_entropy(row.T, at, reduction="sum") for row, at in zip(logits, targets, strict=True)]
    return torch.stack(parts).sum()


_LOSSES: dict[str, Loss] = {
    "sequence-classification": _texts_loss(functional.cross_entropy),
    "single_label_classification": _texts_loss(functional.cross_entropy),
    "multi_label_classification": _texts_loss(functional.binary_cross_entropy_with_logits),
    "regression": _texts_loss(functional.mse_loss),
    "token-classification": _tokens_loss,
    "masked-lm": _tokens_loss,
    "question-answering": _span_loss,
    "next-sentence": _texts_loss(functional.cross_entropy),
}
"""By problem type, or by task where there is none."""
