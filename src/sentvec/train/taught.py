"""A task's file in; its texts with labels, tagged words or answered questions, and what they are in words, out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentvec.errors import InvalidInput
from sentvec.text.tokenizer import Text
from sentvec.train.batches import Kind
from sentvec.train.read import Named, read_dataset
from sentvec.train.rows import Question

_EXAMPLES = 2
_SHOWN = 8  # labels
_WIDTH = 70  # characters of a text

REGRESSION = "regression"
TASKS = ("text-classification", REGRESSION, "token-classification", "question-answering")
"""What `read_taught` reads and `train_head` learns."""


@dataclass(frozen=True)
class Labelled:
    """Texts or pairs with labels, or with scores.

    Attributes:
        texts: the texts.
        values: the number of each one's label, or its score where there are no labels.
        labels: names of the labels; none for scores.
        notes: what a user should know of them, a sentence each.
    """

    texts: Sequence[Text]
    values: Sequence[float | int]
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tagged:
    """Sentences whose words have labels.

    Attributes:
        sentences: words, and the number of each word's label.
        labels: names of the labels.
    """

    sentences: Sequence[tuple[Sequence[str], Sequence[int]]]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """Questions with their texts and answers."""

    questions: Sequence[Question]


Taught = Labelled | Tagged | Asked


def labels_of(data: Taught) -> tuple[str, ...]:
    """Return the names of the labels, where there are any."""
    return () if isinstance(data, Asked) else data.labels


def read_taught(
    task: str,
    path: Path,
    labels: Sequence[str] | None = None,
    *,
    kind: Kind | None = None,
    columns: Named | None = None,
    scores: tuple[float, float] | None = None,
    skip_bad: bool = False,
) -> Taught:
    """Read the file of a task.

    Args:
        task: text-classification (texts or pairs with labels), regression (pairs with scores), token-classification
            (words, see `read_tagged`) or question-answering (SQuAD's JSON).
        path: the file.
        labels: names of the labels in the order of their numbers, as another file had them.
        kind, columns, scores, skip_bad: of tables, as for `sentvec.train.read.read_dataset`.

    Raises:
        InvalidInput: the task is not known, or the file is not one of its own.
    """
    if task not in TASKS:
        raise InvalidInput(f"task {task!r} is not known. Known: {', '.join(TASKS)}.")
    if task == "token-classification":
        return read_tagged(path, labels)
    if task == "question-answering":
        return read_squad(path)
    found = read_dataset(
        path,
        kind=kind,
        columns=columns,
        labels=labels,
        scores=scores,
        bare_classes=task != REGRESSION,
        skip_bad=skip_bad,
    )
    wanted = ("scored",) if task == REGRESSION else ("classes", "labelled_pairs")
    if found.kind not in wanted:
        raise InvalidInput(f"{path} holds {found.kind}; {task} learns from {' or '.join(wanted)}.")
    texts: list[Text] = [
        one.texts[0] if len(one.texts) == 1 else (one.texts[0], one.texts[1]) for one in found.examples
    ]
    values = [float(str(one.value)) for one in found.examples]
    if task == REGRESSION:
        return Labelled(texts, values, notes=found.notes)
    return Labelled(texts, [int(value) for value in values], found.labels, found.notes)


def read_documents(path: Path) -> list[list[str]]:
    """Read plain text: a sentence or paragraph a line, and an empty line between documents.

    Raises:
        InvalidInput: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}).") from None
    blocks = re.split(r"\n\s*\n", text.replace("\r\n", "\n"))
    return [lines for block in blocks if (lines := [line.strip() for line in block.split("\n") if line.strip()])]


