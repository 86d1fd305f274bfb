"""The currency between rooms: token ids of single texts in, packed batches without padding out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokenIds:
    """One text (or pair of texts) as the model reads it, special tokens included.

    Attributes:
        ids: token ids, of length tokens.
        types: token type ids, of length tokens: 0 for the first text, 1 for the second.
        lost: how many tokens truncation removed.
    """

    ids: list[int]
    types: list[int]
    lost: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Several texts one after the other, with no padding between them.

    Attributes:
        ids: token ids, (tokens,) int64.
        types: token type ids, (tokens,) int64.
        positions: place of each token in its own text from 0, (tokens,) int64.
        offsets: where each text begins, and where the last one ends, (seqs + 1,) int64.
        lengths: tokens of each text, a tuple of seqs ints. The same numbers as in `offsets`, kept on the
            host so that planning a kernel never waits for the device.
    """

    ids: Tensor
    types: Tensor
    positions: Tensor
    offsets: Tensor
    lengths: tuple[int, ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return max(self.lengths, default=0)

    def __len__(self) -> int:
        """Return the number of texts (seqs)."""
        return len(self.lengths)


def pack(texts: Sequence[TokenIds], device: torch.device | str = "cpu") -> PackedBatch:
    """Lay texts one after the other.

    >>> batch = pack([TokenIds([101, 7, 102], [0, 0, 0]), TokenIds([101, 102], [0, 0])])
    >>> batch.ids.tolist(), batch.positions.tolist(), batch.offsets.tolist(), batch.longest
    ([101, 7, 102, 101, 102], [0, 1, 2, 0, 1], [0, 3, 5], 3)
    """
    lengths = tuple(len(text) for text in texts)

    def tensor(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64).to(device, non_blocking=True)

    return PackedBatch(
        ids=tensor(list(chain.from_iterable(text.ids for text in texts))),
        types=tensor(list(chain.from_iterable(text.types for text in texts))),
        positions=tensor(list(chain.from_iterable(range(n) for n in lengths))),
        offsets=tensor(list(accumulate(lengths, initial=0))),
        lengths=lengths,
    )
