"""Texts and pairs in, labels with scores out: classification, zero-shot, next sentence, multiple choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np

from sentvec.errors import HeadNotFound, InvalidInput
from sentvec.runtime.engine import Array
from sentvec.runtime.headed import HeadedModel
from sentvec.tasks.inputs import (
    Result,
    listed,
    one_of,
    plain_text,
    sigmoid,
    softmax,
    text_or_pair,
    texts_of,
    whole,
)

FUNCTIONS = ("sigmoid", "softmax", "none")


class TextClassification:
    """Says which of its labels a text, or a pair of texts, has.

    Args:
        model: a model with a head for sequence classification.
    """

    head = "sequence-classification"

    def __init__(self, model: HeadedModel) -> None:
        self.model = model

    def __call__(
        self, texts: Any, *, top_k: int | str | None = "", function_to_apply: str | None = None
    ) -> list[Any] | Result:
        """Classify.

        Args:
            texts: one or a list of str, pairs (text, text), or dicts of `text` and `text_pair`.
            top_k: how many labels to tell of each text, best first; None is all. Where it is not given, each text
                gets its best label alone, and not in a list.
            function_to_apply: sigmoid, softmax or none, instead of what the problem type asks for: nothing for
                regression, the sigmoid for several labels at once and for a single label, else the softmax.

        Returns:
            For a list: what each text gets: a dict of `label` and `score`, or a list of them where `top_k` is given.
            For one text: a list of them.

        Raises:
            InvalidInput: something is not a text, is too long, or an argument's value is not possible.
        """
        given, alone = listed(texts)
        function = self._function(function_to_apply)
        most = None if top_k is None or top_k == "" else whole(top_k, "top_k")
        logits = self.model.text_logits([text_or_pair(text, place) for place, text in enumerate(given)])
        scores = {"sigmoid": sigmoid, "softmax": softmax}.get(function, lambda x: x)(logits)
        if top_k == "":
            best = [_labelled(self.model.labels, row)[0] for row in scores]
            return best[0] if alone and not isinstance(texts, str) else best
        ranked = [_labelled(self.model.labels, row)[:most] for row in scores]
        return ranked[0] if alone else ranked

    def _function(self, asked: str | None) -> str:
        if asked is not None:
            return one_of(str(asked).lower(), FUNCTIONS, "function_to_apply")
        if self.model.problem_type == "regression":
            return "none"
        one = len(self.model.labels) == 1
        return "sigmoid" if one or self.model.problem_type == "multi_label_classification" else "softmax"


class ZeroShotClassification:
    """Says which of any labels fit a text, by asking whether the text entails a sentence about the label (Yin et al.
    2019, arXiv 1909.00161).

    Args:
        model: a model with a head for sequence classification, trained on entailment; one of its labels must begin
            with "entail".

    Raises:
        HeadNotFound: none of its labels does.
    """

    head = "sequence-classification"

    def __init__(self, model: HeadedModel) -> None:
        self.model = model
        found = [i for i, label in enumerate(model.labels) if label.lower().startswith("entail")]
        if not found or len(model.labels) < 2:
            raise HeadNotFound(
                f"{model.name} classifies texts as {', '.join(model.labels[:8])}; zero-shot classification needs a "
                "model trained on entailment, with a label that begins with 'entail' in config.json."
            )
        self.entails = found[0]

    def __call__(
        self,
        texts: Any,
        candidate_labels: str | Sequence[str],
        *,
        hypothesis_template: str = "This example is {}.",
        multi_label: bool = False,
    ) -> Any:
        """Classify.

        Args:
            texts: one str or a list of them.
            candidate_labels: the labels, as a list or with commas between them.
            hypothesis_template: the sentence about a label, with ``{}`` in the label's place.
            multi_label: whether several labels may be true at once. Then each one's score is entailment against
                contradiction, else scores sum to one.

        Returns:
            A dict of `sequence`, `labels` and `scores`, best first; a list of them for a list.

        Raises:
            InvalidInput: there is no label or one stands twice, the template has not one place for it, or a pair is
                too long.
        """
        given, alone = listed(texts)
        sequences = [plain_text(text, place) for place, text in enumerate(given)]
        labels = _candidates(candidate_labels)
        _check_template(hypothesis_template)
        sentences = [hypothesis_template.format(label) for label in labels]
        _refuse_long(self.model, [(text, sentences) for text in sequences])
        logits = self.model.text_logits([(text, sentence) for text in sequences for sentence in sentences])
        cube = logits.reshape(len(sequences), len(labels), len(self.model.labels))
        if multi_label or len(labels) == 1:
            against = -1 if self.entails == 0 else 0
            scores = softmax(cube[..., [against, self.entails]])[..., 1]
        else:
            scores = softmax(cube[..., self.entails])
        found = []
        for text, row in zip(sequences, scores, strict=True):
            order = np.argsort(row, kind="stable")[::-1]
            found.append({"sequence": text, "labels": [labels[i] for i in order], "scores": row[order].tolist()})
        return found[0] if alone else found


class NextSentence:
    """Says whether the second text of a pair goes on where the first one ends (Devlin et al. 2018).

    Args:
        model: a model with a head for next-sentence prediction.
    """

    head = "next-sentence"
    labels = ("is_next", "not_next")

    def __init__(self, model: HeadedModel) -> None:
        self.model = model

    def __call__(self, texts: Any) -> Any:
        """Judge pairs: one or a list of (text, text), or of dicts of `text` and `text_pair`.

        Returns:
            A dict of `label` and `score` for each pair; `label` is is_next or not_next.

        Raises:
            InvalidInput: something is not a pair of texts, or is too long.
        """
        given, alone = listed(texts)
        pairs = [text_or_pair(text, place) for place, text in enumerate(given)]
        for place, pair in enumerate(pairs):
            if isinstance(pair, str):
                raise InvalidInput(f"text {place} is one text; next-sentence needs a pair: (text, text).")
        found = [_labelled(self.labels, row)[0] for row in softmax(self.model.text_logits(pairs))]
        return found[0] if alone else found


class MultipleChoice:
    """Says which of several texts goes best with a prompt.

    Args:
        model: a model with a head for multiple choice.
    """

    head = "multiple-choice"

    def __init__(self, model: HeadedModel) -> None:
        self.model = model

    def __call__(self, questions: Any) -> Any:
        """Choose.

        Args:
            questions: one or a list of dicts of `prompt` and `choices`, or of tuples (prompt, choices).

        Returns:
            For each question all its choices, best first: dicts of `label` (the choice), `index` (its place) and
            `score`; scores sum to one.

        Raises:
            InvalidInput: something is not a question with choices, or is too long.
        """
        given, alone = listed(questions)
        asked = [_question(question, place) for place, question in enumerate(given)]
        _refuse_long(self.model, asked)
        logits = self.model.text_logits([(prompt, choice) for prompt, choices in asked for choice in choices])[:, 0]
        found = []
        for _, choices in asked:
            scores, logits = softmax(logits[: len(choices)]), logits[len(choices) :]
            order = np.argsort(-scores, kind="stable")
            found.append([{"label": choices[i], "index": int(i), "score": float(scores[i])} for i in order])
        return found[0] if alone else found


def _refuse_long(model: HeadedModel, asked: Sequence[tuple[str, list[str]]]) -> None:
    """Refuse by its own number a text that is too long beside its longest partner, before there are many pairs."""
    if model.engine.whole:
        sizes = {one: len(model.cut([one])[0]) for one in {one for _, others in asked for one in others}}
        model.engine.tokenize([(text, max(others, key=sizes.__getitem__)) for text, others in asked])


def _labelled(labels: Sequence[str], scores: Array) -> list[Result]:
    order = np.argsort(-scores, kind="stable")
    return [{"label": labels[i], "score": float(scores[i])} for i in order]


def _candidates(given: str | Sequence[str]) -> list[str]:
    labels = [label.strip() for label in given.split(",")] if isinstance(given, str) else texts_of(given, "label")
    labels = [label for label in labels if label]
    if not labels:
        raise InvalidInput("candidate_labels has no label; give a list of them, or a str with commas between them.")
    if twice := [label for label, times in Counter(labels).items() if times > 1]:
        raise InvalidInput(f"label {twice[0]!r} stands twice, and would get two shares of one; give each label once.")
    return labels


def _check_template(template: object) -> None:
    """Refuse a sentence that has not one place for a label, and whatever else format strings can ask for: attributes
    of objects, or padding that fills the memory."""
    try:
        parts = list(Formatter().parse(template)) if isinstance(template, str) else []
    except ValueError:  # a brace alone
        parts = []
    places = [part[1:] for part in parts if part[1] is not None]
    if places not in ([("", "", None)], [("0", "", None)]):
        raise InvalidInput(
            f"hypothesis_template is {str(template)[:80]!r}, which should be a sentence with one {{}}, for the label."
        )


def _question(given: object, place: int) -> tuple[str, list[str]]:
    if isinstance(given, Mapping) and given.keys() == {"prompt", "choices"}:
        given = (given["prompt"], given["choices"])
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):
        choices = given[1]
        if isinstance(choices, list | tuple) and choices and all(isinstance(choice, str) for choice in choices):
            return given[0], list(choices)
    raise InvalidInput(
        f"question {place} is {str(given)[:60]!r}; give {{'prompt': a str, 'choices': a list of at least one str}}."
    )
