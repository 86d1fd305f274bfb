"""Token states equal transformers' feature extraction; similarity is the embedder's, or the cross-encoder's score."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.builders import add_modules, tiny_bert
from tests.headed import tiny

from sentvec import Embedder, Reranker
from sentvec.errors import InvalidInput
from sentvec.tasks.pipeline import pipeline

PAIRS = [("the cat", "dogs"), ("a", "a"), ("", "猫"), ("the cat sat on the mat", "unaffable")]


@pytest.mark.oracle
def test_features_equal_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tiny_bert(tmp_path)
    ours = pipeline("feature-extraction", tmp_path, device="cpu")
    theirs = transformers.pipeline("feature-extraction", model=str(tmp_path), device="cpu")
    texts = ["the cat sat", "", "dogs dogs 猫"]
    for one, other in zip(ours(texts), theirs(texts), strict=True):
        assert np.abs(np.array(one) - np.array(other)).max() < 1e-5
    assert np.abs(np.array(ours("the cat")) - np.array(theirs("the cat"))).max() < 1e-5


def test_similarity_of_vectors(tmp_path: Path) -> None:
    add_modules(tiny_bert(tmp_path), "Pooling", "Normalize")
    model = Embedder.from_pretrained(tmp_path, device="cpu")
    expected = [float(model.similarity(model.encode(a), model.encode(b))[0, 0]) for a, b in PAIRS]
    ours = pipeline("sentence-similarity", tmp_path, device="cpu")
    assert [one["score"] for one in ours(PAIRS)] == pytest.approx(expected, abs=1e-6)
    assert ours({"text": "the cat", "text_pair": "dogs"})["score"] == pytest.approx(expected[0], abs=1e-6)
    assert ours([]) == []


@pytest.mark.oracle
def test_similarity_of_a_cross_encoder(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    tiny(tmp_path / "one", "bert", "ForSequenceClassification", num_labels=1)
    ours = pipeline("text-similarity", tmp_path / "one", device="cpu")
    expected = Reranker.from_pretrained(tmp_path / "one", device="cpu").score(PAIRS)
    assert [one["score"] for one in ours(PAIRS)] == pytest.approx(expected.tolist(), abs=1e-6)
    tiny(tmp_path / "three", "bert", "ForSequenceClassification", num_labels=3)
    with pytest.raises(InvalidInput, match="which is no one similarity. Use the task text-classification"):
        pipeline("text-similarity", tmp_path / "three", device="cpu")


@pytest.mark.parametrize("task", ["feature-extraction", "text-similarity"])
def test_too_long_is_refused_or_told(tmp_path: Path, task: str, caplog: pytest.LogCaptureFixture) -> None:
    add_modules(tiny_bert(tmp_path), "Pooling")
    long: Any = "the cat " * 40
    given = ["dogs", long] if task == "feature-extraction" else [("a", "b"), ("dogs", long)]
    with pytest.raises(InvalidInput, match="text 1 has 82 tokens, but the model reads 64.*truncate=True"):
        pipeline(task, tmp_path, device="cpu")(given)
    with caplog.at_level(logging.WARNING, "sentvec"):
        pipeline(task, tmp_path, device="cpu", truncate=True)(given)
    assert "lost their end" in caplog.text


def test_what_is_refused(tmp_path: Path) -> None:
    add_modules(tiny_bert(tmp_path), "Pooling")
    with pytest.raises(InvalidInput, match="text 0 is one text; text-similarity needs a pair"):
        pipeline("text-similarity", tmp_path, device="cpu")("a")
    with pytest.raises(InvalidInput, match="text 1 is int"):
        pipeline("feature-extraction", tmp_path, device="cpu")(["a", 3])
