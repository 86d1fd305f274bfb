"""Measure bulk encoding side by side: sentvec and its peers on the same texts, in turns.

    python benchmarks/encode.py [--rounds N] [--texts N] [--language en|zh] [--shape minilm|base] [--record]

Every contender has a process of its own, loads its model, encodes a warm-up, and waits. Then they take turns, so
that a noisy machine is equally noisy for all; medians count. Peers that are not installed are left out and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing as mp
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import keep, machine

MIX = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora" / "throughput_mix"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
Encode = Callable[[list[str]], np.ndarray]


def sentvec_in(precision: str) -> Callable[[str], Encode]:
    def load(folder: str) -> Encode:
        from sentvec import Embedder

        model = Embedder.from_pretrained(folder, precision=precision, device="cpu")
        return lambda texts: model.encode(texts, progress=False)

    return load


def sentence_transformers_in(precision: str) -> Callable[[str], Encode]:
    def load(folder: str) -> Encode:
        import torch
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": getattr(torch, precision)})
        return lambda texts: model.encode(texts, batch_size=32, show_progress_bar=False)

    return load


CONTENDERS: dict[str, tuple[str, Callable[[str], Encode]]] = {
    "sentence-transformers float32": ("sentence_transformers", sentence_transformers_in("float32")),
    "sentence-transformers bfloat16": ("sentence_transformers", sentence_transformers_in("bfloat16")),
    "sentvec float32": ("sentvec", sentvec_in("float32")),
    "sentvec bfloat16": ("sentvec", sentvec_in("bfloat16")),
}


def work(name: str, folder: str, texts: list[str], pipe: mp.connection.Connection) -> None:
    import warnings

    warnings.simplefilter("ignore")
    try:
        encode = CONTENDERS[name][1](folder)
        encode(texts[:200])
    except Exception as error:  # a peer that cannot run is a line in the table, not the end of it
        pipe.send(f"{type(error).__name__}: {str(error).splitlines()[0][:80]}")
        return
    pipe.send(None)
    vectors = None
    while pipe.recv():
        begun = time.perf_counter()
        vectors = encode(texts)
        pipe.send(time.perf_counter() - begun)
    pipe.send((np.asarray(vectors, np.float32), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def race(names: list[str], folder: str, texts: list[str], rounds: int) -> tuple[dict, dict, dict]:
    """Return seconds of each round, (vectors, peak MiB), and faults, by contender."""
    context = mp.get_context("spawn")
    pipes, processes, faults = {}, {}, {}
    for name in names:
        pipes[name], child = context.Pipe()
        processes[name] = context.Process(target=work, args=(name, folder, texts, child))
        processes[name].start()
        if (fault := pipes[name].recv()) is not None:  # one after the other: loading must not disturb loading
            faults[name] = fault
    running = [name for name in names if name not in faults]
    seconds: dict[str, list[float]] = {name: [] for name in running}
    for i in range(rounds):
        for name in running if i % 2 == 0 else running[::-1]:
            pipes[name].send(True)
            seconds[name].append(pipes[name].recv())
    ends = {}
    for name in running:
        pipes[name].send(False)
        ends[name] = pipes[name].recv()
    for process in processes.values():
        process.join()
    return seconds, ends, faults


def base_folder(into: Path) -> str:
    """Write a model of m3e-base's shape with seeded random weights: 12 layers, 768 wide, BERT's Chinese vocabulary."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=21128)
    transformers.BertModel(config).save_pretrained(into)
    (into / "vocab.txt").write_bytes((MIX.parents[1] / "tokenizers/bert-base-chinese/vocab.txt").read_bytes())
    (into / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "model_max_length": 256}')
    return str(into)


def gemm_rate(dtype: str) -> float:
    """GFLOP/s of the matrix product that takes most of MiniLM's time: 4,096 tokens, 384 to 1,536."""
    import torch

    x, w = (torch.randn(shape).to(getattr(torch, dtype)) for shape in ((4096, 384), (1536, 384)))
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        torch.nn.functional.linear(x, w)
        times.append(time.perf_counter() - begun)
    return 2 * 4096 * 384 * 1536 / min(times) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=3000)
    parser.add_argument("--language", choices=["en", "zh"], default="en")
    parser.add_argument("--shape", choices=["minilm", "base"], default="minilm")
    parser.add_argument("--only", nargs="*", help="contenders whose names hold one of these")
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    with (MIX / f"{args.language}.tsv").open(encoding="utf-8") as file:
        texts = [next(file).rstrip("\n").split("\t", 1)[1] for _ in range(args.texts)]

    from sentvec import Embedder

    names = [n for n, (package, _) in CONTENDERS.items() if importlib.util.find_spec(package)]
    if args.only:
        names = [n for n in names if any(part in n for part in args.only)]
    with tempfile.TemporaryDirectory() as scratch:
        model = Embedder.from_pretrained(base_folder(Path(scratch)) if args.shape == "base" else MINILM, device="cpu")
        folder = str(model.folder)
        tokens = sum(min(n, model.max_seq_length) for n in model.count_tokens(texts))
        reference = model.encode(texts, normalize=True)
        seconds, ends, faults = race(names, folder, texts, args.rounds)
    first = statistics.median(next(iter(seconds.values())))
    lines = [
        f"# Bulk encoding: {args.shape}, {args.language}",
        "",
        f"{len(texts)} texts, {tokens} tokens (mean {tokens / len(texts):.0f}), at most {model.max_seq_length} a text; "
        f"{args.rounds} rounds in turns, medians.",
        "",
        "| contender | tokens/s | against the first | worst cosine | mean cosine | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, times in seconds.items():
        vectors, peak = ends[name]
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = (vectors * reference).sum(1)
        median = statistics.median(times)
        lines.append(
            f"| {name} | {tokens / median:,.0f} | {first / median:.2f} | {cosine.min():.5f} | {cosine.mean():.5f} "
            f"| {peak:,.0f} |"
        )
    lines += [f"| {name} | did not run: {fault} | | | | |" for name, fault in faults.items()]
    rates = ", ".join(f"{dtype} {gemm_rate(dtype):,.0f}" for dtype in ("float32", "bfloat16"))
    packages = [
        p for p in ("torch", "transformers", "sentence-transformers") if importlib.util.find_spec(p.replace("-", "_"))
    ]
    lines += ["", f"Matrix products run at, in GFLOP/s: {rates}.", f"Measured on {machine(*packages)}."]
    keep(f"encode-{args.shape}-{args.language}", lines, args.record)


if __name__ == "__main__":
    main()
