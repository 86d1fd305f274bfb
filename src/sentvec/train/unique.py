"""The texts of examples and an order in; batches in which no two examples share a text, out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentvec.train.batches import Examples

Places = NDArray[np.int64]

_TRIES = 8  # batches that are tried for an example from one place on


@dataclass(frozen=True)
class Shared:
    """Texts that more than one example has.

    Attributes:
        owners: (pairs,) examples, in rising order.
        texts: (pairs,) numbers of texts that these examples share with others.
        crowd: the most examples that share one text; 1 where none is shared.
        commonest: the example by which that text can be found.
    """

    owners: Places
    texts: Places
    crowd: int
    commonest: int


def shared_texts(examples: Examples) -> Shared:
    """Find the texts that examples share; texts are the same that differ in case or in blanks around them alone."""
    counts = np.fromiter((len(one.texts) for one in examples), dtype=np.int64, count=len(examples))
    # two texts of one hash would only be kept apart without need, and hashes are a tenth of the texts in memory
    hashes = np.fromiter(
        (hash(text.strip().casefold()) for one in examples for text in one.texts), dtype=np.int64, count=counts.sum()
    )
    owners = np.repeat(np.arange(len(examples)), counts)
    _, texts = np.unique(hashes, return_inverse=True)
    # an example may say a text twice, as (text, text) does
    pairs = np.unique(np.stack([owners, texts], axis=1), axis=0)
    often = np.bincount(pairs[:, 1]) if len(pairs) else np.zeros(1, dtype=np.int64)
    shared = pairs[often[pairs[:, 1]] > 1]
    crowd = int(often.max(initial=1))
    commonest = int(pairs[np.argmax(often[pairs[:, 1]]), 0]) if len(pairs) else 0
    return Shared(shared[:, 0], shared[:, 1], crowd, commonest)


def fill(order: Places, size: int, shared: Shared) -> list[Places]:
    """Cut an order into batches, and move what shares a text with others in its batch.

    Those that share texts are placed first: in the batch where the order has them, or the next that has room and none
    of their texts. The others then fill what is left, in their order. What finds no batch, because a text is in nearly
    all of them, goes to batches at the end, which need not be full. The work is in proportion to the number of texts.

    Args:
        order: (examples,) numbers of all examples, each once.
        size: of a full batch.
        shared: texts that they share.

    Returns:
        The batches; each example is in one of them, once.
    """
    count = len(order)
    batches = -(-count // size)
    starts = np.searchsorted(shared.owners, np.arange(count + 1)).tolist()
    texts = shared.texts.tolist()
    has_shared = np.diff(starts).astype(bool)
    room = [size] * batches
    room[-1] = count - size * (batches - 1)
    board = _Board(room)
    chosen: list[tuple[int, int]] = []
    late: list[int] = []
    for place in np.flatnonzero(has_shared[order]).tolist():
        example = int(order[place])
        own = texts[starts[example] : starts[example + 1]]
        batch = board.place(own, place // size)
        if batch is None:
            late.append(example)
        else:
            chosen.append((batch, example))
    rest = order[~has_shared[order]]
    where = np.repeat(np.arange(batches), room)[: len(rest)]
    places = np.concatenate([where, np.array([batch for batch, _ in chosen], dtype=np.int64)])
    examples = np.concatenate([rest, np.array([example for _, example in chosen], dtype=np.int64)])
    turn = np.argsort(places, kind="stable")
    cuts = np.searchsorted(places[turn], np.arange(1, batches))
    filled = [part for part in np.split(examples[turn], cuts) if len(part)]
    return filled + _at_the_end(late, size, texts, starts)


class _Board:
    """Which batch has room, and which texts."""

    def __init__(self, room: list[int]) -> None:
        self.room = room
        self.count = len(room)
        self.after = list(range(self.count + 1))
        self.taken: set[int] = set()  # text * batches + batch
        self.times: dict[int, int] = {}  # batches that have a text
        self.walked: dict[int, int] = {}  # the first batch that may be without a text

    def place(self, texts: list[int], wanted: int) -> int | None:
        """Put an example into the wanted batch, or another that will do, and return its number; None if none does."""
        keys = [text * self.count for text in texts]
        batch = self._free(keys, wanted)
        if batch == self.count:
            # tries from a place by chance fail where nearly all batches have a text: go from one that has not
            crowd = max(texts, key=lambda text: self.times.get(text, 0))
            start = _next(self.walked.get(crowd, 0), self.after)
            while start < self.count and crowd * self.count + start in self.taken:
                start = _next(start + 1, self.after)
            self.walked[crowd] = start
            batch = self._free(keys, start) if start < self.count else start
        if batch == self.count:
            return None
        for key, text in zip(keys, texts, strict=True):
            self.taken.add(key + batch)
            self.times[text] = self.times.get(text, 0) + 1
        self.room[batch] -= 1
        if not self.room[batch]:
            self.after[batch] = batch + 1
        return batch

    def _free(self, keys: list[int], batch: int) -> int:
        """Return a batch with room and none of the texts, round and round; the number of batches after enough tries."""
        for _ in range(_TRIES):
            batch = _next(batch, self.after)
            if batch == self.count:
                batch = _next(0, self.after)
                if batch == self.count:
                    break
            if not any(key + batch in self.taken for key in keys):
                return batch
            batch += 1
        return self.count


def _next(batch: int, after: list[int]) -> int:
    """Return the first batch with room from this one on, and shorten the way for those who ask next.

    Args:
        batch: where to begin.
        after: for each batch itself where it has room, else one further on; one more stands at the end.
    """
    end = batch
    while after[end] != end:
        end = after[end]
    while after[batch] != end:
        after[batch], batch = end, after[batch]
    return end


def _at_the_end(late: list[int], size: int, texts: list[int], starts: list[int]) -> list[Places]:
    """Put examples into new batches: each behind the last that has one of its texts."""
    batches: list[list[int]] = []
    after = [0]
    behind: dict[int, int] = {}
    for example in late:
        own = texts[starts[example] : starts[example + 1]]
        batch = _next(max((behind.get(text, 0) for text in own), default=0), after)
        if batch == len(batches):
            batches.append([])
            after.append(batch + 1)
        batches[batch].append(example)
        if len(batches[batch]) == size:
            after[batch] = batch + 1
        behind |= dict.fromkeys(own, batch + 1)
    return [np.array(batch, dtype=np.int64) for batch in batches]
