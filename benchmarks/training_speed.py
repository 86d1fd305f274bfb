"""Measure the speed of training beside sentence-transformers' trainer: same data, model, batch and steps.

    python benchmarks/training_speed.py speed [--rounds 2] [--record]
    python benchmarks/training_speed.py scores [--seeds 3] [--record]

STS-B's training pairs, CoSENT, batch 64, one epoch, AdamW with the same rates. Each contender is a process of its own,
in turns; pairs/s are of the training alone, without loading; the score is Spearman x 100 on STS-B's dev set.

speed: pairs/s; then a batch of 4,096 pairs with InfoNCE, whose tokens go through in parts, beside plain steps of 64:
time a pair, and memory. scores: what both make of the same data. Order and dropout move the score more than anything
else, so over several seeds; and once from the very same batches without dropout, where nothing is left to chance.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from machine import keep, machine

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BATCH, RATE, WARMUP = 64, 5e-5, 0.1
NAMES = {"theirs": "sentence-transformers", "ours": "sentvec"}


def undropped(folder: Path) -> str:
    """Copy the model to a folder, without dropout."""
    from sentvec.checkpoint.hub import resolve

    shutil.copytree(resolve(MODEL, local_files_only=True), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def ours(data: Path, precision: str, seed: int, *, still: bool = False) -> dict[str, float]:
    from sentvec import Embedder
    from sentvec.train.config import TrainConfig
    from sentvec.train.run import train_embedder

    config = TrainConfig(
        loss="cosent", batch_size=BATCH, learning_rate=RATE, warmup=WARMUP, precision=precision, seed=seed,
        unique=False, weight_decay=0.0,
    )  # fmt: skip
    from fine_tune import find, spearman, stsb

    with tempfile.TemporaryDirectory() as folder:
        pairs = stsb(data, "train")
        origin = find(undropped(Path(folder) / "still") if still else MODEL, local_files_only=True)
        done = train_embedder(origin, [pairs], Path(folder) / "model", config, progress=False)
        score = spearman(Embedder.from_pretrained(f"{folder}/model"), data / "sts" / "stsb" / "stsb-en-dev.csv")
    return {"pairs_per_s": len(pairs) / done.seconds, "dev": score}


def theirs(data: Path, precision: str, seed: int, *, still: bool = False) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from fine_tune import spearman, stsb
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.base.sampler import DefaultBatchSampler
    from sentence_transformers.losses import CoSENTLoss

    from sentvec import Embedder
    from sentvec.checkpoint.hub import resolve
    from sentvec.train.sampling import Sampler

    pairs = stsb(data, "train")
    examples = pairs.examples

    class Same(DefaultBatchSampler):
        """Our batches."""

        def __iter__(self) -> Iterator[list[int]]:
            for _, places in Sampler([pairs], batch_size=BATCH, seed=seed, unique=False)._plan(0):
                yield places.tolist()

    torch.manual_seed(seed)
    rows = Dataset.from_dict(
        {
            "sentence1": [one.texts[0] for one in examples],
            "sentence2": [one.texts[1] for one in examples],
            "score": [one.value for one in examples],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = undropped(Path(folder) / "still") if still else str(resolve(MODEL, local_files_only=True))
        model = SentenceTransformer(path, device="cpu")
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder, per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=RATE,
            warmup_ratio=WARMUP, bf16=precision == "bfloat16", report_to=[], save_strategy="no", use_cpu=True,
            disable_tqdm=True, logging_strategy="no", seed=seed, batch_sampler=Same if still else "batch_sampler",
        )  # fmt: skip
        trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=CoSENTLoss(model))
        begun = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begun
        model.save(f"{folder}/model")
        score = spearman(Embedder.from_pretrained(f"{folder}/model"), data / "sts" / "stsb" / "stsb-en-dev.csv")
    return {"pairs_per_s": len(rows) / seconds, "dev": score}


def large(data: Path, batch: int) -> dict[str, float]:
    """Train with batches of so many pairs, bfloat16, and measure time a pair and the peak of memory."""
    import resource

    from fine_tune import find, stsb

    from sentvec.train.batches import Dataset, Example
    from sentvec.train.config import TrainConfig
    from sentvec.train.run import train_embedder

    pairs = [Example(one.texts) for one in stsb(data, "train").examples[:4096]]
    config = TrainConfig(
        loss="infonce",
        batch_size=batch,
        precision="bfloat16",
        unique=False,
        micro_tokens=2048,
        epochs=2,
        save_every=10**6,
    )
    with tempfile.TemporaryDirectory() as folder:
        given = [Dataset("pairs", "pairs", pairs)]
        done = train_embedder(find(MODEL, local_files_only=True), given, Path(folder), config, progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"ms_per_pair": 1000 * done.seconds / (2 * len(pairs)), "peak_mib": peak}


def run(*arguments: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "speed", "--only", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(*arguments, found, flush=True)
    return found


def only(data: Path, what: str, how: str, seed: int) -> dict[str, float]:
    if what == "large":
        return large(data, int(how))
    who, _, still = what.partition("-")
    return {"ours": ours, "theirs": theirs}[who](data, how, seed, still=still == "still")


def speed(rounds: int, batches: list[int]) -> list[str]:
    contenders = [(what, how) for how in ("float32", "bfloat16") for what in ("theirs", "ours")]
    found: dict[tuple[str, str], list[dict[str, float]]] = {one: [] for one in contenders}
    for _ in range(rounds):
        for one in contenders:
            found[one].append(run(*one, "0"))
    base = statistics.median(one["pairs_per_s"] for one in found["theirs", "float32"])
    lines = ["| trainer | format | pairs/s | of sentence-transformers float32 | of its same format | dev |"]
    lines += ["|---|---|---|---|---|---|"]
    for (what, how), runs in found.items():
        rate = statistics.median(one["pairs_per_s"] for one in runs)
        same = statistics.median(one["pairs_per_s"] for one in found["theirs", how])
        scores = ", ".join(f"{one['dev']:.2f}" for one in runs)
        lines.append(f"| {NAMES[what]} | {how} | {rate:.1f} | {rate / base:.2f} × | {rate / same:.2f} × | {scores} |")
    lines += [
        "",
        "| pairs a batch (bfloat16, InfoNCE, at most 2,048 tokens at once) | ms a pair | peak MiB |",
        "|---|---|---|",
    ]
    for batch in batches:
        one = run("large", str(batch), "0")
        lines.append(f"| {batch:,} | {one['ms_per_pair']:.2f} | {one['peak_mib']:.0f} |")
    return lines


def scores(seeds: int) -> list[str]:
    lines = ["| trainer | same batches, no dropout, float32 | " + " | ".join(f"seed {n}" for n in range(seeds)) + " |"]
    lines.append("|---" * (seeds + 2) + "|")
    for what in ("theirs", "ours"):
        still = run(f"{what}-still", "float32", "0")["dev"]
        found = [run(what, "bfloat16", str(seed))["dev"] for seed in range(seeds)]
        lines.append(f"| {NAMES[what]} | {still:.2f} | {' | '.join(f'{one:.2f}' for one in found)} |")
    return [*lines, "", "Seeds: bfloat16, with dropout; each trainer has an order of its own."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("speed", "scores"))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024, 4096], help="pairs a large batch")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        what, how, seed = args.only
        print(json.dumps(only(args.data, what, how, int(seed))))
        return
    paragraphs = str(__doc__).split("\n\n")
    lines = [f"# Training: {args.job}", "", paragraphs[2].replace("\n", " "), ""]
    lines += speed(args.rounds, args.batches) if args.job == "speed" else scores(args.seeds)
    lines += ["", f"On {machine('torch', 'sentence-transformers', 'transformers')}."]
    keep(f"training-{args.job}", lines, args.record)


if __name__ == "__main__":
    main()
