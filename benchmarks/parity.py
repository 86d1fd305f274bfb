"""Print how near sentvec's numbers are to the reference implementations': what the tests bound, as figures.

    python benchmarks/parity.py [--record]

Small is good: the largest absolute difference of any number. Needs the dev extra and the shared data folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from machine import keep, machine

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.contracts.test_reference import EXAMPLES, real_texts  # noqa: E402 - the tests' own texts and models
from tests.models.oracle import compare, ours_from, random_batch  # noqa: E402 - as above
from tests.models.test_bert import SHAPES, bert  # noqa: E402 - as above

from sentvec import Embedder  # noqa: E402 - after the path is set


def with_minilm() -> list[str]:
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    model = Embedder.from_pretrained("sentence-transformers/all-MiniLM-L6-v2", device="cpu")
    tokenizer, encoder = AutoTokenizer.from_pretrained(model.folder), AutoModel.from_pretrained(model.folder)
    inputs = tokenizer(EXAMPLES, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = encoder(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None].float()
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1).numpy()
    first = np.abs(model.encode(EXAMPLES) - expected).max()
    texts = real_texts(ROOT.parent / "shared" / "data")
    reference = SentenceTransformer(str(model.folder), device="cpu").encode(texts, show_progress_bar=False)
    second = np.abs(model.encode(texts, progress=False) - reference).max()
    return [
        f"| all-MiniLM-L6-v2, two sentences, transformers + mean + L2 | {first:.1e} | 1e-6 |",
        f"| all-MiniLM-L6-v2, {len(texts)} real texts, sentence-transformers | {second:.1e} | 2e-6 |",
    ]


def with_shapes() -> list[str]:
    lines = [
        "| shape | number format | last hidden | any hidden | any attention map | pooler |",
        "|---|---|---|---|---|---|",
    ]
    for name, shape in SHAPES.items():
        reference = bert(*shape)
        encoder = ours_from(reference, "bert")
        texts, batch = random_batch(21128, [7, 33, 2, 33, 64], types=2)
        for dtype in (torch.float32, torch.float64):
            worst = compare(reference.to(dtype), encoder.to(dtype), texts, batch)
            figures = " | ".join(f"{worst[part]:.1e}" for part in ("last", "hidden", "attention", "pooler"))
            numbers = "x".join(map(str, shape))
            lines.append(f"| {name} ({numbers}) | {str(dtype).removeprefix('torch.')} | {figures} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="keep the tables in benchmarks/results")
    args = parser.parse_args()
    lines = ["# Parity with the reference implementations", "", "Largest absolute difference.", ""]
    lines += ["| vectors | difference | bound |", "|---|---|---|", *with_minilm(), ""]
    lines += ["Seeded random weights against `transformers.BertModel` (hidden x layers x heads x intermediate):", ""]
    lines += [*with_shapes(), "", f"Measured on {machine('torch', 'transformers', 'sentence-transformers')}."]
    keep("parity", lines, args.record)


if __name__ == "__main__":
    main()
