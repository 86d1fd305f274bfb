"""Measure the speed of training beside sentence-transformers' trainer: same data, model, batch and steps.

    python benchmarks/training_speed.py [--rounds 2] [--record]

STS-B's training pairs, CoSENT, batch 64, one epoch, AdamW with the same rates. Each contender is a process of its own,
in turns; pairs/s are of the training alone, without loading; the score is Spearman x 100 on STS-B's dev set. Then a
batch of 4,096 pairs with InfoNCE, whose tokens go through in parts, beside plain steps of 64: time a pair, and memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import keep, machine

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BATCH, RATE, WARMUP, SEED = 64, 5e-5, 0.1, 0


def ours(data: Path, precision: str) -> dict[str, float]:
    from sentvec import Embedder
    from sentvec.train.config import TrainConfig
    from sentvec.train.run import train_embedder

    config = TrainConfig(
        loss="cosent", batch_size=BATCH, learning_rate=RATE, warmup=WARMUP, precision=precision, seed=SEED, unique=False
    )
    from fine_tune import find, spearman, stsb

    with tempfile.TemporaryDirectory() as folder:
        pairs = stsb(data, "train")
        done = train_embedder(find(MODEL, local_files_only=True), [pairs], Path(folder), config, progress=False)
        score = spearman(Embedder.from_pretrained(folder), data / "sts" / "stsb" / "stsb-en-dev.csv")
    return {"pairs_per_s": len(pairs) / done.seconds, "dev": score}


def theirs(data: Path, precision: str) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from fine_tune import spearman, stsb
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import CoSENTLoss

    from sentvec import Embedder
    from sentvec.checkpoint.hub import resolve

    torch.manual_seed(SEED)
    model = SentenceTransformer(str(resolve(MODEL, local_files_only=True)), device="cpu")
    examples = stsb(data, "train").examples
    rows = Dataset.from_dict(
        {
            "sentence1": [one.texts[0] for one in examples],
            "sentence2": [one.texts[1] for one in examples],
            "score": [one.value for one in examples],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder, per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=RATE,
            warmup_ratio=WARMUP, bf16=precision == "bfloat16", report_to=[], save_strategy="no", use_cpu=True,
            disable_tqdm=True, logging_strategy="no", seed=SEED,
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
        [sys.executable, __file__, "--only", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(*arguments, found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        what, how = args.only
        result = (
            large(args.data, int(how)) if what == "large" else {"ours": ours, "theirs": theirs}[what](args.data, how)
        )
        print(json.dumps(result))
        return
    contenders = [(what, how) for how in ("float32", "bfloat16") for what in ("theirs", "ours")]
    found: dict[tuple[str, str], list[dict[str, float]]] = {one: [] for one in contenders}
    for _ in range(args.rounds):
        for one in contenders:
            found[one].append(run(*one))
    base = statistics.median(one["pairs_per_s"] for one in found["theirs", "float32"])
    names = {"theirs": "sentence-transformers", "ours": "sentvec"}
    lines = ["# Speed of training", "", str(__doc__).split("\n\n")[2].replace("\n", " "), ""]
    lines += ["| trainer | format | pairs/s | of sentence-transformers float32 | of its same format | dev |"]
    lines += ["|---|---|---|---|---|---|"]
    for (what, how), runs in found.items():
        rate = statistics.median(one["pairs_per_s"] for one in runs)
        same = statistics.median(one["pairs_per_s"] for one in found["theirs", how])
        scores = ", ".join(f"{one['dev']:.2f}" for one in runs)
        lines.append(f"| {names[what]} | {how} | {rate:.1f} | {rate / base:.2f} × | {rate / same:.2f} × | {scores} |")
    lines += [
        "",
        "| pairs a batch (bfloat16, InfoNCE, at most 2,048 tokens at once) | ms a pair | peak MiB |",
        "|---|---|---|",
    ]
    for batch in (64, 256, 1024, 4096):
        one = run("large", str(batch))
        lines.append(f"| {batch:,} | {one['ms_per_pair']:.2f} | {one['peak_mib']:.0f} |")
    lines += ["", f"On {machine('torch', 'sentence-transformers', 'transformers')}."]
    keep("training-speed", lines, args.record)


if __name__ == "__main__":
    main()
