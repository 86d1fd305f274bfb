"""Datasets in; batches in an order that follows from seed and epoch alone, out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from sentvec.errors import InvalidInput
from sentvec.train.batches import Batch, Dataset, Kind
from sentvec.train.collate import collate
from sentvec.train.grouped import group
from sentvec.train.unique import Places, Shared, fill, shared_texts

Mix = Literal["proportional", "round_robin"]

# kinds whose other examples in a batch are taken as wrong answers
_IN_BATCH: frozenset[Kind] = frozenset({"pairs", "tuples", "texts"})
_WINDOW = 50  # batches within which texts are sorted by length


class Sampler:
    """Gives batches; epoch and position are all that a run must keep to go on where it was.

    Each batch is of one dataset. The order of an epoch is derived from seed and epoch, so that any batch of any epoch
    can be given without those before it.

    Attributes:
        notes: what a user should know of the batches, a sentence each.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        *,
        batch_size: int,
        seed: int,
        mix: Mix = "proportional",
        unique: bool = True,
        per_label: int | None = None,
        by_length: bool = False,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Prepare to sample.

        Args:
            datasets: what to learn from.
            batch_size: examples in a batch, of all processes together.
            seed: derives the order.
            mix: "proportional" gives all batches of all datasets in turns by chance; "round_robin" gives one of each
                in turn, until the dataset with the fewest has no more (another part of the larger ones each epoch).
            unique: let no two examples of a batch share a text, whatever its case, where other examples are taken as
                wrong answers: pairs, tuples and texts. Each example still comes once an epoch; where a text is in more
                examples than there are batches, some batches at the end are not full.
            per_label: of `classes`, bring at least so many texts of each class that a batch has.
            by_length: put texts of like length together.
            drop_last: leave out batches that are not full.
            rank: number of this process, which gets its share of each batch: the shares in the order of their
                processes are the batch. A share has no examples where the batch has fewer than there are processes.
            world: number of processes.

        Raises:
            InvalidInput: a value is not possible, or a data set would have no share, of its own or for a process; the
                message says what is.
        """
        _check(datasets, batch_size, mix, per_label, drop_last, rank, world)
        self.datasets = tuple(datasets)
        self.batch_size = batch_size
        self.seed = seed
        self.mix = mix
        self.unique = unique
        self.per_label = per_label
        self.by_length = by_length
        self.drop_last = drop_last
        self.rank = rank
        self.world = world
        self._shared = tuple(
            shared_texts(one.examples) if unique and one.kind in _IN_BATCH else None for one in self.datasets
        )
        self._planned: tuple[int, list[tuple[int, Places]]] | None = None
        self.notes = tuple(self._crowds())

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield (number of the dataset, batch) of an epoch, from a position on.

        Raises:
            InvalidInput: the epoch has not so many batches.
        """
        plan = self._plan(epoch)
        if not 0 <= start <= len(plan):
            raise InvalidInput(f"start is {start}; accepted: 0 to {len(plan)}, as epoch {epoch} has so many batches.")
        for number, places in plan[start:]:
            first, last = (len(places) * turn // self.world for turn in (self.rank, self.rank + 1))
            data = self.datasets[number]
            yield number, collate(data.kind, [data.examples[place] for place in places[first:last].tolist()])

    def steps(self, epoch: int) -> int:
        """Return the number of batches of an epoch."""
        return len(self._plan(epoch))

    def _plan(self, epoch: int) -> list[tuple[int, Places]]:
        if epoch < 0:
            raise InvalidInput(f"epoch is {epoch}; accepted: 0 and more.")
        if self._planned is None or self._planned[0] != epoch:
            parts = [self._cut(number, epoch) for number in range(len(self.datasets))]
            if self.mix == "round_robin":
                turns = np.tile(np.arange(len(parts)), min(map(len, parts)))
            else:
                turns = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
                turns = self._chance(epoch, len(parts)).permutation(turns)
            queues = [iter(part) for part in parts]
            self._planned = epoch, [(number, next(queues[number])) for number in turns.tolist()]
        return self._planned[1]

    def _chance(self, epoch: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, number])

    def _cut(self, number: int, epoch: int) -> list[Places]:
        """Return the batches of one dataset, as places in it."""
        data, shared = self.datasets[number], self._shared[number]
        chance = self._chance(epoch, number)
        order = chance.permutation(len(data))
        if data.kind == "classes" and self.per_label is not None:
            labels = np.array([one.value for one in data.examples], dtype=np.int64)
            return group(order, labels, self.batch_size, self.per_label, drop_last=self.drop_last)
        if self.by_length:
            order = self._sorted(data, order)
        cut = _plainly(order, self.batch_size) if shared is None else fill(order, self.batch_size, shared)
        if self.by_length:
            cut = [cut[place] for place in chance.permutation(len(cut))]
        return [batch for batch in cut if len(batch) == self.batch_size] if self.drop_last else cut

    def _sorted(self, data: Dataset, order: Places) -> Places:
        lengths = np.array([sum(map(len, one.texts)) for one in data.examples])
        windows = np.array_split(order, range(_WINDOW * self.batch_size, len(order), _WINDOW * self.batch_size))
        return np.concatenate([window[np.argsort(lengths[window], kind="stable")] for window in windows])

    def _crowds(self) -> Iterator[str]:
        for data, shared in zip(self.datasets, self._shared, strict=True):
            batches = -(-len(data) // self.batch_size)
            if shared is not None and shared.crowd > batches:
                yield (
                    f"{data.name}: one text is in {shared.crowd:,} examples, as in {_shortly(data, shared)}. Batches "
                    f"without it twice are at least so many, where {batches:,} would do, and those at the end are not "
                    "full. Take out some of these examples, or let batches repeat texts (unique = false)."
                )


def _plainly(order: Places, size: int) -> list[Places]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _shortly(data: Dataset, shared: Shared) -> str:
    text = data.examples[shared.commonest].texts[0]
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _check(
    datasets: Sequence[Dataset],
    batch_size: int,
    mix: str,
    per_label: int | None,
    drop_last: bool,
    rank: int,
    world: int,
) -> None:
    if not datasets or not all(map(len, datasets)):
        empty = [data.name for data in datasets if not len(data)]
        raise InvalidInput(f"{', '.join(empty) or 'the list of datasets'} is empty; give datasets with examples.")
    if batch_size < 1:
        raise InvalidInput(f"batch_size is {batch_size}; accepted: 1 or more.")
    if mix not in get_args(Mix):
        raise InvalidInput(f"mix {mix!r} is not known. Known: {', '.join(get_args(Mix))}.")
    if per_label is not None and not 1 <= per_label <= batch_size // 2:
        raise InvalidInput(
            f"per_label is {per_label}; accepted: 1 to {batch_size // 2}, so that two classes have room in a batch."
        )
    if per_label is not None and all(data.kind != "classes" for data in datasets):
        raise InvalidInput("per_label is for classes, and no dataset has texts with a class; leave it out.")
    for data in datasets:
        if len(data) < world:
            raise InvalidInput(
                f"{data.name} has {len(data)} examples for {world} processes, so some would have no share of it. Give "
                "more examples, or fewer processes."
            )
        if drop_last and len(data) < batch_size:
            raise InvalidInput(
                f"{data.name} has {len(data)} examples, and batches that are not full are left out, so it would have "
                f"no share in what is learnt. Give more examples, or a batch_size of {len(data)} or less."
            )
    if not 0 <= rank < world:
        raise InvalidInput(f"rank is {rank} of {world} processes; accepted: 0 to {world - 1}.")
