"""Measure tasks beside `Embedder.encode` on the same inputs, and beside transformers.pipeline: texts/s and tokens/s.

    python benchmarks/tasks.py [--texts N] [--rounds N] [--threads N] [--record]

The encoder is all-MiniLM-L6-v2's, with heads of seeded random weights: no answer means anything, and all the work is
there. For each task the three take turns, in alternating order, and medians count. "the encoder's speed" is how much of
the rate of `encode` is left when the task is done on the same inputs (pairs for question answering and zero-shot).
Pipelines get the fastest of three batch sizes, and texts sorted by length. How often the first answers are the same is
told as well, so that nobody is fast by being wrong.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from machine import keep, machine

from sentvec import Embedder
from sentvec.checkpoint.hub import resolve
from sentvec.tasks.pipeline import pipeline

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpora" / "throughput_mix" / "en.tsv"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LENGTH = 200  # most tokens of a text, so that no task has to cut or window it, nor a question beside it
BATCHES = (1, 8, 32)
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
QUESTION = "What is it about?"
TOPICS = ["science", "sports", "politics", "money"]
NLI = {"id2label": {0: "contradiction", 1: "neutral", 2: "entailment"}, "label2id": {"entailment": 2}}
TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
ENTITIES = {"id2label": dict(enumerate(TAGS)), "label2id": {tag: i for i, tag in enumerate(TAGS)}}


@dataclass(frozen=True)
class Task:
    """One task, and how both sides are asked to do it.

    Attributes:
        name: as both sides call it.
        ending: how the class of its head is called.
        config: changes to config.json.
        inputs: a text -> what is asked.
        options: of the call.
        read: a text -> what the encoder reads for it.
        first: one result -> its first answer, to compare.
    """

    name: str
    ending: str
    config: dict[str, Any]
    inputs: Callable[[str], Any]
    options: dict[str, Any]
    read: Callable[[str], list[Any]]
    first: Callable[[Any], Any]


def masked(text: str) -> str:
    """Put the mask in the place of the middle word."""
    words = text.split()
    return " ".join([*words[: len(words) // 2], "[MASK]", *words[len(words) // 2 + 1 :]])


TASKS = (
    Task("fill-mask", "MaskedLM", {}, masked, {}, lambda t: [masked(t)], lambda r: r[0]["token_str"]),
    Task("text-classification", "SequenceClassification", {}, str, {}, lambda t: [t], lambda r: r["label"]),
    Task(
        "ner",
        "TokenClassification",
        ENTITIES,
        str,
        {"aggregation_strategy": "simple"},
        lambda t: [t],
        lambda r: [(e["entity_group"], e["start"], e["end"]) for e in r],
    ),
    Task(
        "question-answering",
        "QuestionAnswering",
        {},
        lambda t: {"question": QUESTION, "context": t},
        {},
        lambda t: [(QUESTION, t)],
        lambda r: r["answer"],
    ),
    Task(
        "zero-shot-classification",
        "SequenceClassification",
        NLI,
        str,
        {"candidate_labels": TOPICS},
        lambda t: [(t, f"This example is {topic}.") for topic in TOPICS],
        lambda r: r["labels"][0],
    ),
)


def prepare(folder: Path, task: Task) -> None:
    """Write the model with a head for a task, drawn wide enough that answers differ."""
    source = resolve(MODEL)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    torch.manual_seed(0)
    model = getattr(transformers, f"BertFor{task.ending}").from_pretrained(source, **task.config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(("classifier.", "qa_outputs.", "cls.predictions.transform.dense")):
                parameter.copy_(torch.randn(parameter.shape))
    model.save_pretrained(folder)


def seconds(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    return clock() - begun


def turns(contenders: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Let each work once a round, forwards and backwards in turn, and return medians in seconds."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
            taken[name].append(seconds(contenders[name], clock))
    return {name: statistics.median(times) for name, times in taken.items()}


def measure(task: Task, texts: Sequence[str], rounds: int, clock: Callable[[], float]) -> str:
    """Return a task's line of the table."""
    asked = [task.inputs(text) for text in texts]
    read = [one for text in texts for one in task.read(text)]
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), task)
        encoder = Embedder.from_pretrained(MODEL, device="cpu")
        ours = pipeline(task.name, name, device="cpu")
        # since version 5 there is none for question answering
        theirs = None if task.name == "question-answering" else transformers.pipeline(task.name, name, device="cpu")
        tokens = sum(encoder.count_tokens(read))

        def rival(some: Sequence[int], batch: int) -> list[Any]:
            return list(theirs([asked[i] for i in some], batch_size=batch, **task.options))

        contenders: dict[str, Callable[[], Any]] = {
            "encode": lambda: encoder.encode(read, progress=False),
            "ours": lambda: ours(asked, **task.options),
        }
        found = ours(asked, **task.options)
        encoder.encode(read)
        beside = ["–", "–", "–"]
        if theirs is not None:
            sample = by_length[:: max(1, len(texts) // 32)]
            batch = min(BATCHES, key=lambda size: seconds(lambda: rival(sample, size), clock))
            expected = rival(by_length, batch)
            same = sum(task.first(found[i]) == task.first(one) for i, one in zip(by_length, expected, strict=True))
            contenders["theirs"] = lambda: rival(by_length, batch)
        taken = turns(contenders, rounds, clock)
        if theirs is not None:
            beside = [
                f"{tokens / taken['theirs']:,.0f} (batches of {batch})",
                f"{taken['theirs'] / taken['ours']:.1f} ×",
                f"{100 * same / len(texts):.1f} %",
            ]
    return (
        f"| {task.name} | {len(texts) / taken['ours']:,.0f} | {tokens / taken['ours']:,.0f} | "
        f"{tokens / taken['encode']:,.0f} | {100 * taken['encode'] / taken['ours']:.0f} % | {' | '.join(beside)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor is fairer where others are at work")
    parser.add_argument("--tasks", nargs="+", default=[task.name for task in TASKS])
    parser.add_argument("--record", action="store_true", help="keep the table in benchmarks/results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("sentvec").setLevel(logging.ERROR)
    rows = DATA.read_text(encoding="utf-8").splitlines()
    counter = Embedder.from_pretrained(MODEL, device="cpu")
    texts = [text for row in rows[: 2 * args.texts] if len((text := row.split("\t")[-1]).split()) > 2]
    sizes = counter.count_tokens(texts)
    texts = [text for text, size in zip(texts, sizes, strict=True) if size <= LENGTH][: args.texts]
    lines = [
        "# Tasks at the encoder's speed",
        "",
        f"{MODEL.split('/')[1]}'s encoder with random heads, float32, {args.threads} threads, {len(texts)} English "
        f"texts of at most {LENGTH} tokens; medians of {args.rounds} rounds in turns, in seconds of {args.clock} time.",
        "",
        "| task | texts/s | tokens/s | `encode`, tokens/s | the encoder's speed | transformers.pipeline, tokens/s | "
        "ours is | same first answer |",
        "|---" * 8 + "|",
    ]
    for task in TASKS:
        if task.name in args.tasks:
            lines.append(measure(task, texts, args.rounds, CLOCKS[args.clock]))
            print(lines[-1], flush=True)
    lines += ["", f"Measured on {machine('torch', 'transformers')}."]
    keep("tasks", lines, args.record)


if __name__ == "__main__":
    main()
