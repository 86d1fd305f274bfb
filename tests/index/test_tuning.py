"""Vectors that stand for questions promise no more than questions get, also where vectors repeat each other."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.index.kinds import build, in_blocks
from sentvec.index.rows import unit
from sentvec.index.tuning import Truth

DIM, DIFFERENT = 64, 500


def texts(count, seed):
    """Draw vectors around some centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(25, DIM))
    return unit((centres[random.integers(0, 25, count)] + 1.2 * random.normal(size=(count, DIM))).astype(np.float32))


def repeated(times):
    """Give each of some vectors several times, with noise: a repeat's cosine with it is 0.86."""
    random, rows = np.random.default_rng(3), texts(DIFFERENT, 0)
    noisy = [unit(rows + np.float32(0.6 / 8) * random.normal(size=rows.shape).astype(np.float32)) for _ in range(times)]
    vectors = np.concatenate(noisy)
    return vectors[random.permutation(len(vectors))]


QUESTIONS = texts(200, 1)


def truth_of(vectors, own):
    truth = Truth(vectors[own], own, 10, by_distance=False)
    for block in in_blocks(vectors, 1000)():
        truth.add(block)
    return truth


@pytest.mark.parametrize(("times", "likes"), [(1, 10), (5, 10), (16, 15), (30, 29)])
def test_repeats_are_counted(times, likes):
    assert truth_of(repeated(times), np.arange(200)).likes() == pytest.approx(likes, abs=times > 10)


def test_real_questions_have_no_likes():
    vectors = repeated(30)
    assert truth_of(np.concatenate([QUESTIONS, vectors]), np.full(200, -1)).likes() == 0


def test_likes_are_no_part_of_the_recall():
    vectors = texts(300, 0)
    truth = truth_of(vectors, np.arange(20))
    scores = vectors[:20] @ vectors.T
    order = np.argsort(-scores, axis=1)[:, 1:]  # without itself
    assert truth.recall(order[:, :10]) == truth.recall(order[:, 10:20], 10) == 1.0
    assert truth.recall(order[:, 10:20]) == truth.recall(order[:, :10], 10) == 0.0
    assert truth.recall(order[:, :15], 10) == 0.5
    few = truth_of(vectors[:16], np.arange(4))  # 15 others: of ten of them each counts
    assert few.recall(np.tile(np.arange(16), (4, 1)), 10) == 1.0


@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize("kind", ["ivf-flat", "hnsw"])
def test_questions_get_what_was_asked_for(times, kind, monkeypatch):
    vectors = repeated(times) if times > 1 else texts(8000, 0)
    nearest = np.argsort(-(QUESTIONS @ vectors.T), axis=1)[:, :10]

    def real():
        index = build(kind, in_blocks(vectors), len(vectors), DIM, recall=0.9)
        found, point = index.search(QUESTIONS, 10)
        assert point.recall >= 0.9
        return np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, nearest, strict=True)])

    assert real() >= 0.87
    if (times, kind) == (30, "ivf-flat"):
        monkeypatch.setattr(Truth, "likes", lambda self: 0)
        assert real() < 0.8  # as they are, vectors find their repeats, and nothing is learnt of questions
