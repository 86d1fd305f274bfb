"""Blocks of vectors in, an index of any kind out, tuned to a recall; a file of one in, the index out."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sentvec.errors import CollectionCorrupt, InvalidInput
from sentvec.extras import require
from sentvec.index.ann import AnnIndex, prepared
from sentvec.index.menu import FLAT, Metric, factory_of
from sentvec.index.rows import Array
from sentvec.index.tuning import Places, Truth, Tuning, tuned

Blocks = Callable[[], Iterable[Array]]

BLOCK = 16_384
"""Vectors handed to faiss at once, where they come from one array: 25 MB of 384 numbers each."""

K = 10
"""Neighbours that count for the recall."""

_QUERIES = 200  # vectors that it does not learn from, to measure recall with
_LEARN = 40  # vectors for each list that it learns from; faiss wants 39
_LEARN_LEAST = 65_536  # and at least so many: 256 for each entry of a codebook
_ROUNDS = 10  # of k-means; what faiss's 25 gain cannot be measured here
_BUILD = 120  # length of the queue while a graph is built (efConstruction)
_reading = threading.Lock()  # faiss's limits on what it reads are global


def in_blocks(vectors: Array, size: int = BLOCK) -> Blocks:
    """Return an array (n, dim), mapped from a file or not, as blocks."""
    return lambda: (vectors[first : first + size] for first in range(0, len(vectors), size))


def build(
    kind: str,
    blocks: Blocks,
    count: int,
    dim: int,
    metric: Metric = "cosine",
    *,
    recall: float = 0.95,
    queries: Array | None = None,
    memory: int | None = None,
    advance: Callable[[int], None] = lambda rows: None,
) -> AnnIndex:
    """Build an index, and measure how far it must look to find so many of the 10 nearest.

    It goes through the blocks at most twice, once to draw what it learns from, and holds no more of the vectors than
    these and one block. Where there are fewer vectors than a kind must learn from, it is "Flat".

    Args:
        kind: as in `sentvec.index.menu.factory_of`.
        blocks: called for the vectors, float32 (some, dim) at a time.
        count: how many there are in all.
        dim: numbers of a vector.
        metric: cosine, inner_product or l2.
        recall: the recall that a search should have.
        queries: (q, dim) what users ask. If None, vectors are drawn, from which it does not learn; neither they
            themselves nor their likes count as their neighbours, see `sentvec.index.tuning.Truth`.
        memory: bytes that "auto" may fill.
        advance: called with the number of vectors that have been added.

    Raises:
        InvalidInput: an argument that cannot be, or blocks that do not hold `count` vectors.
        NonFiniteOutput: a vector holds NaN or infinity.
    """
    if dim < 1 or count < 0:
        raise InvalidInput(f"dim is {dim} and count is {count}; accepted: dim of 1 or more, count of 0 or more.")
    if not 0 < recall <= 1:
        raise InvalidInput(f"recall is {recall}; accepted: a share, above 0 and at most 1.")
    factory = factory_of(kind, dim, count, metric, memory)
    faiss = require("faiss", extra="search")
    by_distance = metric == "l2" or factory.startswith("LSH")
    index = faiss.index_factory(dim, factory, faiss.METRIC_L2 if by_distance else faiss.METRIC_INNER_PRODUCT)
    truth = _learned(faiss, index, factory, blocks, count, metric, queries)
    core = faiss.downcast_index(index)
    if hasattr(core, "hnsw"):
        core.hnsw.efConstruction = _BUILD
    added = 0
    for block in blocks():
        rows = prepared(block, dim, metric)
        index.add(rows)
        truth.add(rows)
        added += len(rows)
        advance(len(rows))
    if added != count:
        raise InvalidInput(f"The blocks hold {added} vectors, not {count}.")
    built = AnnIndex(index, factory, metric)
    if len(truth.queries) and not built.exact:
        built.tuning = tuned(built, truth, recall)
    return built


def _learned(
    faiss: Any, index: Any, factory: str, blocks: Blocks, count: int, metric: Metric, queries: Array | None
) -> Truth:
    """Train an index on vectors that are drawn, and return the queries to measure it with."""
    dim = int(index.d)
    drawn = np.random.default_rng(0).permutation(count)
    many = 0 if queries is not None or factory == FLAT else min(_QUERIES, count // 10)
    lists = re.search(r"IVF(\d+)", factory)
    learn = 0 if index.is_trained else max(_LEARN_LEAST, _LEARN * int(lists[1]) if lists else 0)
    own, taught = np.sort(drawn[:many]), np.sort(drawn[many : many + learn])
    asked, sample = _gathered(blocks, (own, taught), dim, metric)
    if not index.is_trained:
        _gentle(faiss, index)
        index.train(sample)
    if queries is not None and factory != FLAT:
        asked, own = prepared(queries, dim, metric), np.full(len(queries), -1, np.int64)
    return Truth(asked, own, K, by_distance=metric == "l2")


def _gathered(blocks: Blocks, wanted: tuple[Places, ...], dim: int, metric: Metric) -> list[Array]:
    """Return the vectors at these places, each group of places sorted."""
    found = [np.empty((len(places), dim), np.float32) for places in wanted]
    first = 0
    if not any(map(len, wanted)):
        return found
    for block in blocks():
        for places, kept in zip(wanted, found, strict=True):
            low, high = np.searchsorted(places, [first, first + len(block)])
            if high > low:
                kept[low:high] = prepared(np.asarray(block[places[low:high] - first]), dim, metric)
        first += len(block)
    return found


def _gentle(faiss: Any, index: Any) -> None:
    """Let k-means take what it gets without a word, and end early; do not sort codebooks for a use we make none of."""
    index = faiss.downcast_index(index)
    if hasattr(index, "do_polysemous_training"):
        index.do_polysemous_training = False  # a second and a half for each part of a vector
    for inner in ("index", "base_index"):
        if hasattr(index, inner):
            _gentle(faiss, getattr(index, inner))
    parts: tuple[Any, ...] = (index, getattr(index, "pq", index))
    for part in parts:
        if hasattr(part, "cp"):
            part.cp.min_points_per_centroid = 1
            part.cp.niter = _ROUNDS


def read(
    path: str | os.PathLike[str], factory: str, count: int, dim: int, metric: Metric, tuning: Tuning | None = None
) -> AnnIndex:
    """Map an index from a file that `AnnIndex.write` made and that has not been changed since: check its hash first.

    Raises:
        CollectionCorrupt: the file is damaged, or holds another index.
    """
    faiss = require("faiss", extra="search")
    try:
        size = Path(path).stat().st_size
        with _reading:
            # Numbers in a damaged file would otherwise ask for any amount of memory, and of time.
            faiss.set_deserialization_vector_byte_limit(max(size, 1))
            faiss.set_deserialization_loop_limit(max(count, 1 << 20))
            # The table that is skipped would be larger than the file; inner products have no use for it.
            index = faiss.read_index(os.fspath(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)
    except (RuntimeError, MemoryError, OSError) as error:
        told = str(error).splitlines()[-1][:200] if str(error) else type(error).__name__
        raise CollectionCorrupt(f"The index {os.fspath(path)!r} cannot be read ({told}). Build it again.") from error
    if (int(index.d), int(index.ntotal)) != (dim, count):
        raise CollectionCorrupt(
            f"The index {os.fspath(path)!r} holds {index.ntotal} vectors of {index.d} numbers, not {count} of {dim}. "
            "Build it again."
        )
    return AnnIndex(index, factory, metric, tuning)
