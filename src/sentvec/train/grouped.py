"""Texts with classes and an order in; batches that bring several texts of each of their classes, out."""

from __future__ import annotations

import numpy as np

from sentvec.train.unique import Places


def group(order: Places, labels: Places, size: int, least: int, *, drop_last: bool = False) -> list[Places]:
    """Cut an order into batches with at least so many texts of each class that they have.

    Each class is cut into handfuls of `least` texts, the last of up to twice as many; a class with fewer is a handful
    by itself. Handfuls of a class are spread evenly over the epoch, so that a large class is nowhere alone.

    Args:
        order: (examples,) numbers of all examples, each once.
        labels: (examples,) the classes, by number of the example.
        size: the most examples of a batch.
        least: texts of a class; at most half of `size`.
        drop_last: leave out the last batch where there is room in it for another handful.

    Returns:
        The batches, of `size` or somewhat fewer; each example is in one of them, once.
    """
    turn = order[np.argsort(labels[order], kind="stable")]
    handfuls: list[Places] = []
    keys: list[float] = []
    for members in np.split(turn, np.flatnonzero(np.diff(labels[turn])) + 1):
        count = max(len(members) // least, 1)
        handfuls += np.split(members, range(least, count * least, least))
        # the first comes at a place by chance that follows from the order, the others as far apart as can be
        offset = (int(members[0]) * 0.618033988749895) % 1
        keys += [(place + offset) / count for place in range(count)]
    batches: list[list[Places]] = []
    filled: list[int] = []
    open_from = 0
    for place in np.argsort(keys, kind="stable").tolist():
        handful = handfuls[place]
        fits = (at for at in range(open_from, len(batches)) if filled[at] + len(handful) <= size)
        at = next(fits, len(batches))
        if at == len(batches):
            batches.append([])
            filled.append(0)
        batches[at].append(handful)
        filled[at] += len(handful)
        while open_from < len(batches) and (filled[open_from] + least > size or open_from < len(batches) - 2):
            open_from += 1  # no batch is kept open for long: of two, the older one goes
    whole = [np.concatenate(parts) for parts in batches]
    return whole[:-1] if drop_last and filled and filled[-1] + least <= size else whole
