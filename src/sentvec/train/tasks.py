"""A task's files in; a model with a head, trained on them, in a folder out: the whole job in one call."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sentvec.checkpoint.headed import Headed, load_headed
from sentvec.errors import ConfigError, HeadNotFound, InvalidInput
from sentvec.ops.rank import spearman
from sentvec.runtime.headed import HeadedModel
from sentvec.runtime.origin import Origin
from sentvec.tasks.answer import QuestionAnswering
from sentvec.text.tokenizer import Text
from sentvec.train.config import TrainConfig
from sentvec.train.heads import IGNORED, HeadLearner, new_headed
from sentvec.train.loop import Judge, Trained, check_folder, train
from sentvec.train.pretrain import MaskedSource, Masking
from sentvec.train.read import read_dataset
from sentvec.train.rows import Question, RowSource, question_rows, text_rows, word_rows
from sentvec.train.spans import answer_scores, entity_f1

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
    """

    texts: Sequence[Text]
    values: Sequence[float | int]
    labels: tuple[str, ...] = ()


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


def train_head(
    origin: Origin,
    data: Taught,
    folder: Path,
    config: TrainConfig,
    *,
    held_back: Taught | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: bool | None = None,
) -> Trained:
    """Put a new head on an encoder and train both.

    Args:
        origin: the model, from `sentvec.runtime.origin.find`.
        data: what is learnt.
        folder: where the model goes; see `sentvec.train.loop.train`.
        config: settings; `loss` is given by the task.
        held_back: what the model is scored on during training, of the same kind; the best is kept.
        device: auto, cpu, cuda …
        resume: go on with the run in `folder`, if there is one.
        progress: see `sentvec.progress.track`.

    Raises:
        InvalidInput: there is nothing to learn from, or `held_back` is of another kind or has other labels.
        ModelError, OutputError, NonFiniteOutput: see `new_headed` and `sentvec.train.loop.train`.
    """
    if held_back is not None and (type(held_back) is not type(data) or _labels(held_back) != _labels(data)):
        raise InvalidInput("what is held back is of another kind than what is learnt, or has other labels.")
    check_folder(folder, resume, origin.folder)
    labels = _labels(data)
    problem = REGRESSION if isinstance(data, Labelled) and not labels else None
    task = {Labelled: "sequence-classification", Tagged: "token-classification", Asked: "question-answering"}[
        type(data)
    ]
    names = labels or (("score",) if problem else ("start", "end"))
    headed = new_headed(origin.folder, task, names, problem_type=problem, seed=config.seed)
    recipe, tokenizer = headed.checkpoint.recipe, headed.checkpoint.tokenizer
    limit = min(
        origin.changes.get("max_seq_length", recipe.max_seq_length), headed.checkpoint.encoder.config.max_tokens
    )
    if isinstance(data, Labelled):
        rows = text_rows(data.texts, data.values, tokenizer, limit)
    elif isinstance(data, Tagged):
        rows = word_rows(data.sentences, tokenizer, limit)
    else:
        rows = question_rows(data.questions, tokenizer, limit)
    found = hashlib.sha256()
    for tokens, target in rows:
        found.update(repr((tokens.ids, target.tolist())).encode())
    learner = HeadLearner(headed, config, device=device)
    return train(
        learner,
        RowSource(task, rows, batch_size=config.batch_size, seed=config.seed, team=learner.team),
        folder,
        config,
        judge=None if held_back is None else judge_of(held_back),
        made_from={"model": origin.name, "data": found.hexdigest()},
        resume=resume,
        progress=progress,
    )


def train_masked(
    origin: Origin,
    documents: Sequence[Sequence[str]],
    folder: Path,
    config: TrainConfig,
    *,
    masking: Masking | None = None,
    pairs: str | None = None,
    device: str = "auto",
    resume: bool = False,
    progress: bool | None = None,
) -> Trained:
    """Go on with pre-training on plain text: masked words, and pairs of passages where they are asked for.

    Args:
        origin: the model; its head for masked words is kept where it has one.
        documents: each a list of sentences or paragraphs.
        folder: where the model goes; see `sentvec.train.loop.train`.
        config: settings; `loss` is given by the task.
        masking: what is masked.
        pairs: None, "nsp" or "sop"; see `sentvec.train.pretrain`.
        device, resume, progress: as for `train_head`.

    Raises:
        InvalidInput: there is nothing to learn from.
        ModelError, OutputError, NonFiniteOutput: see `new_headed` and `sentvec.train.loop.train`.
    """
    check_folder(folder, resume, origin.folder)
    task = "masked-lm" if pairs is None else "pre-training"
    try:
        headed = load_headed(origin.folder, task)
    except (HeadNotFound, ConfigError):  # an encoder alone, or an embedder
        headed = new_headed(origin.folder, task, seed=config.seed)
    learner = HeadLearner(headed, config, device=device)
    heads = tuple(headed.heads)
    limit = origin.changes.get("max_seq_length", headed.checkpoint.recipe.max_seq_length)
    source = MaskedSource(
        documents,
        headed.checkpoint.tokenizer,
        limit,
        batch_size=config.batch_size,
        seed=config.seed,
        masking=masking,
        pairs=pairs,
        heads=(heads[0], heads[-1]),
        team=learner.team,
    )
    found = hashlib.sha256(repr(documents).encode("utf-8", "surrogatepass")).hexdigest()
    made_from = {"model": origin.name, "data": found, "masking": str(masking), "pairs": str(pairs)}
    return train(learner, source, folder, config, made_from=made_from, resume=resume, progress=progress)


