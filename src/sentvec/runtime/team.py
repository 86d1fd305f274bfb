"""Batches in, their results out as they come, from several threads that take one batch each.

On a processor this beats giving all cores to each batch: cores that share a product wait for each other at its end,
dozens of times a batch, and worst where something else wants a core as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cache, partial
from itertools import islice
from threading import Barrier
from typing import TypeVar

import torch

B = TypeVar("B")
R = TypeVar("R")


def spread_over(threads: int, batches: Sequence[B], run: Callable[[B], R]) -> Iterator[tuple[B, R]]:
    """Run batches, as many at a time as there are threads, each on one core.

    Args:
        threads: how many cores to use. With one, or with a single batch, everything runs here, and torch shares
            the batch among its threads as it likes.
        batches: what to run, the largest first.
        run: what to do with each.

    Yields:
        Each batch with its result, in the order in which they are ready.
    """
    if threads == 1 or len(batches) == 1:
        for batch in batches:
            yield batch, run(batch)
        return
    team = _team(threads)
    waiting = iter(batches)
    under_way: dict[Future[R], B] = {}
    try:
        while True:
            # one more than there are threads, so that none waits for us
            for batch in islice(waiting, threads + 1 - len(under_way)):
                under_way[team.submit(run, batch)] = batch
            if not under_way:
                return
            for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                yield under_way.pop(done), done.result()
    finally:
        for future in under_way:
            future.cancel()


@cache
def _team(threads: int) -> ThreadPoolExecutor:
    """Return threads whose products run on one core each; all calls share them."""
    here = torch.get_num_threads()
    together = Barrier(threads + 1)
    team = ThreadPoolExecutor(threads, "sentvec-encode", _alone, (together,))
    for _ in range(threads):
        team.submit(together.wait)
    together.wait()
    together.wait()
    torch.set_num_threads(here)  # torch counts threads for each thread, but what new ones get is what was said last
    return team


def _alone(together: Barrier) -> None:
    torch.get_num_threads()  # the first word of torch in a thread sets the number, and would undo the next line
    torch.set_num_threads(1)
    together.wait()


if hasattr(os, "register_at_fork"):  # threads do not come along
    os.register_at_fork(after_in_child=_team.cache_clear)


@cache
def expect_forks() -> None:
    """From now on, let torch run on one thread in processes that are forked from this one.

    Its other threads are left behind, and GNU's OpenMP, which does not notice, would wait for them for ever. A process
    that was forked before its model was made keeps its number of threads.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))
