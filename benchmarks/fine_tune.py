"""Fine-tune all-MiniLM-L6-v2 on real data, and measure what it brings.

    python benchmarks/fine_tune.py sts [--seeds 3] [--record]

Jobs:
    sts             STS-B's training pairs, CoSENT: Spearman on its test set, mean and spread over seeds. The best of
                    all epochs by the dev set is what is tested. sentence-transformers' own CoSENT, 4 epochs, batch 32,
                    5e-5, bfloat16: dev 88.15, test 86.47.
    matryoshka      the same, at several widths; aim: 64 features keep 97 % of what 384 have.
    distil          three of the six layers, taught the whole model's vectors on texts without labels; aims: 97 % of
                    its score, 1.7 times its speed.
    unsupervised    SimCSE and TSDAE on a deliberately weak encoder: the first token's state.
    small           a model of two layers, pre-trained here on masked words from nothing and kept in
                    build/bench/fine_tune, then TSDAE and SimCSE.
    mined           Cranfield and CISI: half of the queries teach, the other half tests; negatives of the batch alone,
                    and mined ones as well; paired test over the unseen queries.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import keep, machine

from sentvec import Embedder
from sentvec.checkpoint.load import Checkpoint
from sentvec.checkpoint.save import save_checkpoint
from sentvec.evaluate.beir import Retrieval, read_retrieval
from sentvec.evaluate.find import find_sets
from sentvec.evaluate.result import Result, mean_of
from sentvec.evaluate.run import Settings, evaluate
from sentvec.evaluate.significance import compare
from sentvec.ops.rank import spearman as spearman_of
from sentvec.runtime.origin import find
from sentvec.train.batches import Dataset, Example
from sentvec.train.config import TrainConfig
from sentvec.train.distil import TaughtVectors, shallow
from sentvec.train.loop import train
from sentvec.train.mine import MineConfig, mine
from sentvec.train.objectives import objective
from sentvec.train.read import read_dataset
from sentvec.train.run import train_embedder
from sentvec.train.sampling import Sampler
from sentvec.train.step import EmbedderLearner
from sentvec.train.tasks import train_masked
from sentvec.train.tsdae import DenoisingLearner

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
KEPT = Path(__file__).resolve().parents[1] / "build" / "bench" / "fine_tune"
STS = {"query": 1, "positive": 2, "score": 3}
LAYERS = (2, 4, 6)
# chosen on a third of Cranfield's known queries; the very nearest documents are too often right ones nobody judged
MINING = MineConfig(negatives=2, first=10, last=100, draw="random")


def stsb(data: Path, split: str) -> Dataset:
    return read_dataset(data / "sts" / "stsb" / f"stsb-en-{split}.csv", kind="scored", columns=STS)


def stsb_rows(path: Path) -> Sequence[Example]:
    return read_dataset(path, kind="scored", columns=STS).examples


def spearman(model: Embedder, path: Path) -> float:
    """Score a model on one STS file, x 100."""
    report = evaluate(model, find_sets(path, split="all").sets, settings=Settings(resamples=0), progress=False)
    return 100 * report.results[0].value


def trained(
    folder: Path, datasets: Sequence[Dataset], config: TrainConfig, dev: Path | None, tokens: int | None = None
) -> float:
    """Train into a folder, and return the seconds that it took."""
    begun = time.perf_counter()
    origin = find(MODEL, local_files_only=True, max_seq_length=tokens)
    train_embedder(origin, datasets, folder, config, evaluate_on=dev, progress=True)
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


def matryoshka(data: Path, seeds: int, work: Path) -> list[str]:
    test = data / "sts" / "stsb" / "stsb-en-test.csv"
    dims = (384, 256, 128, 64, 32)
    config = TrainConfig(loss="cosent", epochs=4, batch_size=32, learning_rate=5e-5, precision="bfloat16")
    found: dict[str, list[list[float]]] = {"before": [], "plain": [], "matryoshka": []}
    base = Embedder.from_pretrained(MODEL)
    found["before"].append([cut_spearman(base, test, dim) for dim in dims])
    for seed in range(seeds):
        for name, widths in (("plain", ()), ("matryoshka", (256, 128, 64, 32))):
            folder = work / f"{name}-{seed}"
            trained(folder, [stsb(data, "train")], replace(config, seed=seed, matryoshka=widths), None)
            model = Embedder.from_pretrained(folder)
            found[name].append([cut_spearman(model, test, dim) for dim in dims])
            print(name, seed, found[name][-1], flush=True)
    lines = ["| training | " + " | ".join(f"{dim} features" for dim in dims) + " | share of 384 that 64 keep |"]
    lines.append("|---" * (len(dims) + 2) + "|")
    for name, rows in found.items():
        mean = np.mean(rows, axis=0)
        lines.append(f"| {name} | {' | '.join(f'{x:.2f}' for x in mean)} | {100 * mean[3] / mean[0]:.1f} % |")
    return [
        *lines,
        "",
        f"Means of {seeds} seeds, STS-B's test set. Settings: `{config.to_toml().replace(chr(10), '; ')}`",
    ]


def cut_spearman(model: Embedder, path: Path, dim: int) -> float:
    """Score vectors that are cut to their first features, x 100."""
    rows = stsb_rows(path)
    left, right = (model.encode([row.texts[side] for row in rows], dim=dim, normalize=True) for side in (0, 1))
    wanted = torch.tensor([float(str(row.value)) for row in rows])
    return 100 * float(spearman_of(torch.from_numpy((left * right).sum(axis=1)), wanted))


def mixed_texts(data: Path, count: int, seed: int) -> list[str]:
    """Draw English texts of many sources, and STS-B's training sentences; none of its test or dev sentences."""
    held = {text for split in ("dev", "test") for one in stsb(data, split).examples for text in one.texts}
    own = [text for one in stsb(data, "train").examples for text in one.texts]
    with (data / "corpora" / "throughput_mix" / "en.tsv").open(encoding="utf-8") as file:
        others = [line.rstrip("\n").split("\t", 1)[1] for line in file]
    random.Random(seed).shuffle(others)
    return [text for text in dict.fromkeys([*own, *(text[:400] for text in others)]) if text not in held][:count]