def judge_of(data: Taught) -> Judge[Headed]:
    """Return what scores a model on labelled data: accuracy, correlation, F1 of entities, or F1 of answers."""

    def judge(headed: Headed) -> Mapping[str, float]:
        model = HeadedModel(headed, name="the model in training", device="cpu")
        return _SCORES[type(data)](model, data)

    return judge


def _text_scores(model: HeadedModel, data: Labelled) -> dict[str, float]:
    logits = model.text_logits(data.texts, progress=False)
    wanted = np.array(data.values)
    if not data.labels:
        return {"spearman": float(spearman(torch.tensor(logits[:, 0]), torch.tensor(wanted)))}
    found = logits.argmax(axis=1)
    f1 = [_f1(found == i, wanted == i) for i in range(len(data.labels)) if (wanted == i).any()]
    return {"accuracy": float((found == wanted).mean()), "macro_f1": float(np.mean(f1))}


def _f1(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(2 * (found & wanted).sum() / max(found.sum() + wanted.sum(), 1))


def _word_scores(model: HeadedModel, data: Tagged) -> dict[str, float]:
    rows = word_rows(data.sentences, model.engine.tokenizer, model.max_seq_length)
    head = model.head
    values = model.token_values(
        [tokens for tokens, _ in rows],
        len(data.labels),
        lambda states, batch: head(states, batch, model.encoder),
        progress=False,
    )
    found: list[str] = []
    for (_, targets), logits in zip(rows, values, strict=True):
        found += [data.labels[i] for i in logits.argmax(axis=1)[targets.numpy() != IGNORED]]
    wanted = [[data.labels[i] for i in labels] for _, labels in data.sentences]
    words = iter(found)
    return entity_f1([[next(words) for _ in labels] for labels in wanted], wanted)


def _answer_scores(model: HeadedModel, data: Asked) -> dict[str, float]:
    asked = [(one.question, one.context) for one in data.questions]
    found = QuestionAnswering(model)(asked, handle_impossible_answer=any(not one.answers for one in data.questions))
    wanted = [[text for text, _ in one.answers] for one in data.questions]
    return answer_scores([one["answer"] for one in found], wanted)


_SCORES: dict[type, Callable[..., dict[str, float]]] = {
    Labelled: _text_scores,
    Tagged: _word_scores,
    Asked: _answer_scores,
}


def _labels(data: Taught) -> tuple[str, ...]:
    return () if isinstance(data, Asked) else data.labels


def read_taught(task: str, path: Path, labels: Sequence[str] | None = None, *, skip_bad: bool = False) -> Taught:
    """Read the file of a task.

    Args:
        task: text-classification (texts or pairs with labels), regression (pairs with scores), token-classification
            (words, see `read_tagged`) or question-answering (SQuAD's JSON).
        path: the file.
        labels: names of the labels in the order of their numbers, as another file had them.
        skip_bad: leave out rows that cannot be used.

    Raises:
        InvalidInput: the task is not known, or the file is not one of its own.
    """
    if task not in TASKS:
        raise InvalidInput(f"task {task!r} is not known. Known: {', '.join(TASKS)}.")
    if task == "token-classification":
        return read_tagged(path, labels)
    if task == "question-answering":
        return read_squad(path)
    found = read_dataset(path, labels=labels, skip_bad=skip_bad)
    wanted = ("scored",) if task == REGRESSION else ("classes", "labelled_pairs")
    if found.kind not in wanted:
        raise InvalidInput(f"{path} holds {found.kind}; {task} learns from {' or '.join(wanted)}.")
    texts: list[Text] = [
        one.texts[0] if len(one.texts) == 1 else (one.texts[0], one.texts[1]) for one in found.examples
    ]
    values = [float(str(one.value)) for one in found.examples]
    if task == REGRESSION:
        return Labelled(texts, values)
    names = found.labels or tuple(str(number) for number in range(int(max(values)) + 1))
    return Labelled(texts, [int(value) for value in values], names)


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
        return Asked(
            [
                Question(
                    one["question"],
                    paragraph["context"],
                    tuple((answer["text"], int(answer["answer_start"])) for answer in one.get("answers", ())),
                )
                for article in content["data"]
                for paragraph in article["paragraphs"]
                for one in paragraph["qas"]
            ]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is no file of questions in SQuAD's JSON ({error!r}).") from None
