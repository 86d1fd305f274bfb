"""Scores of the tokens of one text in; entities, put together in one of several ways, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sentvec.runtime.engine import Array
from sentvec.tasks.inputs import Result

STRATEGIES = ("none", "simple", "first", "average", "max")
Join = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Token:
    """One token of a text.

    Attributes:
        word: the piece of the vocabulary, or the text itself where no piece stands for it.
        scores: a share for each label, (labels,).
        start: first character.
        end: the character behind the last one.
        index: place among all that the model read.
        goes_on: whether it goes on the word before it.
    """

    word: str
    scores: Array
    start: int
    end: int
    index: int
    goes_on: bool


def entities(tokens: Sequence[Token], labels: Sequence[str], strategy: str, join: Join) -> list[Result]:
    """Put tokens together.

    Args:
        tokens: the tokens of one window, in order.
        labels: names of the labels; beginnings ``B-`` and ``I-`` say where an entity begins and goes on.
        strategy: none gives every token with its best label. The others put neighbours of one label together:
            simple by tokens; first, average and max by words, each of which gets one label before that: its first
            token's, that of the average, or that of its surest token.
        join: pieces -> text.

    Returns:
        For none: dicts of `entity`, `score`, `index`, `word`, `start`, `end`; else of `entity_group`, `score`, `word`,
        `start`, `end`.
    """
    if strategy in ("none", "simple"):
        found = [_entity([token], labels, token.scores, token.word) | {"index": token.index} for token in tokens]
        return found if strategy == "none" else _grouped(found, join)
    words: list[list[Token]] = []
    for token in tokens:
        if words and token.goes_on:
            words[-1].append(token)
        else:
            words.append([token])
    return _grouped(
        [_entity(word, labels, _scores(word, strategy), join([token.word for token in word])) for word in words], join
    )


def merged(found: Sequence[Result]) -> list[Result]:
    """Decide between entities of several windows that overlap: the longer one stays, of equals the surer one."""
    kept: list[Result] = []
    for entity in sorted(found, key=lambda one: int(one["start"])):
        if not kept or not kept[-1]["start"] <= entity["start"] < kept[-1]["end"]:
            kept.append(entity)
        elif _weight(entity) > _weight(kept[-1]):
            kept[-1] = entity
    return kept


def _weight(entity: Result) -> tuple[int, float]:
    return entity["end"] - entity["start"], entity["score"]


def _scores(word: Sequence[Token], strategy: str) -> Array:
    if strategy == "average":
        average: Array = np.mean([token.scores for token in word], axis=0)
        return average
    return word[0].scores if strategy == "first" else max(word, key=lambda token: float(token.scores.max())).scores


def _entity(tokens: Sequence[Token], labels: Sequence[str], scores: Array, word: str) -> Result:
    best = int(scores.argmax())
    found: Result = {"entity": labels[best], "score": float(scores[best]), "word": word}
    return found | {"start": tokens[0].start, "end": tokens[-1].end}


def _grouped(found: Sequence[Result], join: Join) -> list[Result]:
    groups: list[list[Result]] = []
    for entity in found:
        begins, tag = _tag(entity["entity"])
        if groups and not begins and tag == _tag(groups[-1][-1]["entity"])[1]:
            groups[-1].append(entity)
        else:
            groups.append([entity])
    return [
        {
            "entity_group": group[0]["entity"].split("-", 1)[-1],
            # not numpy's, whose call costs more than all else that happens to a group
            "score": sum(entity["score"] for entity in group) / len(group),
            "word": join([entity["word"] for entity in group]),
            "start": group[0]["start"],
            "end": group[-1]["end"],
        }
        for group in groups
    ]


def _tag(label: str) -> tuple[bool, str]:
    """Return whether a label begins an entity, and the entity's kind; one without B- or I- goes on."""
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label
