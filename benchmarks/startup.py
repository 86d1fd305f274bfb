"""Measure how long sentvec takes before it does anything: import, --help, first vector of one text.

    python benchmarks/startup.py [--runs N] [--record]

Every figure is the median over whole processes; the bars are 0.15 s for the import, 0.5 s for --help, and
2.0 s to the first vector.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time

from machine import keep, machine

FIRST_VECTOR = (
    "from sentvec import Embedder;"
    "m = Embedder.from_pretrained('sentence-transformers/all-MiniLM-L6-v2', local_files_only=True);"
    "m.encode('one short text')"
)
# what -X importtime prints for the package itself: microseconds with all that it imports
CUMULATIVE = re.compile(r"\|\s*(\d+)\s*\|\s*sentvec\s*$", re.MULTILINE)


def wall(*command: str) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def import_time() -> float:
    command = [sys.executable, "-X", "importtime", "-c", "import sentvec"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return int(CUMULATIVE.findall(shown)[-1]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    measures = {
        "python -X importtime -c 'import sentvec'": (import_time, "under 0.15"),
        "sentvec --help": (lambda: wall(sys.executable, "-m", "sentvec", "--help"), "under 0.5"),
        "import, load all-MiniLM-L6-v2, one vector": (lambda: wall(sys.executable, "-c", FIRST_VECTOR), "under 2.0"),
    }
    lines = ["| what | median s | fastest s | bar |", "|---|---|---|---|"]
    for name, (measure, bar) in measures.items():
        measure()  # the first run fills the disk's cache
        times = [measure() for _ in range(args.runs)]
        lines.append(f"| `{name}` | {statistics.median(times):.3f} | {min(times):.3f} | {bar} |")
    lines += ["", f"Medians of {args.runs} runs, whole processes. Measured on {machine('torch', 'typer')}."]
    keep("startup", ["# Start-up", "", *lines], args.record)


if __name__ == "__main__":
    main()
