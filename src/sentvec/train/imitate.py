"""Texts, a teacher and a pupil in; gradients that bring the pupil's layers nearer to the teacher's, out.

Hidden states by mean squared error, through a learned map where widths differ (Romero et al. 2015, FitNets, arXiv
1412.6550; Jiao et al. 2020, TinyBERT, arXiv 1909.10351); attention by how far its probabilities are from the teacher's
(Wang et al. 2020, MiniLM, arXiv 2002.10957).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sentvec.batch import TokenIds, pack
from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.save import save_checkpoint
from sentvec.errors import InvalidInput
from sentvec.nn.probe import Probe
from sentvec.ops.losses.distil import attention_divergence, matched_layers, vector_mse
from sentvec.runtime.device import device_of, precision_of
from sentvec.runtime.engine import Engine
from sentvec.runtime.fast import set_up_training
from sentvec.runtime.plan import plan
from sentvec.train.batches import Batch
from sentvec.train.config import TrainConfig
from sentvec.train.step import copied, drawn_from
from sentvec.train.together import team


class LayerLearner:
    """A pupil that learns its teacher's layers from texts; see `sentvec.train.step.Learner`.

    Batches may be of any kind: all their texts are learnt from, and nothing else of them.

    Args:
        pupil: what is trained, such as `sentvec.train.distil.shallow` makes; it is taken over, and changes in place.
        teacher: it is taken over, and stays as it is. The pupil reads texts with the same tokeniser.
        config: number format, tokens at once, seed.
        layers: (pupil's, teacher's) numbers of layers that are compared, from 1; 0 is the embeddings. None compares
            embeddings, and each layer of the pupil with the one as far up in the teacher.
        hidden: weight of the hidden states; 0 leaves them out.
        attention: weight of the attention, averaged over heads where their numbers differ; 0 leaves it out, and is
            faster: layers that show it do not run written out.
        device: where.

    Attributes:
        encoder, extra, team: see `sentvec.train.step.Learner`.

    Raises:
        InvalidInput: tokenisers differ, a layer is not there, or nothing has any weight.
    """

    def __init__(
        self,
        pupil: Checkpoint,
        teacher: Checkpoint,
        config: TrainConfig,
        *,
        layers: Sequence[tuple[int, int]] | None = None,
        hidden: float = 1.0,
        attention: float = 1.0,
        device: str = "auto",
    ) -> None:
        assert isinstance(pupil.encoder, nn.Module)
        assert isinstance(teacher.encoder, nn.Module)
        ours, theirs = pupil.encoder.config, teacher.encoder.config
        even = ((0, 0), *enumerate(matched_layers(ours.layers, theirs.layers), start=1)) if layers is None else ()
        self._layers = even or tuple(layers or ())
        _check(pupil, teacher, self._layers, hidden, attention)
        self.encoder: nn.Module = pupil.encoder
        torch.manual_seed(config.seed)
        maps: list[nn.Module] = []
        if hidden and ours.hidden != theirs.hidden:
            maps = [nn.Linear(ours.hidden, theirs.hidden) for _ in self._layers]
        self.extra: Mapping[str, nn.Module] = {f"between.{i}": one for i, one in enumerate(maps)}
        self.checkpoint = pupil
        self.device = device_of(device)
        for module in (self.encoder, *maps):
            module.to(self.device).train()
        set_up_training(self.encoder)
        teacher.encoder.to(self.device).eval().requires_grad_(False)
        self._teacher, self._maps = teacher, maps
        self._hidden, self._attention = hidden, attention
        self._tokens = config.micro_tokens
        self._autocast = precision_of(config.precision)
        self._engine = Engine(pupil.tokenizer, pupil.recipe, self.device)
        self.team = team(self.device)

    def run(self, number: int, batch: Batch, scale: float, seed: int) -> float:
        """Add the gradient of `scale` times the loss to all parameters; return it, a mean over all tokens."""
        del number
        rows = [row for column in batch.columns for row in self._engine.tokenize(column)]
        torch.manual_seed(drawn_from(seed, self.team.rank + 1))
        count = max(self.team.total(sum(map(len, rows))), 1)
        total = 0.0
        for part in plan([len(row) for row in rows], self._tokens):
            loss = self._loss([rows[i] for i in part]) / count
            torch.autograd.backward(loss * scale)
            total += float(loss.detach())
        return self.team.total(total)

    def count(self, batch: Batch) -> int:
        """Return how many texts a batch has."""
        return sum(map(len, batch.columns))

    def copy(self) -> Checkpoint:
        """Return the pupil as it is, on the processor, ready to encode."""
        return copied(self.checkpoint)

    def save(self, folder: Path) -> None:
        """Write the pupil as sentence-transformers has it; the maps between widths are left away."""
        save_checkpoint(folder, self.copy())

    def _loss(self, rows: Sequence[TokenIds]) -> Tensor:
        """Return the sum of the losses of all tokens."""
        batch = pack(rows, self.device)
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast != torch.float32):
            ours = Probe(layers={number for number, _ in self._layers}, attention=self._attention > 0)
            self.checkpoint.encoder(batch, probe=ours)
            theirs = Probe(layers={number for _, number in self._layers}, attention=self._attention > 0)
            with torch.no_grad():
                self._teacher.encoder(batch, probe=theirs)
        losses = []
        for place, (mine, its) in enumerate(self._layers):
            if self._hidden:
                states = ours.hidden_states[mine].float()
                states = self._maps[place](states) if self._maps else states
                losses.append(self._hidden * len(batch.ids) * vector_mse(states, theirs.hidden_states[its]))
            if self._attention and mine and its:
                for one, other in zip(ours.attentions[mine - 1], theirs.attentions[its - 1], strict=True):
                    losses.append(self._attention * one.shape[-1] * attention_divergence(one, other))
        return torch.stack(losses).sum()


def _check(
    pupil: Checkpoint, teacher: Checkpoint, layers: Sequence[tuple[int, int]], hidden: float, attention: float
) -> None:
    ours, theirs = pupil.encoder.config, teacher.encoder.config
    if not layers or any(not (0 <= mine <= ours.layers and 0 <= its <= theirs.layers) for mine, its in layers):
        raise InvalidInput(
            f"layers are {list(layers)}; accepted: pairs of 0 to {ours.layers} and 0 to {theirs.layers}."
        )
    if not (hidden >= 0 and attention >= 0 and hidden + attention > 0):
        raise InvalidInput(f"weights are {hidden} and {attention}; accepted: 0 or more, and one above 0.")
    if not hidden and not any(mine and its for mine, its in layers):
        raise InvalidInput("embeddings have no attention; name layers from 1, or give hidden a weight.")
    if pupil.tokenizer.vocab() != teacher.tokenizer.vocab() or pupil.tokenizer.layout != teacher.tokenizer.layout:
        raise InvalidInput("the pupil's tokeniser is not the teacher's, so their tokens cannot be compared.")
