"""Fine-tune all-MiniLM-L6-v2 with task heads on real data, and measure how well and how long.

    python benchmarks/heads.py banking77 [--seed 0] [--record]

Jobs: banking77 (accuracy on its test set; aim 91), sst2 (accuracy on its test set; aim 88), conll2003 (entity F1 on its
development set; aim 88), xquad (questions about half of the English paragraphs teach, about the other half test; F1),
each within an hour on two cores. Every epoch is scored; the best is kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from machine import RESULTS, keep, machine

from sentvec.runtime.origin import find
from sentvec.train.config import TrainConfig
from sentvec.train.read import read_dataset
from sentvec.train.tasks import train_head
from sentvec.train.taught import Asked, Labelled, Tagged, Taught, read_squad, read_tagged

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BASE = TrainConfig(precision="bfloat16", batch_size=32, warmup=0.1, save_every=10**6)


def banking77(data: Path) -> tuple[Taught, Taught]:
    folder = data / "classification" / "banking77"
    train = read_dataset(folder / "train.csv", kind="classes")
    test = read_dataset(folder / "test.csv", kind="classes", labels=train.labels)
    return labelled(train), labelled(test)


def labelled(dataset: object) -> Labelled:
    examples = dataset.examples  # type: ignore[attr-defined]
    return Labelled([one.texts[0] for one in examples], [int(one.value) for one in examples], dataset.labels)  # type: ignore[attr-defined]


def sst2(data: Path) -> tuple[Taught, Taught]:
    def read(split: str) -> Labelled:
        with (data / "classification" / "sst2" / f"{split}.tsv").open(encoding="utf-8") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        return Labelled([row[0] for row in rows], [int(row[1]) for row in rows], ("negative", "positive"))

    return read("train"), read("test")


def conll2003(data: Path) -> tuple[Taught, Taught]:
    train = read_tagged(data / "ner" / "conll2003" / "eng.train")
    return train, read_tagged(data / "ner" / "conll2003" / "eng.testa", train.labels)


def xquad(data: Path) -> tuple[Taught, Taught]:
    questions = read_squad(data / "qa" / "xquad" / "xquad.en.json").questions
    texts = sorted({one.context for one in questions})
    random.Random(0).shuffle(texts)
    known = set(texts[: len(texts) // 2])
    return (
        Asked([one for one in questions if one.context in known]),
        Asked([one for one in questions if one.context not in known]),
    )


JOBS: dict[str, tuple[Callable[[Path], tuple[Taught, Taught]], TrainConfig]] = {
    "banking77": (banking77, replace(BASE, epochs=6, batch_size=64, learning_rate=2e-4, head_rate=2e-3)),
    "sst2": (sst2, replace(BASE, epochs=3, learning_rate=1e-4, head_rate=5e-4)),
    "conll2003": (conll2003, replace(BASE, epochs=4, learning_rate=2e-4, head_rate=1e-3)),
    "xquad": (xquad, replace(BASE, epochs=12, learning_rate=2e-4, head_rate=1e-3, batch_size=16)),
}


def size(data: Taught) -> int:
    if isinstance(data, Labelled):
        return len(data.texts)
    return len(data.sentences if isinstance(data, Tagged) else data.questions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="keep the figures in benchmarks/results/heads.md")
    args = parser.parse_args()
    read, config = JOBS[args.job]
    config = replace(config, seed=args.seed)
    data, held = read(args.data)
    sizes = [size(one) for one in (data, held)]
    with tempfile.TemporaryDirectory() as folder:
        origin = find(MODEL, local_files_only=True)
        done = train_head(origin, data, Path(folder), config, held_back=held, progress=True)
    scores = ", ".join(f"{name} {100 * value:.2f}" for name, value in done.scores.items())
    settings = config.to_toml().replace("\n", "; ")
    row = (
        f"| {args.job} | {sizes[0]:,} | {sizes[1]:,} | {scores} | {done.seconds / 60:.1f} | {torch.get_num_threads()} |"
    )
    print(row, flush=True)
    kept = RESULTS / "heads.json"
    rows: dict[str, list[str]] = json.loads(kept.read_text()) if kept.exists() else {}
    rows[args.job] = [row, f"- {args.job}: `{settings}`", machine("torch")]
    if args.record:
        kept.write_text(json.dumps(rows, indent=2) + "\n")
    lines = ["# Task heads on all-MiniLM-L6-v2", ""]
    lines += ["| set | rows to learn | rows to score | scores | minutes | threads |", "|---|---|---|---|---|---|"]
    lines += [*(found[0] for found in rows.values()), "", "Settings:", *(found[1] for found in rows.values())]
    keep("heads", [*lines, "", f"On {next(iter(rows.values()))[2]}."], args.record)


if __name__ == "__main__":
    main()