def distil(data: Path, seeds: int, work: Path) -> list[str]:
    teacher = Embedder.from_pretrained(MODEL, precision="bfloat16")
    texts = mixed_texts(data, 60_000, seed=0)
    test, dev = (data / "sts" / "stsb" / f"stsb-en-{split}.csv" for split in ("test", "dev"))
    config = TrainConfig(
        loss="taught_vectors", epochs=2, batch_size=128, learning_rate=3e-4, precision="bfloat16", warmup=0.05
    )
    whole = find(MODEL, local_files_only=True).load()
    examples = Dataset("texts", "texts", [Example((text,)) for text in texts])
    lines = ["| model | layers | dev | test | share kept | texts/s | speed |", "|---|---|---|---|---|---|---|"]
    base = Embedder.from_pretrained(MODEL)
    for seed in range(seeds):
        chosen = replace(config, seed=seed)
        folder = work / f"distil-{seed}"
        save_checkpoint(work / f"cut-{seed}", shallow(whole, LAYERS))
        learner = EmbedderLearner(shallow(whole, LAYERS), [objective("taught_vectors")], chosen)
        source = TaughtVectors(Sampler([examples], batch_size=128, seed=seed, by_length=True), teacher)
        done = train(learner, source, folder, chosen, progress=True)
        if not seed:
            scored = {"teacher": base, "cut, not taught": Embedder.from_pretrained(work / "cut-0")}
        scored[f"taught, seed {seed}"] = Embedder.from_pretrained(folder)
        print(f"taught in {done.seconds:.0f} s", flush=True)
    rates = texts_per_second(scored, texts[:2000])
    whole_score = spearman(base, test)
    for name, model in scored.items():
        score = spearman(model, test)
        lines.append(
            f"| {name} | {model.encoder.config.layers} | {spearman(model, dev):.2f} | {score:.2f} | "
            f"{100 * score / whole_score:.1f} % | {rates[name]:.0f} | {rates[name] / rates['teacher']:.2f} × |"
        )
    told = f"{len(texts):,} texts; layers {LAYERS} of six are kept. Speed: float32, 2,000 texts, medians of five turns."
    return [*lines, "", f"{told} Settings: `{config.to_toml().replace(chr(10), '; ')}`"]


