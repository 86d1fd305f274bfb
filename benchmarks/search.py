"""Measure how well a collection answers: by vectors, by words (BM25), by both, and by both with a second look.

    python benchmarks/search.py [--sets NAME ...] [--second] [--data FOLDER] [--record]

Each set of documents goes into a collection of its own with all-MiniLM-L6-v2, and every query is asked through
`Collection.search` and `search_text`, as a user would. No cross-encoder can be had here, so what takes the second look
at the best 50, with --second, is late interaction: each token of the query with the token of the passage that is
nearest to it, by the same model's hidden states. It was not trained for that, so the column shows the way through the
code rather than what a reranker gains, and it takes as long again as encoding every document. MiniLM does not know
Chinese: its vectors of CMRC are worth little, which is a case that fusion has to bear.

Sets that were measured are kept in build/bench/search, so that --record can put runs together.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import keep, machine
from numpy.typing import NDArray
from postprocess import DATA, MODEL

from sentvec import Collection, Embedder
from sentvec.evaluate.beir import read_retrieval
from sentvec.evaluate.ranking import rank_scores
from sentvec.evaluate.vectors import Vectors

SETS = ("cran", "cisi", "cacm", "cmrc2018-dev-ret")
WAYS = ("vectors", "words", "both", "both by scores", "both, second look")
K = 10
KEPT = Path(__file__).resolve().parents[1] / "build" / "bench" / "search"
Array = NDArray[np.float32]


class Remembered:
    """A model whose vectors are kept on the disk, so that a run that was stopped goes on where it was."""

    def __init__(self, model: Embedder) -> None:
        self.name, self.fingerprint, self.dim = model.name, model.fingerprint, model.dim
        self.similarity_name, self.passage_tokens = model.similarity_name, model.passage_tokens
        self.token_spans = model.token_spans
        self._vectors = Vectors(model, cache=KEPT / "vectors", progress=False)

    def encode_query(self, texts: list[str], *, progress: bool | None = None) -> Array:
        return self._vectors.encode(texts, "query")

    def encode_document(self, texts: list[str], *, progress: bool | None = None) -> Array:
        return self._vectors.encode(texts, "document")


class LateInteraction:
    """Scores a pair by the mean, over the query's tokens, of their largest cosine with a token of the document."""

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self._held: dict[str, NDArray[np.float16]] = {}

    def score(self, pairs: list[tuple[str, str]], *, progress: bool | None = None) -> Array:
        texts = [text for text in dict.fromkeys(text for pair in pairs for text in pair) if text not in self._held]
        for text, states in zip(texts, self._model.encode_tokens(texts), strict=True):
            length = np.linalg.norm(states, axis=1, keepdims=True)
            self._held[text] = (states / np.where(length > 0, length, 1)).astype(np.float16)
        asked = self._held[pairs[0][0]].astype(np.float32)[1:-1]  # without [CLS] and [SEP]
        if not len(asked):
            return np.zeros(len(pairs), np.float32)
        found = [(asked @ self._held[text].astype(np.float32).T).max(axis=1).mean() for _, text in pairs]
        return np.array(found, np.float32)


def measured(folder: Path, model: Embedder, *, second: bool) -> dict[str, object]:
    """Return nDCG@10 of each query and milliseconds a query, by way."""
    given = read_retrieval(folder, folder / "qrels.tsv", folder.name)
    texts = [text for block in given.blocks() for text in block]
    found: dict[str, object] = {"documents": len(texts), "queries": len(given.queries)}
    held = Remembered(model)
    with tempfile.TemporaryDirectory() as place, Collection.open(Path(place) / "c.sv", held) as collection:
        collection.add(texts, ids=list(given.ids))
        held.encode_query(list(given.queries.values()))  # all at once; each is read back when it is asked
        judge = LateInteraction(model)
        ways = {
            "vectors": lambda asked: collection.search(asked, K),
            "words": lambda asked: collection.search_text(asked, K),
            "both": lambda asked: collection.search(asked, K, hybrid=True),
            "both by scores": lambda asked: collection.search(asked, K, hybrid=True, fusion="score"),
            "both, second look": lambda asked: collection.search(asked, K, hybrid=True, rerank=judge),
        }
        for name in WAYS if second else WAYS[:-1]:
            way = ways[name]
            begun = time.perf_counter()
            ranked = {query: [hit.id for hit in way(asked)] for query, asked in given.queries.items()}
            spent = 1000 * (time.perf_counter() - begun) / len(ranked)
            scores = rank_scores(given.judged, ranked, (K,))[f"nDCG@{K}"]
            found[name] = {"scores": scores.tolist(), "ms": spent}
            print(f"{folder.name}: {name}: {scores.mean():.4f}, {spent:.1f} ms a query", flush=True)
    return found


def table(kept: dict[str, dict[str, object]]) -> list[str]:
    lines = [
        "# Search: by vectors, by words, by both",
        "",
        f"nDCG@{K} through `Collection`, all-MiniLM-L6-v2; words are FTS5's BM25 with English endings taken off and "
        "Chinese cut to pairs of letters; both are fused by reciprocal rank, or by scores, half and half. The second "
        "look, at the best 50 by rank, is late interaction of MiniLM's token states, in place of a cross-encoder, of "
        "which none can be had here. MiniLM does not know Chinese (CMRC).",
        "",
        f"| set | documents | queries | {' | '.join(WAYS)} |",
        "|---" * (len(WAYS) + 3) + "|",
    ]
    means: dict[str, list[float]] = {way: [] for way in WAYS}
    for name, one in kept.items():
        for way in WAYS:
            means[way].append(float(np.mean(one[way]["scores"])) if way in one else float("nan"))
        cells = " | ".join(shown(means[way][-1]) for way in WAYS)
        lines.append(f"| {name} | {one['documents']} | {one['queries']} | {cells} |")
    lines.append(f"| mean | | | {' | '.join(shown(float(np.mean(means[way]))) for way in WAYS)} |")
    return lines


def shown(score: float) -> str:
    return "not measured" if np.isnan(score) else f"{score:.4f}"


def missing(kept: dict[str, dict[str, object]]) -> list[str]:
    """Return the lines that say which sets and ways are not in the table."""
    told = [name for name in SETS if name not in kept]
    for way in WAYS:
        of = [name for name, one in kept.items() if way not in one]
        if of:
            told.append(f"{way} of {', '.join(of)}" if len(of) < len(kept) else way)
    return ["", f"Not run: {'; '.join(told)}."] if told else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=SETS, choices=SETS)
    parser.add_argument("--second", action="store_true", help="also score the best 50 again")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument(
        "--record", action="store_true", help="keep the table of all measured sets in benchmarks/results"
    )
    args = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    if args.sets:
        model = Embedder.from_pretrained(MODEL)
        for name in args.sets:
            found = measured(args.data / "retrieval" / name, model, second=args.second)
            (KEPT / f"{name}.json").write_text(json.dumps(found))
    kept = {name: json.loads((KEPT / f"{name}.json").read_text()) for name in SETS if (KEPT / f"{name}.json").exists()}
    foot = f"Measured on {machine('torch', 'apsw', 'faiss-cpu')}."
    keep("search", [*table(kept), "", foot, *missing(kept)], args.record)


if __name__ == "__main__":
    main()
