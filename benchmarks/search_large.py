"""Measure a large collection: to fill it, to index it, to open it, and to ask it while another process adds to it.

`search_speed.py large` runs this, each step in a process of its own, which loads neither torch nor the model and says
how much memory it took at most. Steps that are done are kept, and filling goes on where it was: an interrupted run is
started again. A passage is one of the real texts behind its number; what the model made of the texts is read from a
file.

Resident memory is what Linux counts (VmHWM, VmRSS): pages of the index that are mapped from the disk are in it, and go
first when memory is short; what is the process's own is named beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from search_data import KEPT, NOISE, RECALL, Array, K, keep_one, real, recall, texts

from sentvec import Collection
from sentvec.index.menu import chosen, half_of_memory
from sentvec.index.rows import unit

BLOCK = 4096  # vectors that are made at once
TRUE = 200  # queries whose true neighbours are found
ASKING_S = 60  # seconds in which queries are asked, without a writer and with one
ADDED, EVERY_S = 10, 0.1  # rows that the writer adds, and how often: 100 a second
WRITTEN = {"written": True}  # what is stored with them
Step = Callable[..., dict[str, Any]]


class Rows:
    """A model whose text is a number and a text: vectors of repeats with noise are made when they are asked for."""

    name, fingerprint, similarity_name, passage_tokens = "rows", "rows", "cosine", 256

    def __init__(self, place: Path) -> None:
        self._real = np.load(place / "real.npy", mmap_mode="r")
        self._texts: list[str] = json.loads((place / "texts.json").read_text())
        self.dim = self._real.shape[1]
        self._held: tuple[int, Array] = (-1, np.zeros((0, self.dim), np.float32))

    def text(self, row: int) -> str:
        return f"{row} {self._texts[row % len(self._texts)]}"

    def block(self, number: int) -> Array:
        """Return the vectors of the rows of a block; the first of each text are as they are."""
        if self._held[0] != number:
            rows = np.arange(number * BLOCK, (number + 1) * BLOCK)
            noise = np.random.default_rng([1, number]).standard_normal((BLOCK, self.dim), np.float32)
            noise[rows < len(self._real)] = 0
            self._held = number, unit(np.asarray(self._real[rows % len(self._real)]) + np.float32(NOISE) * noise)
        return self._held[1]

    def encode_document(self, given: list[str], *, progress: bool | None = None) -> Array:
        rows = [int(text.split(" ", 1)[0]) for text in given]
        return np.stack([self.block(row // BLOCK)[row % BLOCK] for row in rows])

    encode_query = encode_document

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]


def memory() -> dict[str, float]:
    """Return megabytes of this process: the most it held, what it holds, and what of that is its own."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    names = {"peak": "VmHWM", "resident": "VmRSS", "own": "RssAnon"}
    return {name: int(fields[field].split()[0]) / 1024 for name, field in names.items()}


def fill(place: Path, size: int) -> dict[str, Any]:
    """Add what is missing, from a generator; seconds are those of all runs together."""
    model, clock = Rows(place), place / "filling.json"
    with Collection.open(place / "c.sv", model) as collection:
        there, spent = len(collection), json.loads(clock.read_text()) if clock.exists() else 0.0
        while there < size:
            begun, until = time.perf_counter(), min(there + 50_000, size)
            rows = range(there, until)
            collection.add(map(model.text, rows), map(str, rows), ({"n": row} for row in rows))
            spent, there = spent + time.perf_counter() - begun, until
            clock.write_text(json.dumps(spent))
            print(f"{there:,} passages, {spent:.0f} s", file=sys.stderr, flush=True)
    return {"seconds": spent, **memory()}


def true(place: Path, size: int) -> dict[str, Any]:
    """Find the true neighbours of some queries, block by block."""
    model, queries = Rows(place), np.load(place / "queries.npy")[:TRUE]
    found = faiss.ResultHeap(len(queries), K, keep_max=True)
    for first in range(0, size, BLOCK):
        block = model.block(first // BLOCK)[: size - first]
        scores, places = faiss.knn(queries, block, K, faiss.METRIC_INNER_PRODUCT)
        found.add_result(scores, places + first)
    found.finalize()
    np.save(place / "true.npy", found.I)
    return {}


def index(place: Path, kind: str) -> dict[str, Any]:
    with Collection.open(place / "c.sv") as collection:
        begun = time.perf_counter()
        report = collection.compact(kind, recall=RECALL)
        seconds = time.perf_counter() - begun
        stats = collection.stats()
    disk = sum(file.stat().st_size for file in (place / "c.sv").rglob("*") if file.is_file())
    return {"seconds": seconds, "kind": report.kind, "disk": disk, "measured": stats.recall, **memory()}


def begin(place: Path) -> dict[str, Any]:
    """Open the collection and ask for the first time."""
    query = np.load(place / "queries.npy")[0]
    begun = time.perf_counter()
    with Collection.open(place / "c.sv") as collection:
        opened = time.perf_counter() - begun
        collection.search(query, K)
        return {"opened": opened, "first": time.perf_counter() - begun - opened, **memory()}


def serve(place: Path, seconds: float) -> dict[str, Any]:
    """Ask one query after the other, first alone and then beside a writer."""
    queries = np.load(place / "queries.npy")
    with Collection.open(place / "c.sv") as collection:
        collection.delete(where=WRITTEN)  # of a run that was stopped
        hits = collection.search_many(queries[:TRUE], K)
        found = np.array([[int(hit.id) for hit in one] for one in hits])
        alone = _asked(collection, queries, seconds)
        command = [sys.executable, __file__, "write", json.dumps({"place": str(place), "seconds": seconds + 2})]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()  # it has begun
            beside = _asked(collection, queries, seconds)
            written = json.loads(writer.stdout.read())
        held = memory()
        collection.delete(where=WRITTEN)
    true_ones = np.load(place / "true.npy")
    return {"recall": recall(found, true_ones), "alone": alone, "beside": beside, "rate": written["rate"], **held}


def _asked(collection: Collection, queries: Array, seconds: float) -> dict[str, float]:
    spent, until = [], time.perf_counter() + seconds
    while (begun := time.perf_counter()) < until:
        collection.search(queries[len(spent) % len(queries)], K)
        spent.append(time.perf_counter() - begun)
    p50, p99 = np.percentile(spent, [50, 99]) * 1000
    return {"p50": float(p50), "p99": float(p99), "worst": 1000 * max(spent), "queries": len(spent)}


def write(place: Path, seconds: float) -> dict[str, Any]:
    """Add rows at a steady rate; what cannot keep up is seen in the rate."""
    model, first = Rows(place), 1 << 40
    added = 0
    with Collection.open(place / "c.sv", model) as collection:
        print("begun", flush=True)
        begun = time.perf_counter()
        while (now := time.perf_counter() - begun) < seconds:
            rows = range(first + added, first + added + ADDED)
            collection.add(map(model.text, rows), [f"w{row}" for row in rows], [WRITTEN] * ADDED)
            added += ADDED
            time.sleep(max(0.0, added / ADDED * EVERY_S - (time.perf_counter() - begun)))
    return {"rate": added / now}


STEPS: dict[str, Step] = {"fill": fill, "true": true, "index": index, "begin": begin, "serve": serve, "write": write}


def done(place: Path, name: str, step: str, **arguments: Any) -> dict[str, Any]:
    """Return what a step has measured, in a process of its own unless it was done before."""
    file = place / "done" / f"{name}.json"
    if not file.exists():
        print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, step, json.dumps({"place": str(place), **arguments})]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        keep_one(file, json.loads(ended.stdout.splitlines()[-1]))
    return json.loads(file.read_text())


