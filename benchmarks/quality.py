"""Measure a model's quality on real data: STS-B (Spearman of cosine) and retrieval sets (nDCG@10).

    python benchmarks/quality.py [--model NAME] [--data FOLDER] [--precision P] [--record]

Figures to compare with: all-MiniLM-L6-v2 is published with 82.03 on the English STS-B test set; BM25 reaches
nDCG@10 0.333 on Cranfield, 0.283 on CISI and 0.390 on CACM.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import ir_measures
import numpy as np
import torch
from ir_measures import nDCG
from machine import keep, machine
from scipy.stats import spearmanr

from sentvec import Embedder

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BM25 = {"cran": 0.333, "cisi": 0.283, "cacm": 0.390}
PUBLISHED = {"sentence-transformers/all-MiniLM-L6-v2": 82.03}


def sts_b(model: Embedder, path: Path) -> float:
    """Spearman's rank correlation x 100 between cosine and people's scores, over all pairs at once."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    left = model.encode([row[0] for row in rows], normalize=True)
    right = model.encode([row[1] for row in rows], normalize=True)
    return float(spearmanr((left * right).sum(axis=1), [float(row[2]) for row in rows]).statistic) * 100


def ndcg(model: Embedder, folder: Path, depth: int = 100) -> float:
    """nDCG@10 over a folder in BEIR's layout; only queries with judgements count."""
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    queries = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
    with (folder / "qrels.tsv").open(encoding="utf-8") as file:
        judged = [row for row in csv.reader(file, delimiter="\t") if row[-1].lstrip("-").isdigit()]
    qrels = [ir_measures.Qrel(row[0], row[-2], int(row[-1])) for row in judged]
    texts = [f"{d.get('title') or ''} {d['text']}".strip() for d in documents]
    corpus = model.encode_document(texts)
    asked = model.encode_query([query["text"] for query in queries])
    scores = model.similarity(asked, corpus)
    run = []
    for query, row in zip(queries, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:depth]
        run += [ir_measures.ScoredDoc(query["_id"], documents[i]["_id"], float(row[i])) for i in best]
    return float(ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()

    begun = time.perf_counter()
    model = Embedder.from_pretrained(args.model, precision=args.precision)
    lines = ["| set | measure | sentvec | to compare with |", "|---|---|---|---|"]
    for name, language in (("stsb-en-test", "English"), ("stsb-zh-test", "Chinese")):
        score = sts_b(model, args.data / "sts" / "stsb" / f"{name}.csv")
        published = f"published {PUBLISHED[args.model]}" if language == "English" and args.model in PUBLISHED else ""
        lines.append(f"| STS-B {language} test | Spearman x 100 | {score:.2f} | {published} |")
    for name in ("cran", "cisi", "cacm", "xquad-en-ret"):
        score = ndcg(model, args.data / "retrieval" / name)
        lines.append(f"| {name} | nDCG@10 | {score:.3f} | {f'BM25 {BM25[name]}' if name in BM25 else ''} |")
    seconds = time.perf_counter() - begun
    lines += ["", f"{args.model}, {args.precision}, max {model.max_seq_length} tokens, {seconds:.0f} s in all."]
    lines += [f"Measured on {machine('torch', 'ir-measures', 'scipy')}; {torch.get_num_threads()} threads."]
    keep(f"quality-{args.precision}", ["# Quality on real data", "", *lines], args.record)


if __name__ == "__main__":
    main()
