"""Measure indexes of every kind, and what a collection costs on top: recall@10, queries a second, size, time to build.

    python benchmarks/search_speed.py kinds --size 10000 [--only KIND ...] [--record]
    python benchmarks/search_speed.py collection --size 100000 [--only KIND ...] [--record]
    python benchmarks/search_speed.py large --size 1000000 [--only KIND ...] [--record]

`search_data.py` says what the vectors are, `search_large.py` what the third does. The first two run on one thread, in
turns on a machine that others may use, so processor time is what counts. Peers get the same vectors: usearch and
hnswlib with 32 links for each vector, and the queue that first reaches the wanted recall of those tried; plain faiss is
the same index, called as its documentation calls it.

Each line is kept in build/bench/search_speed, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from machine import keep, machine
from search_data import (
    ASKED,
    DATA,
    KEPT,
    RECALL,
    Array,
    Given,
    K,
    Places,
    exact,
    given,
    keep_one,
    recall,
    told_of_load,
)

from sentvec import Collection
from sentvec.index.ann import AnnIndex
from sentvec.index.kinds import build, in_blocks
from sentvec.index.menu import KINDS

SHARES = (0.5, 0.1, 0.01, 0.001)


def single(ask: Callable[[Array], Any], queries: Array, least: float = 0.5) -> float:
    """Return milliseconds of processor time of a query, one at a time."""
    for query in queries[:5]:
        ask(query[None])
    begun, done = time.process_time(), 0
    while time.process_time() - begun < least:
        ask(queries[done % len(queries)][None])
        done += 1
    return 1000 * (time.process_time() - begun) / done


def ours(kind: str, vectors: Array, queries: Array, truth: Places) -> dict[str, Any]:
    begun = time.process_time()
    index = build(kind, in_blocks(vectors), *vectors.shape, recall=RECALL)
    built = time.process_time() - begun

    def ask(asked: Array) -> Places:
        found, _ = index.search(asked, K)
        return np.stack([best(vectors, query, places) for query, places in zip(asked, found, strict=True)])

    point = index.tuning.chosen
    with tempfile.TemporaryDirectory() as folder:
        index.write(Path(folder) / "file")
        size = (Path(folder) / "file").stat().st_size
    return {
        "what": f"{kind}: {index.factory}",
        "how": f"effort {point.effort}, {point.factor * K} candidates",
        "build": built,
        "bytes": size / len(vectors),
        "recall": recall(ask(queries), truth),
        "ms": single(ask, queries),
        "batch": batched(ask, queries),
        "plain": plain(index, queries, truth),
    }


def best(vectors: Array, query: Array, places: Places) -> Places:
    places = places[places >= 0]
    return places[np.argsort(-(vectors[places] @ query), kind="stable")[:K]]


def batched(ask: Callable[[Array], Any], queries: Array) -> float:
    begun = time.process_time()
    ask(queries)
    return 1000 * (time.process_time() - begun) / len(queries)


def plain(index: AnnIndex, queries: Array, truth: Places) -> dict[str, float]:
    """Measure the same faiss index as its documentation calls it, without scoring again."""
    raw, point = index._index, index.tuning.chosen
    params = index._params(raw, point.effort, None)

    def ask(asked: Array) -> Places:
        return raw.search(asked, K, params=params)[1]

    return {"recall": recall(ask(queries), truth), "ms": single(ask, queries), "batch": batched(ask, queries)}


def usearch(vectors: Array, queries: Array, truth: Places) -> dict[str, Any]:
    from usearch.index import Index

    begun = time.process_time()
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f32", connectivity=32, expansion_add=120)
    index.add(np.arange(len(vectors)), vectors, threads=1)
    built = time.process_time() - begun

    def queue(length: int) -> Callable[[Array], Places]:
        index.expansion_search = length
        return lambda asked: np.asarray(index.search(asked, K, threads=1).keys, np.int64).reshape(-1, K)

    return peer("usearch", built, index.serialized_length / len(vectors), queue, queries, truth)


def hnswlib(vectors: Array, queries: Array, truth: Places) -> dict[str, Any]:
    import hnswlib as library

    begun = time.process_time()
    index = library.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=32, ef_construction=120)
    index.set_num_threads(1)
    index.add_items(vectors, num_threads=1)
    built = time.process_time() - begun

    def queue(length: int) -> Callable[[Array], Places]:
        index.set_ef(length)
        return lambda asked: index.knn_query(asked, K, num_threads=1)[0].astype(np.int64)

    with tempfile.TemporaryDirectory() as folder:
        index.save_index(f"{folder}/file")
        size = Path(f"{folder}/file").stat().st_size
    return peer("hnswlib", built, size / len(vectors), queue, queries, truth)


def peer(
    name: str, built: float, size: float, queue: Callable[[int], Any], queries: Array, truth: Places
) -> dict[str, Any]:
    for length in (16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024):
        ask = queue(length)
        reached = recall(ask(queries), truth)
        if reached >= RECALL:
            break
    return {
        "what": f"{name}, 32 links",
        "how": f"queue {length}",
        "build": built,
        "bytes": size,
        "recall": reached,
        "ms": single(ask, queries),
        "batch": batched(ask, queries),
        "plain": None,
    }


def of_collection(kinds: list[str], vectors: Array, queries: Array, truth: Places) -> Iterator[dict[str, Any]]:
    """Measure a collection with each kind of index beside the faiss index alone, and its recall under filters."""
    path, model = KEPT / f"{len(vectors)}.sv", Given(vectors)
    with Collection.open(path, model) as collection:
        begun, there = time.process_time(), len(collection)
        for first in range(there, len(vectors), 10_000):
            rows = range(first, min(first + 10_000, len(vectors)))
            numbers = [{"n": row * 1_000_003 % len(vectors)} for row in rows]
            collection.add(map(str, rows), ids=list(map(str, rows)), metadata=numbers)
        # nothing is known of what was added by an earlier run
        added = (time.process_time() - begun) / (len(vectors) - there) if there < len(vectors) else None
        for kind in kinds:
            begun = time.process_time()
            collection.compact(kind, recall=RECALL)
            built = time.process_time() - begun
            found = measured(collection, path, model, kind, vectors, queries, truth)
            yield found | {"add": added, "build": built}


def measured(
    collection: Collection, path: Path, model: Given, kind: str, vectors: Array, queries: Array, truth: Places
) -> dict[str, Any]:
    begun = time.perf_counter()
    with Collection.open(path, model) as again:  # and the first search, which reads the index
        again.search(queries[0], K)
        opened = time.perf_counter() - begun
    found = np.array([[int(hit.id) for hit in collection.search(query, K)] for query in queries])
    one: dict[str, Any] = {
        "kind": kind,
        "recall": recall(found, truth),
        "ms": single(lambda asked: collection.search(asked[0], K), queries),
        "batch": batched(lambda asked: collection.search_many(asked, K), queries),
        "opened": opened,
        "disk": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / len(vectors),
    }
    index = collection._reader.ask(lambda store, view: view._index)  # the very index, of any kind but flat
    one["plain"] = plain(index or build(kind, in_blocks(vectors), *vectors.shape), queries, truth)
    order = np.arange(len(vectors)) * 1_000_003 % len(vectors)
    for share in SHARES:
        allowed = np.flatnonzero(order < share * len(vectors))
        wanted = allowed[exact(vectors[allowed], queries[:100])]
        where = {"n": {"<": int(share * len(vectors))}}
        collection.search(queries[0], K, where=where)  # the filter's rows are kept from here on
        begun = time.process_time()
        hits = np.array([[int(hit.id) for hit in collection.search(query, K, where=where)] for query in queries[:100]])
        one[str(share)] = {"recall": recall(hits, wanted), "ms": 10 * (time.process_time() - begun)}
    return one


def table_of_kinds(size: int, lines: list[dict[str, Any]]) -> list[str]:
    found = [
        f"# Indexes of {size:,} vectors",
        "",
        f"all-MiniLM-L6-v2, 384 features; {ASKED} queries on one thread, processor time; wanted recall@{K} {RECALL}. "
        "Ours scores candidates again by their vectors. Plain faiss is the same index with the same effort, and "
        "its answers are left as they are.",
        "",
        "| index | search | build s | bytes a vector | recall@10 | ms a query | in a batch | plain faiss: recall | ms "
        "| in a batch |",
        "|---" * 10 + "|",
    ]
    for one in lines:
        bare = one["plain"]
        rest = f"{bare['recall']:.3f} | {bare['ms']:.3f} | {bare['batch']:.3f}" if bare else " | | "
        found.append(
            f"| {one['what']} | {one['how']} | {one['build']:.1f} | {one['bytes']:,.0f} | {one['recall']:.3f} "
            f"| {one['ms']:.3f} | {one['batch']:.3f} | {rest} |"
        )
    return found


def table_of_collection(size: int, lines: list[dict[str, Any]]) -> list[str]:
    found = [
        f"# A collection of {size:,} passages",
        "",
        f"{ASKED} queries by vector on one thread, one at a time (`search`) and in a batch (`search_many`), processor "
        "time; beside the faiss index alone. To open is with the first search. Under a filter that leaves a share of "
        "the passages: recall@10, and milliseconds once the filter's rows are known.",
        "",
        "| index | recall@10 | ms a query | faiss alone, ms | over it | ms in a batch | faiss's batch, ms | over it "
        f"| open s | bytes on disk a passage | {' | '.join(f'{share:.1%}' for share in SHARES)} |",
        "|---" * (10 + len(SHARES)) + "|",
    ]
    for one in lines:
        over, bare = one["ms"] / one["plain"]["ms"] - 1, one["plain"]["batch"]
        batch = f"{one['batch']:.3f} | {bare:.3f} | {one['batch'] / bare - 1:+.0%}" if "batch" in one else " | | "
        shares = " | ".join(f"{one[str(s)]['recall']:.3f}, {one[str(s)]['ms']:.2f} ms" for s in SHARES)
        found.append(
            f"| {one['kind']} | {one['recall']:.3f} | {one['ms']:.3f} | {one['plain']['ms']:.3f} | {over:+.0%} "
            f"| {batch} | {one['opened']:.2f} | {one['disk']:,.0f} | {shares} |"
        )
    adding = [one["add"] for one in lines if one["add"] is not None]
    if not adding:
        return found
    told = f"Adding took {1e6 * max(adding):.0f} µs of processor time a passage, without the model's work."
    return [*found, "", told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kinds", "collection", "large"))
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", help="kinds to measure; those that are kept already are shown as well")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    if args.what == "large":
        from search_large import large

        foot = f"Measured on {machine('faiss-cpu', 'apsw')}."
        keep(f"search-large-{args.size}", [*large(args.data, args.size, args.only), "", foot], args.record)
        return
    faiss.omp_set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    peers = {"usearch": usearch, "hnswlib": hnswlib}
    names = [*KINDS, *peers] if args.what == "kinds" else ["flat", "hnsw", "ivf-sq8"]
    place = KEPT / f"{args.what}-{args.size}"
    todo = [name for name in args.only if name in names] if args.only is not None else names
    if todo:
        vectors, queries = given(args.data, args.size)
        truth = exact(vectors, queries)
        if args.what == "kinds":
            for name in todo:
                one = peers[name](vectors, queries, truth) if name in peers else ours(name, vectors, queries, truth)
                keep_one(place / f"{name}.json", one)
        else:
            for one in of_collection(todo, vectors, queries, truth):
                keep_one(place / f"{one['kind']}.json", one)
    lines = [json.loads((place / f"{name}.json").read_text()) for name in names if (place / f"{name}.json").exists()]
    table = table_of_kinds if args.what == "kinds" else table_of_collection
    foot = f"Measured on {machine('faiss-cpu', 'apsw')}."
    keep(f"search-{args.what}-{args.size}", [*table(args.size, lines), "", foot, *told_of_load(lines)], args.record)


if __name__ == "__main__":
    main()
