"""Fine-tune all-MiniLM-L6-v2 on real data, and measure what it brings.

    python benchmarks/fine_tune.py sts [--seeds 3] [--record]

Jobs:
    sts             STS-B's training pairs, CoSENT: Spearman on its test set, mean and spread over seeds. The best of
                    all epochs by the dev set is what is tested. sentence-transformers' own CoSENT, 4 epochs, batch 32,
                    5e-5, bfloat16: dev 88.15, test 86.47.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import keep, machine

from sentvec import Embedder
from sentvec.evaluate.find import find_sets
from sentvec.evaluate.run import Settings, evaluate
from sentvec.runtime.origin import find
from sentvec.train.batches import Dataset
from sentvec.train.config import TrainConfig
from sentvec.train.read import read_dataset
from sentvec.train.run import train_embedder

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
STS = {"query": 1, "positive": 2, "score": 3}


def stsb(data: Path, split: str) -> Dataset:
    return read_dataset(data / "sts" / "stsb" / f"stsb-en-{split}.csv", kind="scored", columns=STS)


def spearman(model: Embedder, path: Path) -> float:
    """Score a model on one STS file, x 100."""
    report = evaluate(model, find_sets(path, split="all").sets, settings=Settings(resamples=0), progress=False)
    return 100 * report.results[0].value


def trained(
    folder: Path, datasets: Sequence[Dataset], config: TrainConfig, dev: Path | None, model: str = MODEL
) -> float:
    """Train into a folder, and return the seconds that it took."""
    begun = time.perf_counter()
    train_embedder(find(model, local_files_only=True), datasets, folder, config, evaluate_on=dev, progress=True)
    return time.perf_counter() - begun


def sts(data: Path, seeds: int, work: Path) -> list[str]:
    test, dev = (data / "sts" / "stsb" / f"stsb-en-{split}.csv" for split in ("test", "dev"))
    base = Embedder.from_pretrained(MODEL)
    config = TrainConfig(
        loss="cosent", epochs=4, batch_size=32, learning_rate=5e-5, precision="bfloat16", evaluate_every=90
    )
    lines = ["| seed | dev | test | seconds |", "|---|---|---|---|"]
    lines.append(f"| before | {spearman(base, dev):.2f} | {spearman(base, test):.2f} | |")
    found = []
    for seed in range(seeds):
        folder = work / f"sts-{seed}"
        seconds = trained(folder, [stsb(data, "train")], replace(config, seed=seed), dev)
        model = Embedder.from_pretrained(folder)
        found.append((spearman(model, dev), spearman(model, test)))
        lines.append(f"| {seed} | {found[-1][0]:.2f} | {found[-1][1]:.2f} | {seconds:.0f} |")
        print(lines[-1], flush=True)
    mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1)
    lines.append(f"| mean ± sd | {mean[0]:.2f} ± {spread[0]:.2f} | {mean[1]:.2f} ± {spread[1]:.2f} | |")
    lines += ["", f"Settings: `{config.to_toml().replace(chr(10), '; ')}`"]
    return lines


JOBS: dict[str, tuple[str, Callable[[Path, int, Path], list[str]]]] = {
    "sts": ("STS-B's training pairs", sts),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    title, job = JOBS[args.job]
    work = Path(tempfile.mkdtemp(prefix="sentvec-fine-tune-"))
    try:
        lines = [f"# Fine-tuning: {title}", "", *job(args.data, args.seeds, work)]
    finally:
        shutil.rmtree(work)
    keep(f"fine-tune-{args.job}", [*lines, "", f"On {machine('torch')}."], args.record)


if __name__ == "__main__":
    main()
