"""Measure how much of retrieval survives when vectors become bytes or bits.

    python benchmarks/compact.py [--data FOLDER] [--record]

nDCG@10 of all-MiniLM-L6-v2 with exact float32 vectors is 100 %. "Usual" is what sentence-transformers'
`quantize_embeddings` does: int8 between the least and the largest value of each feature, binary by sign, and rescoring
by the query as floats. Ours turns vectors first, by a rotation fitted on other texts: the sentences of the STS-B
training set, or half of the documents. For all-MiniLM-L6-v2, 90.8 % (int8) and 93.8 % (binary) are published as usual.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import keep, machine
from numpy.typing import NDArray
from postprocess import DATA, MODEL, stsb
from sentence_transformers.util.quantization import quantize_embeddings

from sentvec import Embedder
from sentvec.evaluate.beir import Retrieval, read_retrieval
from sentvec.evaluate.ranking import rank_scores
from sentvec.index.compact import CompactIndex, as_int8, from_int8
from sentvec.ops.affine import moments, rotation

SETS = ("cran", "cisi", "cacm", "cmrc2018-dev-ret", "xquad-en-ret")
DEPTH = 10
RESAMPLES = 1000
Array = NDArray[np.float32]
Ranker = Callable[[Array, Array], NDArray[np.int64]]


def best(scores: Array) -> NDArray[np.int64]:
    return np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]


def signs(vectors: Array) -> Array:
    return np.where(vectors > 0, np.float32(1), np.float32(-1))


def usual_int8(queries: Array, documents: Array) -> NDArray[np.int64]:
    ranges = np.stack([documents.min(axis=0), documents.max(axis=0)])
    a, b = (quantize_embeddings(side, "int8", ranges=ranges).astype(np.float32) for side in (queries, documents))
    return best(a @ b.T)


def usual_rescored(queries: Array, documents: Array) -> NDArray[np.int64]:
    """Four times as many by Hamming distance, in the order of the query's floats with the signs."""
    near = np.argsort(-(signs(queries) @ signs(documents).T), axis=1, kind="stable")[:, : 4 * DEPTH]
    scores = np.take_along_axis(queries @ signs(documents).T, near, axis=1)
    return np.take_along_axis(near, best(scores), axis=1)


def searched(**options: object) -> Ranker:
    def rank(queries: Array, documents: Array) -> NDArray[np.int64]:
        index = CompactIndex(documents.shape[1], **options)
        index.add(documents)
        return index.search(queries, DEPTH)[1]

    return rank


# what it is called, bytes for 384 features, whether vectors are turned, how documents are ranked
WAYS: tuple[tuple[str, int, bool, Ranker], ...] = (
    ("float16", 768, False, lambda q, d: best(q @ d.astype(np.float16).astype(np.float32).T)),
    ("first 128 features, no training for it", 512, False, lambda q, d: best(q[:, :128] @ unit(d[:, :128]).T)),
    ("int8, usual", 384, False, usual_int8),
    ("int8, ours, not turned", 384, False, lambda q, d: best(q @ from_int8(as_int8(d)).T)),
    ("int8, ours, both sides rounded", 384, True, lambda q, d: best((as_int8(q) / 1.0) @ as_int8(d).T.astype(float))),
    ("int8, ours, queries as floats", 384, True, lambda q, d: best(q @ from_int8(as_int8(d)).T)),
    ("binary, usual", 48, False, lambda q, d: best(signs(q) @ signs(d).T)),
    ("binary, usual, rescored by signs", 48, False, usual_rescored),
    ("binary, turned", 48, True, lambda q, d: best(signs(q) @ signs(d).T)),
    ("binary, turned, rescored by signs", 48, True, searched(keep="bits")),
    ("binary, turned, 10 k rescored by signs", 48, True, searched(keep="bits", candidates=10)),
    ("binary, turned, rescored by int8", 432, True, searched(keep="int8")),
    ("binary, turned, 10 k rescored by int8", 432, True, searched(keep="int8", candidates=10)),
)


def unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def gains(found: Retrieval, places: NDArray[np.int64]) -> NDArray[np.float64]:
    ranked = {query: [found.ids[i] for i in row] for query, row in zip(found.queries, places, strict=True)}
    return rank_scores(found.judged, ranked, (DEPTH,))[f"nDCG@{DEPTH}"]


def turn(sample: Array) -> Array:
    return rotation(moments(torch.from_numpy(sample))).weight.numpy().astype(np.float32)


def retention(share: NDArray[np.float64], whole: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the share in per cent and its 95 % interval, queries drawn again."""
    random = np.random.default_rng(0)
    draws = []
    for _ in range(RESAMPLES):
        at = random.integers(0, len(whole), len(whole))
        draws.append(100 * share[at].sum() / whole[at].sum())
    low, high = np.percentile(draws, [2.5, 97.5])
    return 100 * share.sum() / whole.sum(), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    begun = time.perf_counter()
    model = Embedder.from_pretrained(MODEL)
    left, right, _ = stsb(args.data / "sts" / "stsb" / "stsb-en-train.csv")
    general = turn(model.encode(sorted({*left, *right})))
    cells: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    head = []
    for name in SETS:
        folder = args.data / "retrieval" / name
        found = read_retrieval(folder, folder / "qrels.tsv", name)
        documents = model.encode_document([text for block in found.blocks() for text in block])
        queries = model.encode_query(list(found.queries.values()))
        whole = gains(found, best(queries @ documents.T))
        head.append(f"{name} ({whole.mean():.3f})")
        own = turn(documents[::2])
        for told, size, turned, rank in WAYS:
            for texts, by in (("STS-B", general), ("half", own)) if turned else (("", None),):
                q, d = (queries, documents) if by is None else (queries @ by.T, documents @ by.T)
                row = cells.setdefault((f"{told} | {size}", texts), [])
                row.append(retention(gains(found, rank(q, d)), whole))
    lines = ["# What is left of retrieval when vectors become bytes or bits", ""]
    lines += [
        f"Share of nDCG@{DEPTH} in per cent with the 95 % interval over queries; beside each set, what float32 has. "
        "Rescoring takes four candidates for each document that is asked for, if nothing else is said. The rotation "
        "is fitted on the sentences of STS-B's training set, or on every second document.",
        "",
        f"| vectors | bytes | rotation | {' | '.join(head)} | mean |",
        "|---" * (len(SETS) + 4) + "|",
    ]
    for (told, texts), row in cells.items():
        shares = " | ".join(f"{share:.1f} ({low:.1f} to {high:.1f})" for share, low, high in row)
        lines.append(f"| {told} | {texts} | {shares} | {np.mean([share for share, _, _ in row]):.1f} |")
    lines += ["", f"{time.perf_counter() - begun:.0f} s in all, on {machine('torch', 'faiss-cpu', 'ir-measures')}."]
    keep("compact", lines, args.record)


if __name__ == "__main__":
    main()
