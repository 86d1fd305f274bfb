"""Measure encoding side by side: sentvec and its peers on the same texts, in turns.

    python benchmarks/encode.py [--model minilm base] [--mix en zh] [--contenders PART ...] [--texts N] [--rounds N]
                                [--resume] [--retune] [--record]

The models are the real all-MiniLM-L6-v2, and one of m3e-base's shape with random weights. Every contender has a process
of its own, and they take turns, so that a noisy machine is equally noisy for all; medians count. Before that, whoever
needs a batch size is tried with several and keeps its best. What is not installed, not offered or broken becomes a
line of the table. `--resume` goes on after the last case that an interrupted run finished. benchmarks/requirements.txt
names the peers.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS, keep, machine
from peers import CONTENDERS
from peers.setting import LENGTH, Setting
from race import Fault, Result, race, say, tune
from table import chart, table

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data"
WORK = HERE.parent / "build" / "bench"
FIRST = next(iter(CONTENDERS))
TEXTS = {"minilm": 800, "base": 150}
ROUNDS = {"minilm": 5, "base": 3}
SHORT = {"en": "How do I reset my password?", "zh": "今天天气怎么样？"}


def main() -> None:
    args = arguments()
    names = [n for n in CONTENDERS if not args.contenders or any(part in n for part in args.contenders)]
    names = list(dict.fromkeys([FIRST, *names]))  # all is stated against the first
    for model in args.model:
        texts, rounds = args.texts or TEXTS[model], args.rounds or ROUNDS[model]
        asked = {"contenders": names, "texts": texts, "rounds": rounds, "threads": args.threads}
        folder = prepared(model)
        settings = None
        for mix in args.mix:
            path = WORK / "cases" / f"{model}-{mix}.json"
            if not (args.resume and path.exists() and json.loads(path.read_text())["asked"] == asked):
                settings = settings or tuned(model, folder, names, args.threads, texts, args.retune)
                print(f"{model}, {mix}: {texts} texts, {rounds} rounds", file=sys.stderr)
                begun = time.perf_counter()
                case = run(folder, mix, settings, texts, rounds, args.limit)
                print(f"{model}, {mix}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"asked": asked, "model": model, "mix": mix, **case}, indent=1))
            case = json.loads(path.read_text())
            keep(f"encode-{model}-{mix}", table(case), args.record)
            if args.record:
                (RESULTS / f"encode-{model}-{mix}.svg").write_text(chart(case), encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=list(TEXTS), default=list(TEXTS))
    parser.add_argument("--mix", nargs="+", choices=list(SHORT), default=list(SHORT))
    parser.add_argument("--contenders", nargs="*", help=f"those whose names hold one of these, and {FIRST}")
    parser.add_argument("--texts", type=int, help=f"texts of a bulk round; otherwise by model: {TEXTS}")
    parser.add_argument("--rounds", type=int, help=f"turns of each contender; otherwise by model: {ROUNDS}")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--limit", type=float, default=20, help="seconds of a bulk round; who is slower gets fewer texts"
    )
    parser.add_argument("--resume", action="store_true", help="keep cases that an interrupted run has finished")
    parser.add_argument("--retune", action="store_true", help="try batch sizes again that an earlier run has tried")
    parser.add_argument("--record", action="store_true", help="keep tables and charts in benchmarks/results")
    return parser.parse_args()


def prepared(model: str) -> Path:
    """Write the model in the forms that contenders read, each once."""
    folder = WORK / model
    say(f"  preparing {model}")
    command = [sys.executable, "-m", "peers.prepare", model, str(folder), str(DATA)]
    log = WORK / "log" / f"prepare-{model}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        subprocess.run(command, cwd=HERE, check=True, stdout=file, stderr=file)
    return folder


def mixed(mix: str, count: int) -> list[str]:
    with (DATA / "corpora" / "throughput_mix" / f"{mix}.tsv").open(encoding="utf-8") as file:
        return [next(file).rstrip("\n").split("\t", 1)[1] for _ in range(count)]


def tuned(model: str, folder: Path, names: Sequence[str], threads: int, texts: int, again: bool) -> dict[str, Setting]:
    """Choose batch sizes and variants on half English, half Chinese; those chosen earlier are kept."""
    path = WORK / "tuned.json"
    known: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    sample = mixed("en", texts // 2) + mixed("zh", texts // 2)
    settings = {}
    for name in names:
        one = CONTENDERS[name]
        settings[name] = Setting(folder, one.precision, threads)
        if not one.installed or not one.batched:
            continue
        key = f"{model}, {name} {version(one.library)}, {threads} threads, {texts} texts"
        if again or key not in known:
            say(f"  looking for the best batch size of {name}")
            try:
                chosen, _ = tune(name, settings[name], sample, WORK / "log")
            except Fault:
                continue  # the race will ask again, and tell
            known[key] = {"batch": chosen.batch, "variant": chosen.variant}
            path.write_text(json.dumps(known, indent=1))
        settings[name] = replace(settings[name], **known[key])
    return settings


def run(folder: Path, mix: str, settings: dict[str, Setting], count: int, rounds: int, limit: float) -> dict[str, Any]:
    """Race over one mix, and sum up: all that the table and the chart say."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    texts = mixed(mix, count)
    fifty = of_tokens(tokenizer, mixed(mix, 1000), 50)
    tokenizer.enable_truncation(LENGTH)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
    singles = {f"{len(tokenizer.encode(text).ids)} tokens": text for text in (SHORT[mix], fifty)}
    missing = {name: "not installed" for name in settings if not CONTENDERS[name].installed}
    results, faults, rates = race(
        {name: setting for name, setting in settings.items() if name not in missing}, texts, lengths, singles,
        rounds=rounds, calls=7, limit=limit, log=WORK / "log",
    )  # fmt: skip
    middle = {name: statistics.median(one[name] for one in rates) for name in (rates[0] if rates else {})}
    reference = next((name for name in results if CONTENDERS[name].precision == "float32"), "")
    summed = {
        name: summary(one, settings[name], lengths, results[reference], folder, middle.get(settings[name].precision))
        for name, one in results.items()
    }
    packages = {CONTENDERS[name].library: None for name in settings if CONTENDERS[name].installed} | {"sentvec": None}
    others = ["torch", "transformers", *(p for p in packages if p != "sentvec")]
    return {
        "texts": count,
        "tokens": sum(lengths),
        "reference": reference,
        "rates": middle,
        "results": summed,
        "faults": missing | faults,
        "order": list(settings),
        "machine": machine(*(p for p in others if importlib.util.find_spec(p.replace("-", "_")))),
        "threads": next(iter(settings.values())).threads,
        "rounds": rounds,
    }


