"""Processes that learn as one: each one's share of a batch in, the gradient of the whole batch out.

Every process encodes its share. Vectors are gathered, and each process computes the loss of all of them, but keeps the
gradient of its own rows only; what these send back through the encoder is added up over the processes. So the sum is
the gradient that one process would have had with the whole batch, negatives and all.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from sentvec.errors import InvalidInput
from sentvec.train.batches import Batch

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """The processes of a run, or the one that there is.

    Attributes:
        rank: number of this process.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    def gather(self, own: Sequence[Tensor], batch: Batch) -> tuple[tuple[Tensor, ...], Batch]:
        """Put vectors and batches of all processes together, in the order of the processes.

        Args:
            own: vectors of this process by column, (texts, dim) each; gradients flow into these alone.
            batch: its share.

        Returns:
            Vectors by column, and the whole batch.
        """
        if self.size == 1:
            return tuple(own), batch
        shares: list[Any] = [None] * self.size
        distributed.all_gather_object(shares, (batch, [part.detach().cpu() for part in own]))
        columns = tuple(
            torch.cat(
                [part if rank == self.rank else shares[rank][1][number].to(part.device) for rank in range(self.size)]
            )
            for number, part in enumerate(own)
        )
        return columns, joined([one for one, _ in shares])

    def add_up(self, modules: Iterable[nn.Module]) -> None:
        """Replace each parameter's gradient by the sum of all processes'."""
        if self.size == 1:
            return
        for module in modules:
            for parameter in module.parameters():
                if parameter.requires_grad:
                    if parameter.grad is None:  # this process had no text for it; another may have had one
                        parameter.grad = torch.zeros_like(parameter)
                    distributed.all_reduce(parameter.grad)

    def total(self, number: float) -> float:
        """Return the sum of a number over all processes."""
        if self.size == 1:
            return number
        found = torch.tensor(number, dtype=torch.float64)
        distributed.all_reduce(found)
        return float(found)

    def first_says(self, value: T) -> T:
        """Return what the first process has for a value, in all of them; those that come early wait."""
        if self.size == 1:
            return value
        said: list[Any] = [value]
        distributed.broadcast_object_list(said)
        told: T = said[0]
        return told


def team(device: torch.device) -> Team:
    """Join the processes that torchrun started; alone where it did not.

    Raises:
        InvalidInput: the environment names several processes, and the others cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team()
    if not distributed.is_initialized():
        try:
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (ValueError, RuntimeError) as error:
            raise InvalidInput(
                f"WORLD_SIZE is {size}, but the processes cannot meet ({error}). Start them with torchrun."
            ) from None
        atexit.register(_part)
    return Team(distributed.get_rank(), distributed.get_world_size())


def _part() -> None:
    """Leave the others while Python is whole: its end, in the middle of their threads, aborted one run in hundreds."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def joined(shares: Sequence[Batch]) -> Batch:
    """Put the shares of a batch together, one after the other.

    >>> joined([Batch("texts", (("a",),)), Batch("texts", (("b", "c"),))]).columns
    (('a', 'b', 'c'),)
    """
    first = shares[0]
    columns = tuple(
        tuple(text for one in column for text in one) for column in zip(*(b.columns for b in shares), strict=True)
    )
    owners = values = None
    if first.owners is not None:
        before, moved = 0, []
        for one in shares:
            assert one.owners is not None, "shares of one batch are of one kind"
            moved.append(one.owners + before)
            before += len(one)
        owners = torch.cat(moved)
    if first.values is not None:
        some = [one.values for one in shares if one.values is not None and len(one.values)]
        values = torch.cat(some) if some else first.values
    return replace(first, columns=columns, owners=owners, values=values)
