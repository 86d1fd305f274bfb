"""Entities equal transformers' in every aggregation, over windows, in English and Chinese."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.headed import tiny
from tests.tasks.oracle import both, same

from sentvec.errors import InvalidInput
from sentvec.tasks.entities import STRATEGIES, Token, entities, merged
from sentvec.tasks.pipeline import pipeline
from sentvec.tasks.windows import windows

pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")]

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
NER = {"id2label": dict(enumerate(LABELS))}
HEAD = "ForTokenClassification"
TEXTS = [
    "the cat sat, unaffable dogs on the mat Zß €",
    "dogs",
    "你好世界, 中文猫狗!  unaffable 猫",
    "  the\tcats  sitting ",
    "a [SEP] cat",
]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_entities_equal_transformers(tmp_path: Path, family: str, strategy: str) -> None:
    ours, theirs = both(tmp_path, "ner", family, HEAD, **NER)
    texts = TEXTS if family == "bert" else TEXTS[:-1]
    found = ours(texts, aggregation_strategy=strategy)
    assert same(found, theirs(texts, aggregation_strategy=strategy))
    assert sum(map(len, found)) >= 15
    assert same(ours(texts[0], aggregation_strategy=strategy), found[0])
    every = {"aggregation_strategy": strategy, "ignore_labels": ["PER", "I-LOC"]}
    assert same(ours(texts, **every), theirs(texts, **every))
    assert ours(texts, ignore_labels="I-LOC") == ours(texts, ignore_labels=["I-LOC"])  # and not the letters of it


@pytest.mark.parametrize("stride", [0, 7, 30])
@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_windows_equal_transformers(tmp_path: Path, strategy: str, stride: int) -> None:
    ours, theirs = both(tmp_path, "ner", "bert", HEAD, **NER)
    options = {"aggregation_strategy": strategy, "stride": stride}
    for text in ("the cat sat, unaffable dogs on 你好世界 mat " * 12, "the cat sat " * 21, "the cat " * 31):
        assert same(ours([text, "dogs"], **options), [theirs(text, **options), theirs("dogs", **options)])


def test_places_are_characters_of_the_text(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", HEAD, **NER)
    text = "你好 İstanbul, the Cat 猫 sat on the MAT. " * 8
    found = pipeline("ner", tmp_path, device="cpu")(text, aggregation_strategy="simple", ignore_labels=[])
    assert found[0]["start"] == 0
    assert text[found[-1]["end"] :].strip() == ""
    for before, after in pairwise(found):
        assert before["end"] <= after["start"]


def test_too_long_without_aggregation_is_refused(tmp_path: Path) -> None:
    tiny(tmp_path, "bert", HEAD, **NER)
    ours = pipeline("ner", tmp_path, device="cpu")
    with pytest.raises(InvalidInput, match="text 1 has 82 tokens, but the model reads 64. Give aggregation_strategy="):
        ours(["dogs", "the cat " * 40])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"aggregation_strategy": "best"}, "'best' is not known. Known: none, simple, first, average, max"),
        ({"stride": -1}, "stride is -1"),
        ({"ignore_labels": None}, "ignored labels are NoneType"),
        ({"ignore_labels": [5]}, "ignored label 0 is int"),
        ({"stride": 62}, "windows of 62 tokens cannot overlap by 62"),
    ],
)
def test_what_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    tiny(tmp_path, "bert", HEAD, **NER)
    ours = pipeline("ner", tmp_path, device="cpu")
    with pytest.raises(InvalidInput, match=said):
        ours("the cat " * 40, **({"aggregation_strategy": "simple"} | options))
    assert ours([]) == []
    assert ours("") == []


def token(word: str, label: str, score: float, start: int, *, goes_on: bool = False) -> Token:
    scores = np.full(len(LABELS), (1 - score) / (len(LABELS) - 1), np.float32)
    scores[LABELS.index(label)] = score
    return Token(word, scores, start, start + len(word), start + 1, goes_on)


def test_strategies_by_hand() -> None:
    """Micro|soft, whose pieces disagree."""
    pieces = [token("micro", "B-PER", 0.6, 0), token("soft", "I-LOC", 0.9, 5, goes_on=True)]

    def groups(strategy: str) -> list[str]:
        return [one["entity_group"] for one in entities(pieces, LABELS, strategy, "".join)]

    assert groups("simple") == ["PER", "LOC"]
    assert groups("first") == ["PER"]
    assert groups("average") == ["LOC"]
    assert groups("max") == ["LOC"]
    two = [token("a", "B-PER", 0.9, 0), token("b", "B-PER", 0.9, 2), token("c", "I-PER", 0.9, 4)]
    assert [one["word"] for one in entities(two, LABELS, "simple", "".join)] == ["a", "bc"]


def test_of_entities_that_overlap_the_longer_stays() -> None:
    def entity(start: int, end: int, score: float) -> dict[str, Any]:
        return {"entity_group": "PER", "start": start, "end": end, "score": score}

    short, long, sure = entity(0, 3, 0.9), entity(2, 9, 0.5), entity(2, 9, 0.8)
    assert merged([long, short, entity(9, 12, 0.1), sure]) == [sure, entity(9, 12, 0.1)]
    assert merged([]) == []


def test_windows_cover_all() -> None:
    assert windows(0, 4, 1) == [(0, 0)]
    assert windows(4, 4, 1) == [(0, 4)]
    assert windows(5, 4, 3) == [(0, 4), (1, 5)]
    assert windows(9, 4, 0) == [(0, 4), (4, 8), (8, 9)]
