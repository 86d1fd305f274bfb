"""Score a model on STS-B and on retrieval sets, with `sentvec.evaluate`.

    python benchmarks/quality.py [--model NAME] [--data FOLDER] [--precision P] [--record]

Figures to compare with: all-MiniLM-L6-v2 is published with 82.03 on the English STS-B test set; BM25 reaches
nDCG@10 0.333 on Cranfield, 0.283 on CISI and 0.390 on CACM.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from machine import keep, machine

from sentvec import Embedder
from sentvec.evaluate.beir import read_retrieval
from sentvec.evaluate.find import Set, find_sets
from sentvec.evaluate.result import Result
from sentvec.evaluate.run import Settings, evaluate

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BM25 = {"cran": 0.333, "cisi": 0.283, "cacm": 0.390}
PUBLISHED = {"sentence-transformers/all-MiniLM-L6-v2": 82.03}
CALLED = {"stsb-en-test": "STS-B English test", "stsb-zh-test": "STS-B Chinese test"}


def sets(data: Path) -> list[Set]:
    folders = [data / "retrieval" / name for name in ("cran", "cisi", "cacm", "xquad-en-ret")]
    found = find_sets(data / "sts" / "stsb", split="test").sets
    return [*found, *(read_retrieval(folder, folder / "qrels.tsv", folder.name) for folder in folders)]


def line(one: Result, model: str) -> str:
    assert one.interval is not None
    scale, digits, measure = (100, 2, "Spearman x 100") if one.kind == "sts" else (1, 3, one.main)
    score, low, high = (f"{scale * value:.{digits}f}" for value in (one.value, one.interval.low, one.interval.high))
    other = f"BM25 {BM25[one.name]:.3f}" if one.name in BM25 else ""
    if one.name == "stsb-en-test" and model in PUBLISHED:
        other = f"published {PUBLISHED[model]}"
    return f"| {CALLED.get(one.name, one.name)} | {measure} | {score} | {low} to {high} | {other} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()

    model = Embedder.from_pretrained(args.model, precision=args.precision)
    report = evaluate(model, sets(args.data), settings=Settings(cutoffs=(10,)))
    lines = ["| set | measure | sentvec | 95 % interval | to compare with |", "|---|---|---|---|---|"]
    lines += [line(one, args.model) for one in report.results]
    seconds = f"{report.seconds:.0f} s in all"
    lines += ["", f"{args.model}, {args.precision}, max {model.max_seq_length} tokens, {seconds}."]
    versions = machine("torch", "pytrec-eval-terrier", "scipy")
    lines += [f"Measured on {versions}; {torch.get_num_threads()} threads."]
    keep(f"quality-{args.precision}", ["# Quality on real data", "", *lines], args.record)


if __name__ == "__main__":
    main()
