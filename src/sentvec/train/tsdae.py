"""Texts alone in, an encoder whose vectors tell what a text said out: a denoising autoencoder.

TSDAE (Wang, Reimers & Gurevych 2021, arXiv 2104.06979): words are deleted from a text, the encoder makes a vector of
what is left, and a decoder that sees nothing but this vector spells out the whole text.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentvec.batch import TokenIds, pack
from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.save import save_checkpoint
from sentvec.errors import InvalidInput
from sentvec.models.task_head import word_table
from sentvec.nn.decoder import Decoder
from sentvec.nn.stack import Layers
from sentvec.runtime.device import device_of, precision_of
from sentvec.runtime.engine import Engine
from sentvec.runtime.fast import set_up_training
from sentvec.runtime.forward import Finish, vectors
from sentvec.runtime.plan import plan
from sentvec.train.batches import Batch
from sentvec.train.config import TrainConfig
from sentvec.train.step import copied, drawn_from
from sentvec.train.together import team


class DenoisingLearner:
    """An encoder that learns from texts alone; see `sentvec.train.step.Learner`.

    Args:
        checkpoint: what is trained; it is taken over, and changes in place.
        config: number format, tokens at once.
        deleted: share of a text's tokens that the encoder does not see.
        device: where.

    Attributes:
        encoder, extra, team: see `sentvec.train.step.Learner`.

    Raises:
        ConfigError: the architecture's layers cannot decode.
        InvalidInput: `deleted` is no share.
    """

    def __init__(
        self, checkpoint: Checkpoint, config: TrainConfig, *, deleted: float = 0.6, device: str = "auto"
    ) -> None:
        if not 0 <= deleted < 1:
            raise InvalidInput(f"deleted is {deleted}; accepted: 0 to below 1.")
        assert isinstance(checkpoint.encoder, nn.Module)
        self.encoder: nn.Module = checkpoint.encoder
        numbers = checkpoint.encoder.config
        layers = self.encoder.get_submodule("layers")
        assert isinstance(layers, Layers)
        torch.manual_seed(config.seed)
        decoder = Decoder(
            list(layers),
            hidden=numbers.hidden,
            dim=checkpoint.recipe.width(numbers.hidden),
            norm_eps=numbers.norm_eps,
            dropout=numbers.dropout,
        )
        self.extra: Mapping[str, nn.Module] = {
            "decoder": decoder,
            **{f"step.{i}": step for i, step in enumerate(checkpoint.recipe.steps) if isinstance(step, nn.Module)},
        }
        self.checkpoint = checkpoint
        self.device = device_of(device)
        for module in (self.encoder, *self.extra.values()):
            module.to(self.device).train()
        set_up_training(self.encoder)
        self.team = team(self.device)
        self._decoder, self._deleted, self._tokens = decoder, deleted, config.micro_tokens
        self._autocast = precision_of(config.precision)
        self._engine = Engine(checkpoint.tokenizer, checkpoint.recipe, self.device)
        self._around = set(checkpoint.tokenizer.special().values())

    def run(self, number: int, batch: Batch, scale: float, seed: int) -> float:
        """Add the gradient of `scale` times the mean loss of all tokens to all parameters, and return that mean."""
        del number
        whole = self._engine.tokenize(batch.columns[0])
        draw = random.Random(drawn_from(seed, self.team.rank + 1))  # noqa: S311 - no secret
        torch.manual_seed(drawn_from(seed, self.team.rank + 1))
        noisy = [self._thinned(row, draw) for row in whole]
        count = max(self.team.total(sum(len(row) - 1 for row in whole)), 1)
        total = 0.0
        for part in plan([len(row) for row in whole], self._tokens):
            loss = self._loss([noisy[i] for i in part], [whole[i] for i in part]) / count
            torch.autograd.backward(loss * scale)
            total += float(loss.detach())
        return self.team.total(total)

    def count(self, batch: Batch) -> int:
        """Return how many texts a batch has."""
        return len(batch)

    def copy(self) -> Checkpoint:
        """Return the checkpoint as it is, on the processor, ready to encode."""
        return copied(self.checkpoint)

    def save(self, folder: Path) -> None:
        """Write the model as sentence-transformers has it; the decoder is left away."""
        save_checkpoint(folder, self.copy())

    def _loss(self, noisy: Sequence[TokenIds], whole: Sequence[TokenIds]) -> Tensor:
        """Return the sum of the losses of all tokens but the first of each text."""
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast != torch.float32):
            seen = pack(noisy, self.device)
            found = vectors(self.checkpoint.encoder, self.checkpoint.recipe, seen, Finish())
            batch = pack(whole, self.device)
            embedded = self.encoder.get_submodule("embeddings")(batch)
            states = self._decoder(embedded, found, batch)
        last = torch.zeros(len(batch.ids), dtype=torch.bool, device=self.device)
        last[batch.offsets[1:] - 1] = True
        wanted = batch.ids.roll(-1)[~last]
        with torch.autocast(self.device.type, self._autocast, enabled=self._autocast != torch.float32):
            logits = functional.linear(states[~last], word_table(self.checkpoint.encoder))
        return functional.cross_entropy(logits.float(), wanted, reduction="sum")

    def _thinned(self, row: TokenIds, draw: random.Random) -> TokenIds:
        """Delete tokens, of which one is left at least; special tokens stay."""
        inside = [place for place, i in enumerate(row.ids) if i not in self._around]
        kept = {place for place in inside if draw.random() >= self._deleted}
        if inside and not kept:
            kept = {draw.choice(inside)}
        places = [place for place, i in enumerate(row.ids) if place in kept or i in self._around]
        return TokenIds([row.ids[place] for place in places], [row.types[place] for place in places])
