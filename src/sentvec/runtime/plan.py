"""Group texts into batches: token counts in, batches of positions out, under a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence

SHARED = 512
"""Fewest tokens that each thread should have for a batch of its own; below, one batch is shared by all."""


def plan(lengths: Sequence[int], budget: int, threads: int = 1) -> list[list[int]]:
    """Put texts of like length together, longest first, until a batch holds `budget` tokens.

    Longest first, so that a batch too large for the memory fails at once and not after an hour.

    Args:
        lengths: tokens of each text.
        budget: most tokens of a batch; a text longer than this gets a batch of its own.
        threads: how many batches run at a time: there are about a multiple of so many, of like size, unless
            all the texts together are too few.

    Returns:
        Batches of positions in `lengths`; every position is in exactly one.

    >>> plan([2, 9, 4, 4], budget=10)
    [[1], [2, 3, 0]]
    """
    tokens = sum(lengths)
    if threads > 1 and tokens >= SHARED * threads:
        rounds = -(-tokens // (budget * threads))
        budget = -(-tokens // (rounds * threads))
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])  # stable: equal lengths keep their order
    batches: list[list[int]] = []
    room = 0
    for i in order:
        if not batches or lengths[i] > room:
            batches.append([])
            room = budget
        batches[-1].append(i)
        room -= lengths[i]
    return batches