def read_tagged(path: Path, labels: Sequence[str] | None = None) -> Tagged:
    """Read a file of words, one a line with its label in the last column, and an empty line after each sentence.

    Args:
        path: the file, as of CoNLL-2003; lines that begin with -DOCSTART- are passed over.
        labels: names of the labels in the order of their numbers; None takes those that are found.

    Raises:
        InvalidInput: a line has one column only, or a label is not among `labels`.
    """
    sentences: list[tuple[list[str], list[str]]] = [([], [])]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}).") from None
    for number, line in enumerate(lines, start=1):
        cells = line.split()
        if not cells or cells[0] == "-DOCSTART-":
            if sentences[-1][0]:
                sentences.append(([], []))
            continue
        if len(cells) < 2:
            raise InvalidInput(f"{path} line {number} is {line[:60]!r}, which should be a word and its label.")
        sentences[-1][0].append(cells[0])
        sentences[-1][1].append(cells[-1])
    if not any(words for words, _ in sentences):
        raise InvalidInput(f"{path} holds no words with labels; there is nothing to learn from.")
    known = tuple(labels) if labels is not None else tuple(sorted({label for _, found in sentences for label in found}))
    numbers = {label: number for number, label in enumerate(known)}
    if unknown := {label for _, found in sentences for label in found} - numbers.keys():
        raise InvalidInput(f"{path} has the label {min(unknown)!r}, which is not known. Known: {', '.join(known)}.")
    return Tagged([(words, [numbers[one] for one in found]) for words, found in sentences if words], known)


def read_squad(path: Path) -> Asked:
    """Read a file of questions in SQuAD's JSON (Rajpurkar et al. 2016).

    Raises:
        InvalidInput: it cannot be read, or is not of that form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        found = [
            Question(
                one["question"],
                paragraph["context"],
                tuple(_placed(paragraph["context"], answer) for answer in one.get("answers", ())),
            )
            for article in content["data"]
            for paragraph in article["paragraphs"]
            for one in paragraph["qas"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is no file of questions in SQuAD's JSON ({error!r}).") from None
    if not found:
        raise InvalidInput(f"{path} holds no questions; there is nothing to learn from.")
    return Asked(found)


def _placed(context: str, answer: Mapping[str, Any]) -> tuple[str, int]:
    """Return an answer with its place, also where a set tells a wrong one, as CMRC 2018 does in two of a hundred."""
    text, start = answer["text"], int(answer["answer_start"])
    if start >= 0 and context.startswith(text, start):
        return text, start
    places = (found.start() for found in re.finditer(re.escape(text), context))
    return text, min(places, key=lambda place: abs(place - start), default=-1)


def told(taught: Taught, name: str) -> str:
    """Say what was read, so that a user can check it before training begins.

    >>> print(told(Labelled(["good", "bad"], [1, 0], ("no", "yes")), "reviews"))
    reviews: 2 texts with a label
      labels: no, yes
      example 1: 'good' -> yes
      example 2: 'bad' -> no
    """
    names = labels_of(taught)
    shown: list[str]
    if isinstance(taught, Labelled):
        what = f"{'texts' if isinstance(taught.texts[0], str) else 'pairs'} with a {'label' if names else 'score'}"
        count, notes = len(taught.texts), taught.notes
        shown = [
            f"{_short(text)} -> {names[int(value)] if names else f'{value:.3g}'}"
            for text, value in zip(taught.texts[:_EXAMPLES], taught.values, strict=False)
        ]
    elif isinstance(taught, Tagged):
        words = sum(len(labels) for _, labels in taught.sentences)
        what, count = f"sentences, whose {words:,} words have labels", len(taught.sentences)
        notes = ()
        shown = [
            _short(" ".join(f"{word}/{names[label]}" for word, label in zip(words, labels, strict=True)))
            for words, labels in taught.sentences[:_EXAMPLES]
        ]
    else:
        without = sum(not one.answers for one in taught.questions)
        lost = sum(one.lost for one in taught.questions)
        what, count, notes = "questions about texts", len(taught.questions), (f"Without an answer: {without:,}.",)
        notes += (f"Left out, as the answer is not in the text: {lost:,}.",) if lost else ()
        shown = [
            f"{_short(one.question)} -> {_short(one.answers[0][0]) if one.answers else 'no answer'}"
            for one in taught.questions[:_EXAMPLES]
        ]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    lines = [f"{name}: {count:,} {what}", *([f"  labels: {', '.join(names[:_SHOWN])}{more}"] if names else [])]
    return "\n".join(
        [*lines, *(f"  example {number}: {one}" for number, one in enumerate(shown, 1)), *(f"  {one}" for one in notes)]
    )


def _short(text: Text) -> str:
    if not isinstance(text, str):
        return " | ".join(_short(part) for part in text)
    line = " ".join(text[: 4 * _WIDTH].split())
    return repr(line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…")
