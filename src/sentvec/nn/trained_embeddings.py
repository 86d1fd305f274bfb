"""Input embeddings for training on a processor: token ids in, hidden states (tokens, hidden) out, in one pass.

The way back writes to the rows of tables that the batch has, and to no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sentvec.nn.gradients import Gradients
from sentvec.nn.passes import Dropout, Passes

Lookup = tuple[Tensor, Tensor | None]
"""A table (rows, hidden), and the row for every token, (tokens,) int64; None where all have the first."""


def embeds(lookups: Sequence[Lookup], norm: nn.Module) -> bool:
    """Say whether `embedded` can do this, with rows that tables have."""
    return (
        type(norm) is nn.LayerNorm
        and norm.bias is not None
        and norm.weight.dtype == torch.float32
        and all(
            table.dtype == torch.float32
            and table.device.type == "cpu"
            and table.is_contiguous()
            and table.shape[1] % 16 == 0
            and (rows is None or not len(rows) or 0 <= int(rows.min()) <= int(rows.max()) < len(table))
            for table, rows in lookups
        )
    )


def embedded(lookups: Sequence[Lookup], norm: nn.LayerNorm, dropout: float, passes: Passes) -> Tensor:
    """Add up rows of tables, normalise, drop.

    Args:
        lookups: at least one; see `embeds`.
        norm: the normalisation.
        dropout: dropped share of what comes out; torch's generator gives the seed.
        passes: what does it.

    Returns:
        (tokens, hidden), float32.
    """
    seed = int(torch.randint(2**62, (), dtype=torch.int64)) if dropout else 0
    run = _Run([(table, None if rows is None else rows.contiguous()) for table, rows in lookups], norm, passes,
               Dropout(dropout, seed, 0))  # fmt: skip
    out: Tensor = _Embed.apply(run, norm.weight, norm.bias, *(table for table, _ in lookups))  # type: ignore[no-untyped-call]
    return out


@dataclass(frozen=True, slots=True)
class _Run:
    lookups: list[Lookup]
    norm: nn.LayerNorm
    passes: Passes
    dropout: Dropout


class _Embed(torch.autograd.Function):
    """The embeddings and their gradient."""

    @staticmethod
    def forward(ctx: Any, run: _Run, *parameters: Tensor) -> Tensor:
        out, ctx.kept = run.passes.embed(run.lookups, run.norm, run.dropout)
        ctx.run = run
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        run: _Run = ctx.run
        d = d.float().contiguous()
        if run.dropout.share:
            d = run.passes.drop(d, run.dropout)
        d, _, *norm = run.passes.norm_back(d, ctx.kept, run.norm, Dropout(0.0, 0, 0))
        tables = [table for table, _ in run.lookups]
        gradients = Gradients([run.norm.weight, run.norm.bias, *tables], ctx.needs_input_grad[1:])
        for number, found in enumerate(norm):
            gradients.add(number, found)
        for number, (_, rows) in enumerate(run.lookups, start=len(norm)):
            total = gradients.zeroed(number)
            if total is not None:
                run.passes.scatter(d, rows, total)
        return None, *gradients.found
