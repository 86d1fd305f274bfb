"""Input embeddings: a packed batch of token ids in, hidden states (tokens, hidden) out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sentvec.batch import PackedBatch
from sentvec.nn.gradients import listened
from sentvec.nn.passes import Passes
from sentvec.nn.trained_embeddings import Lookup, embedded, embeds


class TokenEmbeddings(nn.Module):
    """The sum of word, token type and position embeddings, normalised (Devlin et al. 2018, section 3).

    Args:
        vocab: number of token ids.
        hidden: width of the hidden states.
        positions: rows of the position table; 0 where there is none.
        types: rows of the token type table; 0 where there is none.
        norm_eps: epsilon of the layer normalisation; None where there is none.
        dropout: dropped share in training.
        position_offset: row of the position table that the first token of a text uses: 0 for BERT;
            padding id + 1 for RoBERTa, whose table keeps its first rows for padding. A text that spells out the
            padding token has padding's row there, and goes on counting after it as if it were not there.
        norm_bias: whether the layer normalisation has a bias.
        tasks: rows of a table of training tasks (Sun et al. 2020, ERNIE 2.0); every token gets the first, as the
            reference has it where no task is named. 0 where there is none.
    """

    def __init__(
        self,
        *,
        vocab: int,
        hidden: int,
        positions: int,
        types: int,
        norm_eps: float | None,
        dropout: float = 0.0,
        position_offset: int = 0,
        norm_bias: bool = True,
        tasks: int = 0,
    ) -> None:
        super().__init__()
        self.position_offset = position_offset
        self.token_table = nn.Embedding(vocab, hidden)
        self.position_table = nn.Embedding(positions, hidden) if positions else None
        self.type_table = nn.Embedding(types, hidden) if types else None
        self.task_table = nn.Embedding(tasks, hidden) if tasks else None
        self.norm = nn.Identity() if norm_eps is None else nn.LayerNorm(hidden, eps=norm_eps, bias=norm_bias)
        self.dropout = nn.Dropout(dropout)
        self._passes: Passes | None = None

    def fuse_training(self, passes: Passes | None) -> None:
        """Run as one pass from now on, wherever there may be gradients or dropout. None ends it."""
        self._passes = passes

    def __getstate__(self) -> dict[str, Any]:
        """Copies and other processes compile for themselves."""
        return self.__dict__ | {"_passes": None}

    def forward(self, batch: PackedBatch) -> Tensor:
        """Return (tokens, hidden)."""
        if self._passes is not None and self._learns():
            lookups = self._lookups(batch)
            if embeds(lookups, self.norm):
                assert isinstance(self.norm, nn.LayerNorm), "see embeds"
                return embedded(lookups, self.norm, self.dropout.p if self.dropout.training else 0.0, self._passes)
        states = self.token_table(batch.ids)
        if self.type_table is not None:
            # with one type only, as in RoBERTa, every token has it, whatever the tokeniser says
            alone = self.type_table.num_embeddings == 1
            states = states + (self.type_table.weight[0] if alone else self.type_table(batch.types))
        if self.position_table is not None:
            states = states + self.position_table(self._rows(batch))
        if self.task_table is not None:
            states = states + self.task_table.weight[0]
        out: Tensor = self.dropout(self.norm(states))
        return out

    def _learns(self) -> bool:
        may = (self.training or torch.is_grad_enabled()) and not torch.is_inference_mode_enabled()
        return may and not any(listened(module) for module in self.children())

    def _lookups(self, batch: PackedBatch) -> list[Lookup]:
        """Return tables and their rows for every token, in the order in which they are added."""
        found: list[Lookup] = [(self.token_table.weight, batch.ids)]
        if self.type_table is not None:
            found.append((self.type_table.weight, None if self.type_table.num_embeddings == 1 else batch.types))
        if self.position_table is not None:
            found.append((self.position_table.weight, self._rows(batch)))
        if self.task_table is not None:
            found.append((self.task_table.weight, None))
        return found

    def _rows(self, batch: PackedBatch) -> Tensor:
        """Return the row of the position table for every token, (tokens,)."""
        places, offset = batch.positions, self.position_offset
        if not offset:
            return places
        padding = batch.ids == offset - 1
        if padding.device.type == "cpu" and not padding.any():  # elsewhere to ask is to wait for the device
            return places + offset
        before = padding.cumsum(0) - padding.long()
        in_text = before - before[torch.arange(len(places), device=places.device) - places]
        return torch.where(padding, offset - 1, places + offset - in_text)
