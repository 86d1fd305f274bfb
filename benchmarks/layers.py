"""Score every layer of a model under every pooling on STS-B: Spearman x 100, all layers from one pass over the texts.

python benchmarks/layers.py [--model NAME] [--data FOLDER] [--record]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from machine import keep, machine

from sentvec import Embedder
from sentvec.cli.pairs import read_pairs
from sentvec.inspect.layers import layer_study

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def table(model: Embedder, path: Path) -> list[str]:
    """Return the study of one file as lines of Markdown, the best score in bold."""
    pairs, scores = read_pairs(path)
    found = layer_study(model, pairs, scores)
    best = found.best()
    lines = [f"## {path.name}, {found.pairs:,} pairs", "", f"| layer | {' | '.join(found.poolings)} |"]
    lines.append("|---" * (1 + len(found.poolings)) + "|")
    for layer, row in enumerate(found.table.tolist()):
        cells = [
            "–" if math.isnan(score) else f"**{score:.2f}**" if (layer, name) == best else f"{score:.2f}"
            for name, score in zip(found.poolings, row, strict=True)
        ]
        lines.append(f"| {layer or 'embeddings'} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"The model itself: {found.whole:.2f}.",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    model = Embedder.from_pretrained(args.model)
    lines = ["# Which layer, which pooling", "", f"Spearman × 100, {args.model}.", ""]
    for name in ("stsb/stsb-en-test.csv", "sick/SICK_trial.txt"):
        lines += table(model, args.data / "sts" / name)
    lines += [f"Measured on {machine('torch')}; {torch.get_num_threads()} threads."]
    keep(f"layers-{args.model.rsplit('/', 1)[-1].split('-')[1].lower()}", lines, args.record)


if __name__ == "__main__":
    main()