def texts_per_second(models: dict[str, Embedder], texts: list[str]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(6):
        for name, model in models.items():
            begun = time.perf_counter()
            model.encode(texts, progress=False)
            times[name].append(time.perf_counter() - begun)
    return {name: len(texts) / statistics.median(found[1:]) for name, found in times.items()}  # the first warms up


def small(data: Path, seeds: int, work: Path) -> list[str]:
    config = TrainConfig(epochs=2, batch_size=64, learning_rate=1e-3, precision="bfloat16", save_every=10**6)
    kept = KEPT / "masked"
    if not (kept / "config.json").exists():
        pretrain(data, config, kept)
    lines = unsupervised(data, seeds, work, kept, rate=3e-4)  # weights that were never anything move far
    return [*lines, "", f"Pre-trained on 60,000 texts: `{config.to_toml().replace(chr(10), '; ')}`"]


def pretrain(data: Path, config: TrainConfig, folder: Path) -> None:
    checkpoint = shallow(find(MODEL, local_files_only=True).load(), (1, 2))
    draw = torch.Generator().manual_seed(0)
    assert isinstance(checkpoint.encoder, torch.nn.Module)
    for name, parameter in checkpoint.encoder.named_parameters():  # as BERT begins
        if name.endswith("bias"):
            parameter.data.zero_()
        elif parameter.ndim == 1:
            parameter.data.fill_(1.0)
        else:
            parameter.data.normal_(0.0, 0.02, generator=draw)
    begun = KEPT / "begun"
    if not begun.exists():
        save_checkpoint(begun, checkpoint)
    documents = [[text] for text in mixed_texts(data, 60_000, seed=0)]
    train_masked(find(begun, max_seq_length=64), documents, folder, config, resume=True, progress=True)


def unsupervised(data: Path, seeds: int, work: Path, model: str | Path = MODEL, rate: float = 3e-5) -> list[str]:
    test, dev = (data / "sts" / "stsb" / f"stsb-en-{split}.csv" for split in ("test", "dev"))
    origin = find(model, local_files_only=True, pooling="first")
    texts = Dataset("texts", "texts", [Example((text,)) for text in mixed_texts(data, 24_000, seed=0)])
    ways = {
        "SimCSE": TrainConfig(
            loss="simcse", batch_size=64, learning_rate=rate, precision="bfloat16", evaluate_every=60
        ),
        "TSDAE": TrainConfig(
            batch_size=16, learning_rate=rate, precision="bfloat16", max_steps=750, evaluate_every=125
        ),
    }
    weak = Embedder(weakened(origin.load()), name="weak")
    lines = ["| training | seed | dev | test | seconds |", "|---|---|---|---|---|"]
    lines.append(f"| none: the first token's state | | {spearman(weak, dev):.2f} | {spearman(weak, test):.2f} | |")

    def judge(checkpoint: Checkpoint) -> dict[str, float]:
        return {"dev": spearman(Embedder(checkpoint, name="x"), dev)}

    for name, config in ways.items():
        for seed in range(seeds):
            chosen, folder = replace(config, seed=seed), work / f"{name}-{seed}"
            learner: EmbedderLearner | DenoisingLearner
            if name == "SimCSE":
                learner = EmbedderLearner(weakened(origin.load()), [objective("simcse")], chosen)
            else:
                learner = DenoisingLearner(weakened(origin.load()), chosen)
            source = Sampler([texts], batch_size=chosen.batch_size, seed=seed)
            done = train(learner, source, folder, chosen, judge=judge, progress=True)
            model = Embedder.from_pretrained(folder)
            lines.append(
                f"| {name} | {seed} | {spearman(model, dev):.2f} | {spearman(model, test):.2f} | {done.seconds:.0f} |"
            )
            print(lines[-1], flush=True)
    lines += ["", f"{len(texts):,} texts without labels. Settings:"]
    return [*lines, *(f"- {name}: `{c.to_toml().replace(chr(10), '; ')}`" for name, c in ways.items())]


def weakened(checkpoint: Checkpoint) -> Checkpoint:
    """Take the first token's state for a vector, which nobody taught this model to be one."""
    return replace(checkpoint, recipe=replace(checkpoint.recipe, pooling=("first",), steps=()))


def mined(data: Path, seeds: int, work: Path, sets: Sequence[str] = ("cran", "cisi")) -> list[str]:
    lines = [
        f"Negatives: `{MINING}`.",
        "",
        "| set | training | nDCG@10, means over seeds | seeds |",
        "|---|---|---|---|",
    ]
    tests = []
    for name in sets:
        folder = data / "retrieval" / name
        whole = read_retrieval(folder, folder / "qrels.tsv", name)
        ids = sorted(whole.queries)
        random.Random(0).shuffle(ids)
        known, unseen = ids[: len(ids) // 2], ids[len(ids) // 2 :]
        documents = dict(zip(whole.ids, [text for block in whole.blocks() for text in block], strict=True))
        pairs = Dataset(
            name, "pairs",
            [Example((whole.queries[q], documents[d])) for q in known for d, grade in whole.judged[q].items()
             if grade > 0 and documents.get(d, "").strip()],
        )  # fmt: skip
        held = replace(
            whole, queries={q: whole.queries[q] for q in unseen}, judged={q: whole.judged[q] for q in unseen}
        )
        base = Embedder.from_pretrained(MODEL)
        texts = [text for text in documents.values() if text.strip()]
        hard = mine(base, pairs, texts, MINING)
        config = TrainConfig(loss="infonce", epochs=2, batch_size=32, learning_rate=3e-5, precision="bfloat16")
        results: dict[str, list[Result]] = {"before": [scored(base, held)], "in-batch": [], "mined": []}
        for seed in range(seeds):
            for way, given in (("in-batch", pairs), ("mined", hard.dataset)):
                out = KEPT / "mined" / f"{name}-{way}-{seed}"
                if not out.exists():
                    trained(work / out.name, [given], replace(config, seed=seed), None, tokens=96)  # an hour, not three
                    shutil.move(work / out.name, out)

                results[way].append(scored(Embedder.from_pretrained(out, max_seq_length=256), held))
                print(name, way, seed, results[way][-1].value, flush=True)
        for way, found in results.items():
            values = ", ".join(f"{one.value:.3f}" for one in found)
            lines.append(f"| {name} | {way} | {np.mean([one.value for one in found]):.3f} | {values} |")
        ours, alone = (averaged(results[way]) for way in ("mined", "in-batch"))
        told = compare(ours, alone, 1000)
        interval = f"{told.interval.low:+.3f} to {told.interval.high:+.3f}"
        tests.append(
            f"{name}: mined - in-batch = {told.difference:+.3f} ({interval}), p = {told.p:.3f} ({told.method} over "
            f"{len(unseen)} unseen queries, means over seeds); {hard.found} negatives for {len(pairs)} pairs of "
            f"{len(known)} queries."
        )
    return [*lines, "", *(f"- {one}" for one in tests)]


def scored(model: Embedder, held: Retrieval) -> Result:
    return evaluate(model, [held], settings=Settings(resamples=0), progress=False).results[0]


def averaged(results: Sequence[Result]) -> Result:
    """Return the mean of several runs, query by query."""
    items = np.mean([one.sample.items for one in results if one.sample is not None], axis=0)
    first = results[0]
    return replace(first, scores=dict(first.scores) | {first.main: float(items.mean())}, sample=mean_of(items))


JOBS: dict[str, tuple[str, Callable[[Path, int, Path], list[str]]]] = {
    "sts": ("STS-B's training pairs", sts),
    "matryoshka": ("vectors that can be cut", matryoshka),
    "distil": ("three layers taught by six", distil),
    "unsupervised": ("texts without labels, on a weak encoder", unsupervised),
    "small": ("texts without labels, on a small model that read little", small),
    "mined": ("hard negatives", mined),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", help="those of `mined`: cran, cisi")
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    title, job = JOBS[args.job]
    if args.job == "mined" and args.sets:
        job = partial(mined, sets=args.sets)
    work = Path(tempfile.mkdtemp(prefix="sentvec-fine-tune-"))
    try:
        lines = [f"# Fine-tuning: {title}", "", *job(args.data, args.seeds, work)]
    finally:
        shutil.rmtree(work)
    keep(f"fine-tune-{args.job}", [*lines, "", f"On {machine('torch')}."], args.record)


if __name__ == "__main__":
    main()
