"""A task's files in; a model with a head, trained on them, in a folder out: the whole job in one call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from sentvec.checkpoint.headed import Headed, load_headed
from sentvec.checkpoint.save import special_tokens
from sentvec.errors import ConfigError, HeadNotFound, InvalidInput
from sentvec.ops.rank import spearman
from sentvec.runtime.headed import HeadedModel
from sentvec.runtime.origin import Origin
from sentvec.tasks.answer import QuestionAnswering
from sentvec.train.card import Learnt, solving
from sentvec.train.config import TrainConfig, refuse
from sentvec.train.heads import IGNORED, HeadLearner, limited, new_headed
from sentvec.train.loop import Judge, Trained, check_folder, train
from sentvec.train.pretrain import MaskedSource, Masking
from sentvec.train.rows import RowSource, question_rows, text_rows, word_rows
from sentvec.train.run import tell_of
from sentvec.train.spans import answer_scores, entity_f1
from sentvec.train.taught import REGRESSION, Asked, Labelled, Tagged, Taught, labels_of

_OTHERS = ("loss", "loss_options", "matryoshka", "inner_layers", "prompts", "mine_every", "teacher")


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
    if held_back is not None and (type(held_back) is not type(data) or labels_of(held_back) != labels_of(data)):
        raise InvalidInput("what is held back is of another kind than what is learnt, or has other labels.")
    check_folder(folder, resume, origin.folder)
    refuse(config, _OTHERS, "no setting of this task")
    labels = labels_of(data)
    if len(labels) == 1:
        raise InvalidInput(f"all rows have the label {labels[0]!r}; there is nothing to tell apart.")
    problem = REGRESSION if isinstance(data, Labelled) and not labels else None
    task = {Labelled: "sequence-classification", Tagged: "token-classification", Asked: "question-answering"}[
        type(data)
    ]
    names = labels or (("score",) if problem else ("start", "end"))
    headed = new_headed(origin.folder, task, names, problem_type=problem, seed=config.seed)
    headed = limited(headed, origin.changes.get("max_seq_length"))
    limit, tokenizer = headed.checkpoint.recipe.max_seq_length, headed.checkpoint.tokenizer
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
    trained = train(
        learner,
        RowSource(task, rows, batch_size=config.batch_size, seed=config.seed, team=learner.team),
        folder,
        config,
        judge=None if held_back is None else judge_of(held_back),
        made_from={"model": origin.name, "data": found.hexdigest()},
        resume=resume,
        progress=progress,
    )
    job, kind, count = _told(data)
    loss = "mean squared error" if problem else "cross-entropy"
    use = solving(job, labels=len(labels))
    tell_of(origin, [Learnt(_named(config), kind, count, loss)], config, trained, {}, use)
    return trained


def _told(data: Taught) -> tuple[str, str, int]:
    """Return what a head for some data is for, what the examples are, and how many there are."""
    if isinstance(data, Tagged):
        return "token-classification", "sentences with labelled words", len(data.sentences)
    if isinstance(data, Asked):
        return "question-answering", "questions with texts", len(data.questions)
    if not data.labels:
        return "regression", "pairs with scores", len(data.texts)
    if isinstance(data.texts[0], str):
        return "text-classification", "classes", len(data.texts)
    return "pairs", "labelled pairs", len(data.texts)


def _named(config: TrainConfig) -> str:
    return Path(config.data[0].path).stem if config.data else "rows"


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
    refuse(config, _OTHERS, "no setting of this task")
    task = "masked-lm" if pairs is None else "pre-training"
    try:
        headed = load_headed(origin.folder, task)
    except (HeadNotFound, ConfigError):  # an encoder alone, or an embedder
        headed = new_headed(origin.folder, task, seed=config.seed)
    learner = HeadLearner(headed, config, device=device)
    heads = tuple(headed.heads)
    limit = limited(headed, origin.changes.get("max_seq_length")).checkpoint.recipe.max_seq_length
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
    trained = train(learner, source, folder, config, made_from=made_from, resume=resume, progress=progress)
    learnt = Learnt(_named(config), "documents", len(documents), "masked words" + (f", {pairs}" if pairs else ""))
    mask = special_tokens(headed.checkpoint).get("mask_token", "[MASK]")
    tell_of(origin, [learnt], config, trained, {}, solving("fill-mask", mask=mask))
    return trained


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
