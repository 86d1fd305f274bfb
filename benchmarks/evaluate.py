"""Measure how fast a retrieval set is scored once its vectors are there, beside sentence-transformers.

    python benchmarks/evaluate.py [--documents N] [--queries N] [--rounds N] [--threads N] [--clock CLOCK] [--record]

Vectors of 384 features are given (seeded), so that no model has a part in it: what is measured is comparing every query
with every document, keeping the best, and nDCG, MRR, MAP, recall and precision at each k. sentence-transformers'
InformationRetrievalEvaluator gets the same vectors, by the argument that it has for them, and the same k. Both run in
turns in one process; medians count, and the scores must agree to 1e-6. The bar is 3 times its speed. MAP at a k below
the number of relevant documents is computed by both but not compared: it divides by k there, and trec_eval by all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from machine import keep, machine
from numpy.typing import NDArray
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.util import cos_sim

from sentvec.evaluate import topk
from sentvec.evaluate.ranking import rank_scores
from sentvec.evaluate.retrieval import rank
from sentvec.evaluate.screen import fastest

DIM = 384
RELEVANT = 5
CUTOFFS = {"10, 100": (10, 100), "1, 3, 5, 10, 100, 1000 (BEIR's)": (1, 3, 5, 10, 100, 1000)}
NAMES = {"nDCG": "ndcg", "MRR": "mrr", "MAP": "map", "recall": "recall", "P": "precision"}
BAR = 3
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
Array = NDArray[np.float32]
Scores = dict[str, float]


@dataclass(frozen=True)
class Given:
    """Vectors, ids, and for each query the documents that its vector was made from."""

    documents: Array
    queries: Array
    ids: list[str]
    judged: dict[str, dict[str, int]]


def given(documents: int, queries: int) -> Given:
    random = np.random.default_rng(0)
    rows = random.normal(size=(documents, DIM)).astype(np.float32)
    relevant = np.stack([random.choice(documents, RELEVANT, replace=False) for _ in range(queries)])
    asked = rows[relevant].mean(axis=1) + 0.9 * random.normal(size=(queries, DIM))
    ids = [f"d{i}" for i in range(documents)]
    judged = {f"q{i}": {ids[place]: 1 for place in row} for i, row in enumerate(relevant)}
    return Given(rows, asked.astype(np.float32), ids, judged)


def theirs(one: Given, cutoffs: Sequence[int]) -> Callable[[], Scores]:
    wanted = {f"{name}_at_k": list(cutoffs) for name in ("mrr", "ndcg", "accuracy", "precision_recall", "map")}
    texts = {name: name for name in one.judged}
    relevant = {query: set(names) for query, names in one.judged.items()}
    evaluator = InformationRetrievalEvaluator(
        texts, dict(zip(one.ids, one.ids, strict=True)), relevant, score_functions={"cosine": cos_sim}, **wanted
    )
    queries, documents = torch.from_numpy(one.queries), torch.from_numpy(one.documents)
    model = SimpleNamespace(encode_query=lambda *_, **__: queries)

    def run() -> Scores:
        found = evaluator.compute_all_metrics(model, corpus_embeddings=documents)["cosine"]
        return {f"{name}@{k}": float(found[f"{own}@k"][k]) for k in cutoffs for name, own in NAMES.items()}

    return run


def ours(one: Given, cutoffs: Sequence[int], low: torch.dtype) -> Callable[[], Scores]:
    def run() -> Scores:
        topk.fastest = lambda: low
        ranked = rank(list(one.judged), one.queries, one.ids, [one.documents], max(cutoffs))
        return {name: float(values.mean()) for name, values in rank_scores(one.judged, ranked, cutoffs).items()}

    return run


def race(one: Given, cutoffs: Sequence[int], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Return the seconds of every round; all get the same scores, or this ends here."""
    runs = {"sentence-transformers": theirs(one, cutoffs), "sentvec": ours(one, cutoffs, fastest())}
    if fastest() != torch.float32:
        runs["sentvec, as on a processor without bfloat16"] = ours(one, cutoffs, torch.float32)
    wanted = {name: run() for name, run in runs.items()}["sentence-transformers"]  # and all is warm
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: 1 if number % 2 == 0 else -1]:
            begun = clock()
            found = runs[name]()
            seconds[name].append(clock() - begun)
            assert found.keys() == wanted.keys()
            for score, value in found.items():
                if score in [f"MAP@{k}" for k in cutoffs if k < RELEVANT]:
                    continue
                assert abs(value - wanted[score]) <= 1e-6, f"{name}: {score} is {value}, not {wanted[score]}"
    print({name: round(value, 4) for name, value in wanted.items()})
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor is fairer where others are at work")
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    one = given(args.documents, args.queries)
    lines = [
        f"# Scoring retrieval: {args.documents:,} documents, {args.queries:,} queries, {DIM} features",
        "",
        "Seconds from given vectors to nDCG, MRR, MAP, recall and precision at each k. Scores agree to 1e-6 (but for "
        "MAP at a k below the number of relevant documents, which is defined otherwise). The bar is "
        f"{BAR} times the speed of sentence-transformers.",
        "",
        "| k | evaluator | median s | fastest s | ratio of medians |",
        "|---|---|---|---|---|",
    ]
    for told, cutoffs in CUTOFFS.items():
        seconds = race(one, cutoffs, args.rounds, CLOCKS[args.clock])
        base = statistics.median(seconds["sentence-transformers"])
        for name, all_ in seconds.items():
            middle = statistics.median(all_)
            lines.append(f"| {told} | {name} | {middle:.2f} | {min(all_):.2f} | {base / middle:.2f} |")
    versions = machine("torch", "sentence-transformers", "pytrec_eval-terrier")
    lines += [
        "",
        f"Medians of {args.rounds} rounds in turns, {args.threads} threads, in seconds of {args.clock} time. "
        f"Measured on {versions}.",
    ]
    keep("evaluate-retrieval", lines, args.record)


if __name__ == "__main__":
    main()
