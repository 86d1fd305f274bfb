"""Group texts into batches: token counts in, batches of positions out, under a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence


def plan(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Put texts of like length together, longest first, until a batch holds `budget` tokens.

    Longest first, so that a batch too large for the memory fails at once and not after an hour.

    Args:
        lengths: tokens of each text.
        budget: most tokens of a batch; a text longer than this gets a batch of its own.

    Returns:
        Batches of positions in `lengths`; every position is in exactly one.

    >>> plan([2, 9, 4, 4], budget=10)
    [[1], [2, 3, 0]]
    """
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