def prepared(place: Path, data: Path) -> None:
    """Write the real texts, their vectors and the queries, with the model; once."""
    if (place / "queries.npy").exists():
        return
    place.mkdir(parents=True, exist_ok=True)
    queries, rows = real(data)
    order = np.random.default_rng(0).permutation(len(rows) + len(queries))[len(queries) :]
    given = texts(data)
    (place / "texts.json").write_text(json.dumps([given[n] for n in order]))
    np.save(place / "real.npy", rows)
    np.save(place / "queries.npy", queries)


def large(data: Path, size: int, only: list[str] | None) -> list[str]:
    """Run every step that is not done, and return the table."""
    place = KEPT / f"large-{size}"
    prepared(place, data)
    auto = chosen(384, size, half_of_memory())
    other = "ivf-sq8" if auto != "ivf-sq8" else "ivf-pq-refine"
    kinds = only if only is not None else [auto, other]
    filled = done(place, "fill", "fill", size=size)
    done(place, "true", "true", size=size)
    lines = []
    for kind in kinds:
        # Asked as one: an index that was built is the one that is opened and asked.
        steps = [place / "done" / f"{step} {kind}.json" for step in ("index", "begin", "serve")]
        if not all(file.exists() for file in steps):
            for file in steps:
                file.unlink(missing_ok=True)
        lines.append(
            {
                "kind": f"{kind} (auto)" if kind == auto else kind,
                "index": done(place, f"index {kind}", "index", kind=kind),
                "begin": done(place, f"begin {kind}", "begin"),
                "serve": done(place, f"serve {kind}", "serve", seconds=ASKING_S),
            }
        )
    return table(size, filled, lines)


def table(size: int, filled: dict[str, Any], lines: list[dict[str, Any]]) -> list[str]:
    found = [
        f"# A collection of {size:,} passages of 384 numbers",
        "",
        f"Filling it from a generator, 512 passages a commit, took {filled['seconds']:,.0f} s without the model's work "
        f"({1e6 * filled['seconds'] / size:,.0f} µs a passage); the process held {filled['peak']:,.0f} MiB at most.",
        "",
        f"Queries are single, one after the other for {ASKING_S} s, in one process; beside it, another adds "
        f"{ADDED / EVERY_S:.0f} passages a second, {ADDED} a commit. Milliseconds of the clock, of the caller. Each "
        "kind is opened and asked in new processes. Resident memory counts what is mapped from the disk; in brackets "
        "what is not.",
        "",
        "| index | built in s | MiB at most | on disk, GB | recall@10 | opened in s | first query s | MiB while asked "
        "| p50, p99, worst ms | beside a writer | it added a second |",
        "|---" * 11 + "|",
    ]
    for one in lines:
        built, begun, served = one["index"], one["begin"], one["serve"]
        spent = " | ".join(
            f"{way['p50']:.2f}, {way['p99']:.2f}, {way['worst']:.1f}" for way in (served["alone"], served["beside"])
        )
        found.append(
            f"| {one['kind']}: {built['kind']} | {built['seconds']:,.0f} | {built['peak']:,.0f} "
            f"| {built['disk'] / 1e9:.2f} | {served['recall']:.3f} | {begun['opened']:.3f} | {begun['first']:.2f} "
            f"| {served['resident']:,.0f} ({served['own']:,.0f}) | {spent} | {served['rate']:.0f} |"
        )
    most = max(step["load"] for one in lines for step in (one["index"], one["begin"], one["serve"]))
    return [*found, "", f"The load of the machine, this benchmark with it, was {most:.1f} at most."]


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    print(json.dumps(STEPS[sys.argv[1]](Path(options.pop("place")), **options)))
