"""Labels of words, or answers, found and wanted, in; how well they agree, as the field counts it, out."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WIDE = re.compile("[\u3000-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")


def entities(labels: Sequence[str]) -> set[tuple[str, int, int]]:
    """Return (kind, first, last) of the entities of a sentence, labelled by IOB1, IOB2 or IOBES, as conlleval counts.

    >>> sorted(entities(["I-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-ORG"]))
    [('LOC', 3, 3), ('LOC', 4, 4), ('ORG', 5, 5), ('PER', 0, 1)]
    """
    found: set[tuple[str, int, int]] = set()
    kind, first = "", 0
    ended = True
    for place, label in enumerate([*labels, "O"]):
        sign, _, name = label.partition("-")
        goes_on = not ended and name == kind and sign in ("I", "E")
        if not goes_on and kind:
            found.add((kind, first, place - 1))
            kind = ""
        if not goes_on and label != "O":
            kind, first = name or label, place
        ended = label == "O" or sign in ("E", "S")
    return found


def entity_f1(found: Sequence[Sequence[str]], wanted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return precision, recall and F1 of entities: right is the kind with both ends (Tjong Kim Sang & De Meulder 2003).

    >>> entity_f1([["B-PER", "O"]], [["B-PER", "B-LOC"]])["f1"]
    0.6666666666666666
    """
    pairs = [(entities(a), entities(b)) for a, b in zip(found, wanted, strict=True)]
    right = sum(len(a & b) for a, b in pairs)
    told, there = sum(len(a) for a, _ in pairs), sum(len(b) for _, b in pairs)
    precision, recall = right / max(told, 1), right / max(there, 1)
    return {"f1": 2 * right / max(told + there, 1), "precision": precision, "recall": recall}


def answer_scores(found: Sequence[str], wanted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the share of exact answers, and the mean F1 of their words (Rajpurkar et al. 2016, section 6.1).

    Of several answers that are right, the nearest counts. Chinese and Japanese letters count as words.
    """
    exact = f1 = 0.0
    for told, rights in zip(found, wanted, strict=True):
        words = _words(told)
        best = [_overlap(words, _words(right)) for right in rights] or [float(not words)]
        f1 += max(best)
        exact += any(_words(right) == words for right in rights) if rights else float(not words)
    count = max(len(wanted), 1)
    return {"f1": f1 / count, "exact": exact / count}


def _overlap(found: list[str], wanted: list[str]) -> float:
    if not found or not wanted:
        return float(found == wanted)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted))


def _words(text: str) -> list[str]:
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return _WIDE.sub(lambda letter: f" {letter[0]} ", _ARTICLES.sub(" ", kept)).split()