def summary(
    one: Result, setting: Setting, lengths: Sequence[int], reference: Result, folder: Path, rate: float | None
) -> dict[str, Any]:
    assert one.vectors is not None and reference.vectors is not None
    seconds = statistics.median(one.bulk)
    both = min(one.texts, reference.texts)
    cosine = (unit(one.vectors[:both]) * unit(reference.vectors[:both])).sum(1)
    flops = operations(json.loads((folder / "config.json").read_text()), lengths[: one.texts])
    return {
        "batch": setting.batch,
        "variant": setting.variant,
        "texts": one.texts,
        "tokens_per_second": sum(lengths[: one.texts]) / seconds,
        "rounds": [sum(lengths[: one.texts]) / each for each in one.bulk],
        "share": flops / seconds / 1e9 / rate if rate else None,
        "worst": float(cosine.min()),
        "mean": float(cosine.mean()),
        "peak": one.peak,
        "single": {kind: statistics.median(times) for kind, times in one.single.items()},
    }


def operations(config: dict[str, Any], lengths: Sequence[int]) -> float:
    """Floating-point operations that texts of these lengths take in matrix products, without any padding."""
    hidden, layers, between = config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]
    weights = 4 * hidden * hidden + 2 * hidden * between
    return layers * sum(2 * n * weights + 4 * n * n * hidden for n in lengths)


def of_tokens(tokenizer: Any, texts: Sequence[str], tokens: int) -> str:
    """The start of the first text that is long enough, cut so that it has this many tokens."""
    for text in texts:
        encoding = tokenizer.encode(text)
        if len(encoding.ids) > tokens:
            cut = text[: encoding.offsets[tokens - 2][1]]  # the last token but one is the last of the text
            if len(tokenizer.encode(cut).ids) == tokens:
                return cut
    raise ValueError(f"no text of {tokens} tokens")


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
