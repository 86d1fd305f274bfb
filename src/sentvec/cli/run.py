"""`sentvec run`: a task, a model and texts in, one line of JSON for each text out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Annotated, Any

import typer

from sentvec.cli.common import Device, Offline, json_line
from sentvec.cli.rows import read_texts
from sentvec.errors import InvalidInput

_ROWS = 8192  # texts that are run together; results of earlier ones are printed meanwhile
_NEEDS_PAIR = ("next-sentence", "question-answering", "text-similarity", "sentence-similarity")
_MAY_PAIR = (*_NEEDS_PAIR, "text-classification", "sentiment-analysis")
# our options -> the tasks that take them, and what those call them
_TAKEN: dict[str, dict[str, str]] = {
    "top_k": dict.fromkeys(("fill-mask", "text-classification", "sentiment-analysis", "question-answering"), "top_k"),
    "target": {"fill-mask": "targets"},
    "label": {"zero-shot-classification": "candidate_labels"},
    "template": {"zero-shot-classification": "hypothesis_template"},
    "multi_label": {"zero-shot-classification": "multi_label"},
    "aggregation": dict.fromkeys(("token-classification", "ner"), "aggregation_strategy"),
    "stride": {"token-classification": "stride", "ner": "stride", "question-answering": "doc_stride"},
    "no_answer": {"question-answering": "handle_impossible_answer"},
    "choice": {"multiple-choice": "choices"},
}


def run(
    task: Annotated[str, typer.Argument(help="fill-mask, text-classification, ner, question-answering …")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; - or none: stdin, one a line.")] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A folder, or a repository on the Hugging Face Hub.")
    ] = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A text, .jsonl, .csv or .tsv file.")] = None,
    field: Annotated[str, typer.Option(help="Field or column that holds the text, or the question.")] = "text",
    pair: Annotated[str | None, typer.Option(help="Second text for every text, or context for every question.")] = None,
    pair_field: Annotated[str | None, typer.Option(help="Field or column that holds the second text.")] = None,
    top_k: Annotated[int | None, typer.Option(help="How many labels, tokens or answers.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="fill-mask: choose among these words.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="zero-shot-classification: a label; several times.")] = None,
    template: Annotated[str | None, typer.Option(help="zero-shot-classification: sentence with {} in it.")] = None,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="zero-shot: several may be true.")] = False,
    aggregation: Annotated[str | None, typer.Option(help="ner: none, simple, first, average or max.")] = None,
    stride: Annotated[int | None, typer.Option(help="ner, question-answering: tokens that windows share.")] = None,
    no_answer: Annotated[bool, typer.Option("--no-answer", help="question-answering: none is possible.")] = False,
    choice: Annotated[list[str] | None, typer.Option(help="multiple-choice: a choice; several times.")] = None,
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16 or int8.")] = "float32",
    max_length: Annotated[int | None, typer.Option(help="Most tokens of an input.")] = None,
    truncate: Annotated[bool, typer.Option("--truncate", help="Cut what is too long, and say so.")] = False,
    device: Device = "auto",
    local_files_only: Offline = False,
) -> None:
    """Run a task on texts; each gives one line, an object with "text" and "result".

    Tasks: fill-mask, text-classification (sentiment-analysis), zero-shot-classification, token-classification (ner),
    question-answering, multiple-choice, next-sentence, text-similarity, feature-extraction.
    """
    given = {"top_k": top_k, "target": target, "label": label, "template": template, "aggregation": aggregation}
    given |= {"stride": stride, "choice": choice, "multi_label": multi_label or None, "no_answer": no_answer or None}
    options = _options(task, given)
    if not model:
        raise InvalidInput("name a model with --model; it must have a head for the task.")
    source = _Source(texts or [], file, field, pair, pair_field)
    source.check(task)
    choices = options.pop("choices", None)
    from sentvec.tasks.pipeline import pipeline

    do = pipeline(
        task,
        model,
        precision=precision,
        device=device,
        local_files_only=local_files_only,
        max_seq_length=max_length,
        truncate=truncate,
    )
    rows = source.rows()
    while some := list(islice(rows, _ROWS)):
        inputs: list[Any] = [text if second is None else (text, second) for text, second in some]
        if choices is not None:
            inputs = [{"prompt": text, "choices": choices} for text, _ in some]
        for (text, second), result in zip(some, do(inputs, **options), strict=True):
            shown = {"text": text} | ({} if second is None else {"pair": second})
            typer.echo(json_line(shown | {"result": result}))


def _options(task: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return what was given under the task's own names, and refuse what it does not take."""
    options = {}
    for name, value in given.items():
        if not value and value != 0:
            continue
        tasks = _TAKEN[name]
        if task not in tasks:
            raise InvalidInput(f"--{name.replace('_', '-')} is for {', '.join(tasks)}, not for {task}.")
        options[tasks[task]] = value
    for name, known in (("label", "zero-shot-classification"), ("choice", "multiple-choice")):
        if task == known and _TAKEN[name][known] not in options:
            raise InvalidInput(f"{known} needs --{name}, once for each.")
    return options


@dataclass(frozen=True)
class _Source:
    """Where texts come from."""

    texts: list[str]
    file: Path | None
    field: str
    pair: str | None
    pair_field: str | None

    def check(self, task: str) -> None:
        """Refuse what cannot be, before a model is loaded."""
        if self.texts and self.file is not None:
            raise InvalidInput("give texts, or --file, not both.")
        if self.pair is not None and self.pair_field is not None:
            raise InvalidInput("give --pair or --pair-field, not both.")
        if self.pair_field is not None and (self.file is None or str(self.file) == "-"):
            raise InvalidInput("--pair-field names a field of --file, which is not given.")
        paired = self.pair is not None or self.pair_field is not None
        if task in _NEEDS_PAIR and not paired:
            raise InvalidInput(f"{task} takes two texts; give the second one with --pair or --pair-field.")
        if paired and task not in _MAY_PAIR:
            raise InvalidInput(f"--pair is for {', '.join(_MAY_PAIR)}, not for {task}.")

    def rows(self) -> Iterator[tuple[str, str | None]]:
        """Yield texts, each with its second one where there is one."""
        if self.texts and self.texts != ["-"]:
            firsts: Iterable[str] = self.texts
        else:
            firsts = read_texts(self.file, self.field)
        if self.pair_field is None:
            return zip(firsts, repeat(self.pair), strict=False)
        return zip(firsts, read_texts(self.file, self.pair_field), strict=True)
