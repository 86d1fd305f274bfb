"""Processes that share a model: numbers of workers in, memory and speed of all of them together out.

    python benchmarks/workers.py [--workers 1 2 4] [--texts 2048] [--apart]

PSS (proportional set size, /proc/PID/smaps_rollup) counts a page that several processes share once in all, so that
figures of processes can be added; the process that the workers are forked from is among them. "private" is what only
one process has: what one more worker costs. With --apart, each process loads the model by itself. Linux only.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from pathlib import Path

import torch

from sentvec import Embedder
from sentvec.runtime.workers import Workers

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def mebibytes(pid: int) -> dict[str, int]:
    content = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(size) // 1024 for name, size in re.findall(r"^(\w+): +(\d+) kB", content, re.MULTILINE)}


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--texts", type=int, default=2048)
    parser.add_argument("--apart", action="store_true")
    options = parser.parse_args()
    texts = [f"row {i} of some text that says {'very ' * (i % 17)}little" for i in range(options.texts)]
    print(f"{options.model}, {options.precision}, {torch.get_num_threads()} threads in all, {options.texts} texts; MiB")
    print("workers  PSS of all  private, mean   RSS, mean  start, s  texts/s")
    model = Embedder.from_pretrained(options.model, device="cpu", precision=options.precision)
    model.fingerprint  # noqa: B018 - computed once, and not a part of starting
    for count in options.workers:
        with Workers(model, ["cpu"] * count) as workers:
            if options.apart:
                workers._nest = None
            begun = time.perf_counter()
            model.encode([f"{i}" for i in range(1025)], workers=workers)  # two tasks
            start = time.perf_counter() - begun
            model.encode(texts * count, workers=workers)  # every process has seen texts of all lengths now
            begun = time.perf_counter()
            model.encode(texts, workers=workers)
            rate = len(texts) / (time.perf_counter() - begun)
            pids = set(workers.pids)
            found = {pid: mebibytes(pid) for pid in pids | {parent(pid) for pid in pids} - {os.getpid()}}
            one = found[max(pids)]
            private = one["Private_Clean"] + one["Private_Dirty"]
            total = sum(row["Pss"] for row in found.values())
            print(
                f"{len(pids):7d}  {total:10d}  {private:14d}  {one['Rss']:10d}  {start:8.1f}  {rate:7.0f}", flush=True
            )


if __name__ == "__main__":
    main()
