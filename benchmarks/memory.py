"""Measure how memory goes along during long runs of `encode_stream`: resident size early, later, and at the end.

    python benchmarks/memory.py [--run PART ...] [--precision float32 bfloat16] [--scale X] [--record]

Runs: a million different short texts; and 100,000 texts of 1 to 256 tokens in random order, which ask the allocator
for every size there is. The model is as wide as all-MiniLM-L6-v2 and has its tokeniser, but one layer of random
weights instead of six: layers use the same buffers one after the other, so one needs what six do, in a sixth of the
time. Two more runs use the real model, with fewer texts. Each run has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import os
import random
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import keep, machine

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
PARTS = 10


@dataclass(frozen=True)
class Run:
    """One row of the table: which model reads how many of which texts, and how far memory may grow."""

    what: str
    model: str
    texts: int
    bar: float


RUNS = {
    "short": Run("short", "one layer", 1_000_000, 1.3),
    "mixed": Run("mixed", "one layer", 100_000, 1.3),
    "short-minilm": Run("short", "MiniLM", 100_000, 1.3),
    "mixed-minilm": Run("mixed", "MiniLM", 12_000, 1.3),
}
KINDS = {"short": "different short texts", "mixed": "texts of 1 to 256 tokens, mixed"}


def texts_of(kind: str, count: int, words: list[str]) -> Iterator[str]:
    if kind == "short":
        for i in range(count):
            yield f"text number {i} of {count}"
        return
    choice = random.Random(0)
    for _ in range(count):
        yield " ".join(choice.choices(words, k=choice.randint(1, 254)))  # two more tokens are put around them


def one_layer(into: Path) -> Path:
    """Write the model that most runs use: all-MiniLM-L6-v2 with one layer, seeded random weights."""
    import shutil

    import torch
    import transformers

    from sentvec.checkpoint.hub import resolve

    folder = into / "model"
    shutil.copytree(resolve(MINILM), folder)
    config = transformers.BertConfig.from_pretrained(folder)
    config.num_hidden_layers = 1
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def work(run: Run, model: str, precision: str, texts: int, pipe: Any) -> None:
    """Encode, and send (texts done, resident MiB) after each window, then (None, most MiB)."""
    warnings.simplefilter("ignore")
    from sentvec import Embedder

    embedder = Embedder.from_pretrained(model, precision=precision, device="cpu")
    embedder.encode(["warm-up"])
    pipe.send((0, _status("VmRSS")))
    words = json.loads((embedder.folder / "tokenizer.json").read_text())["model"]["vocab"]
    whole = sorted(word for word in words if word.isascii() and word.isalpha() and len(word) > 1)
    done = 0
    for vectors in embedder.encode_stream(texts_of(run.what, texts, whole), progress=False):
        done += len(vectors)
        pipe.send((done, _status("VmRSS")))
    pipe.send((None, _status("VmHWM")))


def measured(run: Run, model: str, precision: str, texts: int) -> str:
    """Run it in a process of its own; a row of the table."""
    context = mp.get_context("spawn")
    pipe, child = context.Pipe()
    process = context.Process(target=work, args=(run, model, precision, texts, child), daemon=True)
    begun = time.perf_counter()
    process.start()
    child.close()
    sizes: list[tuple[int, float]] = []
    try:
        while True:
            done, size = pipe.recv()
            if done is None:
                break
            sizes.append((done, size))
            if sys.stderr.isatty():
                print(f"\r\x1b[K  {run.what}, {precision}: {done:,} of {texts:,}", end="", file=sys.stderr, flush=True)
    except EOFError:
        process.join()
        return (
            f"| {texts:,} {KINDS[run.what]} | {run.model} | {precision} | ended with code {process.exitcode} | | | | |"
        )
    process.join()
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    loaded, rest = sizes[0][1], sizes[1:]
    early, end = rest[0][1], rest[-1][1]
    along = [next(s for d, s in rest if d >= texts * part / PARTS) for part in range(1, PARTS + 1)]
    return (
        f"| {texts:,} {KINDS[run.what]} | {run.model} | {precision} | {loaded:,.0f} | {early:,.0f} "
        f"| {' '.join(f'{one:.0f}' for one in along)} | **{end / early:.2f}** (at most {run.bar}) | {size:,.0f} "
        f"| {time.perf_counter() - begun:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--scale", type=float, default=1.0, help="this many times the texts, to try things out")
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()

    from sentvec.runtime.engine import BATCH_TOKENS, WINDOW

    lines = [
        "# Memory during long runs",
        "",
        f"`encode_stream` holds at most two windows of {WINDOW:,} texts with their token ids, the vectors of one "
        f"window, and the buffers of one batch of {BATCH_TOKENS:,} tokens, however long the input. Resident MiB: with "
        "the model loaded, when the first window came out, and after each tenth of the texts. Growth is the last of "
        "these by the first window's.",
        "",
        "| texts | model | precision | loaded | first window | by tenths | growth | peak | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        context = mp.get_context("spawn")
        made = context.Process(target=one_layer, args=(Path(scratch),))  # apart, so that no torch is held here
        made.start()
        made.join()
        models = {"one layer": str(Path(scratch) / "model"), "MiniLM": MINILM}
        for name in args.run:
            for precision in args.precision:
                run = RUNS[name]
                lines.append(measured(run, models[run.model], precision, round(run.texts * args.scale)))
                print(lines[-1], file=sys.stderr)
    lines += ["", f"{os.cpu_count()} threads. Measured on {machine('torch', 'tokenizers')}."]
    keep("memory", lines, args.record)


def _status(field: str) -> float:
    """MiB of a line of /proc/self/status: VmRSS is resident now, VmHWM the most so far."""
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, "this benchmark reads /proc, which only Linux has"
    return int(found[1]) / 1024


if __name__ == "__main__":
    main()
