"""The vectors that searches are measured on: a size in, vectors of real texts and queries out, and what is nearest.

They are all-MiniLM-L6-v2's of real texts (banking77, STS-B, SICK: 33,000 different ones), which are repeated with
seeded noise where more are wanted: a repeat has a cosine of about 0.86 with its original. Queries are 500 of the texts
that are not among them. What a benchmark has measured is kept under `build/bench/search_speed`.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from sentvec.index.rows import unit

BUILD = Path(__file__).resolve().parents[1] / "build" / "bench"
KEPT = BUILD / "search_speed"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ASKED, K, RECALL = 500, 10, 0.95
NOISE = 0.03
Array = NDArray[np.float32]
Places = NDArray[np.int64]


def texts(data: Path) -> list[str]:
    found = []
    for part in ("train", "test"):
        with (data / "classification" / "banking77" / f"{part}.csv").open(newline="", encoding="utf-8") as file:
            found += [row["text"] for row in csv.DictReader(file)]
    for part in ("train", "dev", "test"):
        with (data / "sts" / "stsb" / f"stsb-en-{part}.csv").open(newline="", encoding="utf-8") as file:
            found += [text for row in csv.reader(file) for text in row[:2]]
    lines = (data / "sts" / "sick" / "SICK_train.txt").read_text(encoding="utf-8").splitlines()[1:]
    return list(dict.fromkeys([*found, *(text for line in lines for text in line.split("\t")[1:3])]))


def real(data: Path) -> tuple[Array, Array]:
    """Return queries (500, 384) and the vectors of all other texts."""
    from postprocess import MODEL  # torch, which who measures memory must not load

    from sentvec import Embedder
    from sentvec.evaluate.vectors import Vectors

    model = Embedder.from_pretrained(MODEL)
    found = unit(Vectors(model, cache=BUILD / "search" / "vectors", progress=False).encode(texts(data)))
    found = found[np.random.default_rng(0).permutation(len(found))]
    return found[:ASKED], found[ASKED:]


def given(data: Path, size: int) -> tuple[Array, Array]:
    """Return vectors (size, 384) and queries (500, 384)."""
    queries, rows = real(data)
    blocks = [rows[:size]]
    random = np.random.default_rng(1)
    while sum(map(len, blocks)) < size:
        blocks.append(unit(rows + NOISE * random.standard_normal(rows.shape, np.float32)))
    return np.ascontiguousarray(np.concatenate(blocks)[:size]), queries


def exact(vectors: Array, queries: Array) -> Places:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index.search(queries, K)[1]


def recall(found: Places, truth: Places) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)]))


class Given:
    """A model whose text is the number of a vector."""

    name, fingerprint, similarity_name, passage_tokens = "given", "given", "cosine", 256

    def __init__(self, vectors: Array) -> None:
        self._vectors, self.dim = vectors, vectors.shape[1]

    def encode_document(self, given_: list[str], *, progress: bool | None = None) -> Array:
        return self._vectors[[int(text) for text in given_]]

    def encode_query(self, given_: list[str], *, progress: bool | None = None) -> Array:
        return self.encode_document(given_)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]


def load() -> float:
    """Return how many programs wanted to run in the last minute, this one too."""
    return os.getloadavg()[0]


def told_of_load(measured: list[dict[str, Any]]) -> list[str]:
    """Return the lines that say whether other programs kept the machine busy meanwhile, as each result has noted."""
    most = max((one.get("load", 0.0) for one in measured), default=0.0)
    if most <= (os.cpu_count() or 1):
        return []
    busy = f"Other programs kept the machine busy meanwhile (load up to {most:.1f} on {os.cpu_count()} cores)"
    return ["", f"{busy}: processor time bears that, but not without some noise."]


def keep_one(place: Path, one: dict[str, Any]) -> None:
    """Keep a result, with the load of the machine when it was done."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(one | {"load": load()}))
