"""Measure what recall questions get of an index that was asked for one: real questions against what was promised.

    python benchmarks/search_tuning.py [--only SET ...] [--record]

Three ways to tell how far an index must look: held-back vectors as they are (as it was once), held-back vectors whose
likes do not count (as it is), and real questions that are given, half of those there are; the other half is asked. The
sets are Cranfield, CISI and CACM together with their queries, and the mixes of `search_data.py`: at 100,000 with three
noisy repeats of each text, at 99,000 of 3,300 texts with thirty.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from unittest import mock

import faiss
import numpy as np
from machine import keep, machine
from search_data import DATA, NOISE, Array, K, exact, given, recall

from sentvec.index.ann import AnnIndex
from sentvec.index.kinds import build, in_blocks
from sentvec.index.rows import unit
from sentvec.index.tuning import Truth, tuned

TARGETS = (0.9, 0.95, 0.99)
KINDS = ("ivf-sq8", "hnsw")
QUERIES = 200


def abstracts(data: Path) -> tuple[Array, Array]:
    from postprocess import MODEL  # with torch

    from search import Remembered
    from sentvec import Embedder
    from sentvec.evaluate.beir import read_retrieval

    model, passages, questions = Remembered(Embedder.from_pretrained(MODEL)), [], []
    for name in ("cran", "cisi", "cacm"):
        folder = next(data.rglob(f"{name}/qrels.tsv")).parent
        held = read_retrieval(folder, folder / "qrels.tsv", name)
        passages.append(model.encode_document([text for block in held.blocks() for text in block]))
        questions.append(model.encode_query(list(held.queries.values())))
    return unit(np.concatenate(passages)), unit(np.concatenate(questions))


def mixes(data: Path) -> tuple[Array, Array]:
    return given(data, 100_000)


def repeats(data: Path) -> tuple[Array, Array]:
    rows, queries = given(data, 3300)
    random = np.random.default_rng(1)
    noisy = [unit(rows + NOISE * random.standard_normal(rows.shape, np.float32)) for _ in range(29)]
    return np.concatenate([rows, *noisy]), queries


SETS = {"Cranfield, CISI, CACM": abstracts, "mixes": mixes, "mixes, thirty of each": repeats}


def got(index: AnnIndex, vectors: Array, queries: Array, target: float) -> float:
    found, _ = index.search(queries, K, recall=target)
    rows = [places[places >= 0] for places in found]
    best = [
        one[np.argsort(-(vectors[one] @ query), kind="stable")[:K]] for one, query in zip(rows, queries, strict=True)
    ]
    return recall(best, exact(vectors, queries))


def measured(name: str, kind: str, vectors: Array, queries: Array) -> dict[str, object]:
    index = build(kind, in_blocks(vectors), *vectors.shape)
    queries = queries[np.random.default_rng(0).permutation(len(queries))]
    known, asked = queries[::2][:QUERIES], queries[1::2]
    own = np.sort(np.random.default_rng(0).permutation(len(vectors))[:QUERIES])
    held, real = (Truth(*one, K, by_distance=False) for one in ((vectors[own], own), (known, np.full(len(known), -1))))
    for block in in_blocks(vectors)():
        held.add(block)
        real.add(block)
    found: dict[str, object] = {"set": name, "vectors": len(vectors), "kind": kind, "likes": held.likes()}
    for target in TARGETS:
        line = []
        for truth, likes in ((held, 0), (held, None), (real, None)):
            with mock.patch.object(Truth, "likes", (lambda self: 0) if likes == 0 else Truth.likes):
                index.tuning = tuned(index, truth, target)
            line.append(got(index, vectors, asked, target))
        found[str(target)] = line
    return found


def table(lines: list[dict[str, object]]) -> list[str]:
    ways = ("vectors as they are", "likes do not count", "questions given")
    found = [
        "# What was asked for, and what questions got",
        "",
        "Recall at 10 of real questions that the index was not tuned with, by what it was tuned with: held-back "
        "vectors as they are, the same without their likes, and other real questions. all-MiniLM-L6-v2.",
        "",
        f"| passages | index | likes | {' | '.join(f'asked {t}: {way}' for t in TARGETS for way in ways)} |",
        "|---" * (3 + len(TARGETS) * len(ways)) + "|",
    ]
    for one in lines:
        cells = [f"{value:.3f}" for target in TARGETS for value in one[str(target)]]  # type: ignore[attr-defined]
        found.append(f"| {one['set']}: {one['vectors']:,} | {one['kind']} | {one['likes']} | {' | '.join(cells)} |")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    lines = []
    for name in args.only:
        vectors, queries = SETS[name](args.data)
        for kind in KINDS:
            lines.append(measured(name, kind, vectors, queries))
            print(lines[-1], flush=True)
    keep("search-tuning", [*table(lines), "", f"Measured on {machine('faiss-cpu')}."], args.record)


if __name__ == "__main__":
    main()
