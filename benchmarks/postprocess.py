"""Measure what maps fitted on texts do to STS scores, and how well calibrated similarities are.

    python benchmarks/postprocess.py [--data FOLDER] [--record]

all-MiniLM-L6-v2 as it was trained, its last token states pooled in ways that it was not trained for, and the mean of
an inner layer, which is as weak as an encoder that never learnt to compare sentences: BERT-base has 59.0 on STS-B
without a map and 68.2 with whitening (Su et al. 2021). Maps are fitted on the sentences of the STS-B training set
("other") or on those that are compared ("own", which the papers call "target"; labels are never used).
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import keep, machine
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.isotonic import IsotonicRegression

from sentvec import Embedder
from sentvec.batch import PackedBatch
from sentvec.nn.probe import Probe
from sentvec.ops.affine import POSTPROCESSINGS, moments
from sentvec.ops.calibration import calibration
from sentvec.ops.pooling import POOLINGS
from sentvec.ops.postprocess import normalize
from sentvec.runtime.engine import Engine
from sentvec.runtime.fitting import FLOW
from sentvec.runtime.flow import fit_flow
from sentvec.runtime.jobs import text_job

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
INNER = 4
LEVELS = ("mean, as trained", "[CLS]", "first-last mean", f"mean of layer {INNER} of 6")
MAPS = (
    ("whitening, 256", "whitening", 256),
    ("whitening, all", "whitening", None),
    ("PCA, 256", "pca", 256),
    ("all-but-the-top", "all_but_the_top", None),
    ("standardised", "standardisation", None),
    ("flow", FLOW, None),
)
RESAMPLES = 1000
RELATED = 3.0  # of 5: people said "roughly equivalent" or more
Array = NDArray[np.float64]
Array32 = NDArray[np.float32]
Pairs = tuple[list[str], list[str], Array]


def stsb(path: Path) -> Pairs:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return [row[0] for row in rows], [row[1] for row in rows], np.array([float(row[2]) for row in rows])


def sick(path: Path) -> Pairs:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    scores = np.array([float(row["relatedness_score"]) for row in rows])
    return [row["sentence_A"] for row in rows], [row["sentence_B"] for row in rows], scores


def spearman(guessed: Array, wanted: Array) -> float:
    return float(np.corrcoef(rankdata(guessed), rankdata(wanted))[0, 1]) * 100


def drawn(size: int, score: Callable[[NDArray[np.int64]], Array]) -> Array:
    """Score a thousand draws of the pairs, with replacement: (resamples, ...)."""
    random = np.random.default_rng(0)
    return np.array([score(random.integers(0, size, size)) for _ in range(RESAMPLES)])


def cosines(left: Array, right: Array) -> Array:
    left, right = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right))
    return (left * right).sum(axis=1)


def levels(model: Embedder, texts: list[str]) -> Array32:
    """Encode texts once, and pool them in all ways: (levels, texts, hidden)."""

    def forward(batch: PackedBatch) -> torch.Tensor:
        probe = Probe(layers=(1, INNER))
        last = model.encoder(batch, probe=probe)
        ends, offsets = torch.stack([probe.hidden_states[1], last]), batch.offsets
        return torch.cat(
            [
                normalize(POOLINGS["mean"](last, offsets)),
                POOLINGS["first"](last, offsets),
                POOLINGS["first_last_mean"](ends, offsets),
                POOLINGS["mean"](probe.hidden_states[INNER], offsets),
            ],
            dim=-1,
        )

    hidden = model.encoder.config.hidden
    engine = Engine(model.tokenizer, model.recipe, model.device)
    found = np.concatenate(list(engine.run(texts, text_job(forward, len(LEVELS) * hidden), progress=False)))
    return np.ascontiguousarray(found.reshape(len(texts), len(LEVELS), hidden).transpose(1, 0, 2))


def fitted(kind: str, vectors: Array32, dim: int | None) -> Callable[[Array32], Array]:
    """Fit as `Embedder.fit_postprocessing` does, and return what applies the map."""
    if kind == FLOW:
        flow = fit_flow(torch.from_numpy(vectors))
        return lambda rows: flow(torch.from_numpy(rows)).detach().double().numpy()
    found = POSTPROCESSINGS[kind](moments(torch.from_numpy(vectors)), dim)
    weight, bias = found.weight.numpy(), found.bias.numpy()
    return lambda rows: rows @ weight.T + bias


def all_fitted(vectors: Array32) -> dict[str, Callable[[Array32], Array]]:
    return {label: fitted(kind, vectors, dim) for label, kind, dim in MAPS}


def sts_table(data: Path) -> list[str]:
    train = stsb(data / "sts" / "stsb" / "stsb-en-train.csv")
    sets = {
        "STS-B test": stsb(data / "sts" / "stsb" / "stsb-en-test.csv"),
        "SICK train": sick(data / "sts" / "sick" / "SICK_train.txt"),
    }
    other = sorted({*train[0], *train[1]})
    model = Embedder.from_pretrained(MODEL)
    of_other = [all_fitted(vectors) for vectors in levels(model, other)]
    lines: list[str] = []
    for name, (left, right, wanted) in sets.items():
        own = sorted({*left, *right})
        place = {text: at for at, text in enumerate(own)}
        a, b = ([place[text] for text in side] for side in (left, right))
        for told, by_other, vectors in zip(LEVELS, of_other, levels(model, own), strict=True):
            columns = {"raw": cosines(vectors[a].astype(np.float64), vectors[b].astype(np.float64))}
            for texts, maps in (("other", by_other), ("own", all_fitted(vectors))):
                for label, move in maps.items():
                    moved = move(vectors)
                    columns[f"{label} ({texts})"] = cosines(moved[a], moved[b])
            lines += _rows(f"{told}, {name}", columns, wanted)
    return lines


def _rows(told: str, columns: dict[str, Array], wanted: Array) -> list[str]:
    guesses = list(columns.values())
    draws = drawn(len(wanted), lambda at: np.array([spearman(guess[at], wanted[at]) for guess in guesses]))
    lines = []
    for number, (label, guess) in enumerate(columns.items()):
        low, high = np.percentile(draws[:, number], [2.5, 97.5])
        line = f"| {told} | {label} | {spearman(guess, wanted):.2f} | {low:.2f} to {high:.2f} |"
        if number:
            change = spearman(guess, wanted) - spearman(guesses[0], wanted)
            low, high = np.percentile(draws[:, number] - draws[:, 0], [2.5, 97.5])
            verdict = "better" if low > 0 else "worse" if high < 0 else "no clear change"
            line += f" {change:+.2f} ({low:+.2f} to {high:+.2f}) | {verdict} |"
        else:
            line += " | |"
        lines.append(line)
    return lines


def calibration_table(data: Path) -> list[str]:
    """Fit on STS-B's training pairs, look at its test pairs."""
    model = Embedder.from_pretrained(MODEL)

    def scored(name: str) -> tuple[Array, Array]:
        left, right, scores = stsb(data / "sts" / "stsb" / f"stsb-en-{name}.csv")
        return cosines(model.encode(left), model.encode(right)), (scores >= RELATED).astype(np.float64)

    train, labels = scored("train")
    test, truth = scored("test")
    fitted = calibration(torch.from_numpy(train), torch.from_numpy(labels))
    isotonic = IsotonicRegression(out_of_bounds="clip", y_min=0.001, y_max=0.999).fit(train, labels)
    guesses = {
        "raw cosine, as if it were a probability": test.clip(0.001, 0.999),
        "logistic (ours)": fitted.probability(torch.from_numpy(test)).numpy(),
        "isotonic (scikit-learn)": isotonic.predict(test),
    }
    lines = ["| probability | log loss | calibration error |", "|---|---|---|"]
    for told, guess in guesses.items():
        loss = -np.mean(truth * np.log(guess) + (1 - truth) * np.log(1 - guess))
        bins = np.digitize(guess, np.linspace(0, 1, 11)[1:-1])
        error = sum(abs(guess[bins == i].sum() - truth[bins == i].sum()) for i in range(10)) / len(truth)
        lines.append(f"| {told} | {loss:.3f} | {error:.3f} |")
    words = model.encode(["happy", "stone"])
    cosine = float(model.similarity(words[0], words[1])[0, 0])
    meant = float(fitted.probability(torch.tensor(cosine)))
    lines += ["", f'"happy" and "stone" have cosine {cosine:.3f} and probability {meant:.3f}.', ""]
    lines += ["| threshold | precision | recall | F1 |", "|---|---|---|---|"]
    for told, threshold in (("0.5", 0.5), ("0.8", 0.8), (f"chosen on train: {fitted.threshold:.3f}", fitted.threshold)):
        called = test >= threshold
        hits = (called * truth).sum()
        precision, recall = hits / max(called.sum(), 1), hits / truth.sum()
        f1 = 2 * precision * recall / (precision + recall)
        lines.append(f"| {told} | {precision:.3f} | {recall:.3f} | {f1:.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--record", action="store_true", help="keep the tables in benchmarks/results")
    args = parser.parse_args()
    begun = time.perf_counter()
    lines = ["# What fitted maps do to STS scores", ""]
    lines += [
        "Spearman x 100 of cosines over all pairs at once, with the 95 % interval of a thousand bootstrap draws; the "
        "change is to raw, on the same draws. `other`: fitted on the STS-B training sentences; `own`: on the sentences "
        "that are compared, without their scores.",
        "",
        "| vectors, set | map | Spearman | interval | change to raw | |",
        "|---|---|---|---|---|---|",
        *sts_table(args.data),
        "",
        "## Probabilities",
        "",
        f"Fitted on STS-B's training pairs, measured on its test pairs; related is {RELATED:g} of 5 or more. The "
        "calibration error is the mean distance of probability and share, over ten bins.",
        "",
        *calibration_table(args.data),
    ]
    lines += ["", f"{time.perf_counter() - begun:.0f} s in all, on {machine('torch', 'scipy', 'scikit-learn')}."]
    keep("postprocess", lines, args.record)


if __name__ == "__main__":
    main()
