"""Task heads: an encoder's hidden states (tokens, hidden) in, logits of a task out.

One class makes all of them: read something out of the states, optionally a linear map with activation and
normalisation, then the map to the logits. Which heads a family has, of what parts, and what checkpoints call the
weights stands at the end of its architecture's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentvec.batch import PackedBatch
from sentvec.errors import ConfigError
from sentvec.models.architecture import Encoder, NoInitialisation
from sentvec.models.head_table import Part
from sentvec.nn.activations import activation
from sentvec.ops.pooling import POOLINGS


class TaskHead(nn.Module):
    """Reads an encoder's states and gives logits.

    Args:
        hidden: width of the encoder's states.
        outputs: how many logits.
        readout: one of `sentvec.models.head_table.READOUTS`.
        inner: width of the linear map before the last one, or None where there is none.
        act: that map's activation.
        norm_eps: epsilon of the normalisation behind it, or None where there is none.
        tied: whether the last map borrows its weights from the encoder's word embeddings.
        without: parts ("dense", "norm", "out") that have no bias.
        dropout: dropped share of what goes into the last map, in training.
    """

    def __init__(
        self,
        *,
        hidden: int,
        outputs: int,
        readout: str,
        inner: int | None = None,
        act: str = "linear",
        norm_eps: float | None = None,
        tied: bool = False,
        without: frozenset[str] = frozenset(),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.readout = readout
        self.tied = tied
        self.out_features = outputs
        self.dense = None if inner is None else nn.Linear(hidden, inner, bias="dense" not in without)
        self.act = activation(act)
        width = hidden if inner is None else inner
        self.norm = None if norm_eps is None else nn.LayerNorm(width, eps=norm_eps, bias="norm" not in without)
        self.dropout = nn.Dropout(dropout)
        has_bias = "out" not in without
        self.out = _Borrowed(outputs, bias=has_bias) if tied else nn.Linear(width, outputs, bias=has_bias)

    def forward(self, states: Tensor, batch: PackedBatch, encoder: Encoder) -> Tensor:
        """Return logits in float32: (tokens, outputs) where the readout is tokens, else (seqs, outputs)."""
        return self.logits(self.read(states, batch, encoder), encoder)

    def read(self, states: Tensor, batch: PackedBatch, encoder: Encoder) -> Tensor:
        """Return what the head looks at, (tokens, hidden) or (seqs, hidden)."""
        if self.readout == "tokens":
            return states
        if self.readout == "pooler":
            assert encoder.pooler is not None, "loading refuses this head where there is no pooler"
            pooled: Tensor = encoder.pooler(POOLINGS["first"](states, batch.offsets))
            return pooled
        # averages of many numbers in half precision lose too much
        return POOLINGS[self.readout](states.float(), batch.offsets)

    def logits(self, vectors: Tensor, encoder: Encoder) -> Tensor:
        """Map what `read` gave, or chosen rows of it, to logits: (n, hidden) -> (n, outputs), float32."""
        vectors = vectors.float()  # a head is small and stays in float32, whatever the encoder runs in
        if self.dense is not None:
            vectors = self.act(self.dense(vectors))
        if self.norm is not None:
            vectors = self.norm(vectors)
        vectors = self.dropout(vectors)
        out: Tensor = self.out(vectors, word_table(encoder)) if self.tied else self.out(vectors)
        return out


class _Borrowed(nn.Module):
    """A last map with the weights of the word embeddings (Press & Wolf 2017), asked for at each call, so that moving or
    training the encoder needs no upkeep here."""

    def __init__(self, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, vectors: Tensor, table: Tensor) -> Tensor:
        """Map (n, width) by a table (vocab, width) to (n, vocab), float32."""
        out = functional.linear(vectors.to(table.dtype), table).float()
        return out if self.bias is None else out + self.bias


def word_table(encoder: Encoder) -> Tensor:
    """Return an encoder's table of word embeddings, (vocab, width); the width need not be that of its states."""
    assert isinstance(encoder, nn.Module)
    embeddings = encoder.get_submodule("embeddings")  # XLNet's are the table and nothing else
    return embeddings.get_parameter("weight" if isinstance(embeddings, nn.Embedding) else "token_table.weight")


def build_head(part: Part, encoder: Encoder, raw: Mapping[str, Any], *, labels: int, tied: bool) -> TaskHead:
    """Build a head for an encoder, whose parameters have shapes but no memory, for weights about to be read.

    Args:
        part: the row of the table.
        encoder: the encoder whose states it reads.
        raw: config.json.
        labels: how many labels config.json names.
        tied: whether the last map borrows the word embeddings, where the row says that it can.

    Raises:
        ConfigError: config.json asks for something that is not known.
    """
    part, without = _configured(part, raw)
    numbers = encoder.config
    table = word_table(encoder) if part.tied else None
    inner = numbers.hidden if table is None else table.shape[1]
    outputs = labels if part.rows is None else part.rows
    rate = raw.get("classifier_dropout")
    if rate is not None and (not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate <= 1):
        raise ConfigError(f"classifier_dropout in config.json is {rate!r}, which should be a number from 0 to 1.")
    with torch.device("meta"), NoInitialisation():
        return TaskHead(
            hidden=numbers.hidden,
            outputs=outputs if table is None else table.shape[0],
            readout=part.readout,
            inner=inner if part.dense is not None else None,
            act=part.act or numbers.act,
            norm_eps=numbers.norm_eps if part.norm is not None else None,
            tied=part.tied and tied,
            without=without,
            dropout=0.0 if part.tied else float(numbers.dropout if rate is None else rate),
        )


def _configured(part: Part, raw: Mapping[str, Any]) -> tuple[Part, frozenset[str]]:
    """Return a row as config.json has it, and which biases it turns off."""
    without = {
        name.removesuffix("_bias") for name, key in part.settings if name.endswith("_bias") and raw.get(key) is False
    }
    changes: dict[str, Any] = {
        name: str(raw[key]) for name, key in part.settings if not name.endswith("_bias") and raw.get(key) is not None
    }
    if any(name == "act" and key in raw and not raw[key] for name, key in part.settings):
        changes["act"] = "linear"  # null and "" stand for none, and not for the family's own
    if "readout" in changes:
        asked = changes["readout"]
        changes["readout"] = "first" if asked == "cls" else asked
        if changes["readout"] not in ("first", "last", "mean"):
            key = dict(part.settings)["readout"]
            raise ConfigError(f"{key} {asked!r} in config.json is not known. Known: cls, first, last, mean.")
    return replace(part, **changes), frozenset(without)
