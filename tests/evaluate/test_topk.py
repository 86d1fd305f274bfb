"""The best k are those of a full sort, ties by name, however the documents are cut into blocks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.cli.running import environment

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.evaluate import topk
from sentvec.evaluate.topk import TopK
from sentvec.ops.similarity import similarity


def sorted_in_full(queries, documents, order, k, kind):
    """Return names by a plain sort; similarities in double precision, of numbers that have no rounding."""
    a, b = torch.from_numpy(queries).double(), torch.from_numpy(documents).double()
    scores = similarity(kind)(a, b).numpy()
    return np.array([order[np.lexsort((order, -row))[:k]] for row in scores])


def streamed(queries, documents, order, k, kind, cuts=()):
    top = TopK(queries, k, kind)
    for rows, names in zip(np.split(documents, cuts), np.split(order, cuts), strict=True):
        top.add(rows, names)
    return top.best()


@pytest.fixture(params=["float32", "bfloat16"])
def low(request, monkeypatch):
    monkeypatch.setattr(topk, "fastest", lambda: getattr(torch, request.param))


@pytest.mark.parametrize("kind", ["dot", "manhattan"])
@pytest.mark.parametrize(
    ("documents", "queries", "k", "dim"),
    [(50, 3, 10, 8), (5000, 40, 7, 16), (4200, 1030, 9, 4), (5, 2, 10, 3), (4097, 1, 100, 5), (300, 5, 300, 3)],
)
@pytest.mark.usefixtures("low")
def test_whole_numbers_with_many_ties_are_ranked_as_by_a_full_sort(kind, documents, queries, k, dim):
    random = np.random.default_rng(documents)
    rows = random.integers(-2, 3, (documents, dim)).astype(np.float32)
    asked = random.integers(-2, 3, (queries, dim)).astype(np.float32)
    order = random.permutation(documents)
    wanted = sorted_in_full(asked, rows, order, k, kind)
    for cuts in ((), (1, 2, 3), (documents // 3, documents // 2), (documents - 1,)):
        scores, names = streamed(asked, rows, order, k, kind, cuts)
        assert np.array_equal(names, wanted)
        assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("centre", [0.0, 3.0])  # at 3.0 all vectors lie in a cone, and bfloat16 tells hardly any apart
@pytest.mark.usefixtures("low")
def test_real_numbers_are_ranked_as_by_a_full_sort(kind, centre):
    random = np.random.default_rng(1)
    rows = (random.normal(size=(9000, 96)) + centre).astype(np.float32)
    asked = (random.normal(size=(70, 96)) + centre).astype(np.float32)
    order = random.permutation(9000)
    scores, names = streamed(asked, rows, order, 30, kind, (5000,))
    place = np.argsort(order)
    exact = similarity(kind)(torch.from_numpy(asked).double(), torch.from_numpy(rows).double()).numpy()
    best = -np.sort(-exact, axis=1)[:, :30]
    scale = np.abs(best).max()
    np.testing.assert_allclose(scores, best, atol=1e-6 * scale)
    np.testing.assert_allclose(np.take_along_axis(exact, place[names], axis=1), best, atol=1e-6 * scale)
    assert all(len(set(row)) == 30 for row in names.tolist())


@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean", "manhattan"])
def test_equal_vectors_are_ordered_by_name_in_whatever_block_they_stand(kind):
    """A matrix product gives its last columns other last bits than the others, which must not be seen."""
    random = np.random.default_rng(2)
    rows = np.repeat(random.normal(size=(40, 33)).astype(np.float32), 5, axis=0)
    copies = np.repeat(np.arange(40), 5)
    for seed in range(6):
        mixed = np.random.default_rng(seed).permutation(200)
        cuts = np.sort(np.random.default_rng(seed).choice(np.arange(1, 200), 9, replace=False))
        _, names = streamed(rows[::50], rows[mixed], mixed, 25, kind, cuts)
        groups = copies[names].reshape(4, 5, 5)
        assert (groups == groups[:, :, :1]).all()  # five equal vectors follow each other
        assert (np.diff(names.reshape(4, 5, 5), axis=2) == 1).all()  # in the order of their names


def test_a_corpus_of_one_text_over_and_over():
    rows = np.ones((9001, 7), np.float32)
    _, names = streamed(rows[:3], rows, np.arange(9001)[::-1].copy(), 4, "cosine", (4000,))
    assert names.tolist() == [[0, 1, 2, 3]] * 3


def test_fewer_documents_than_k_and_none():
    rows = np.eye(3, dtype=np.float32)
    scores, names = streamed(rows, rows, np.arange(3), 10, "cosine")
    assert names.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1]]
    assert scores.tolist() == [[1, 0, 0]] * 3
    assert TopK(rows, 2).best()[0].shape == (3, 0)
    assert streamed(rows[:0], rows, np.arange(3), 2, "cosine")[1].shape == (0, 2)


def test_what_cannot_be_ranked_is_refused_with_its_place():
    rows = np.ones((5000, 4), np.float32)
    broken = rows.copy()
    broken[4500, 2] = np.nan
    top = TopK(rows[:2], 3)
    top.add(rows[:100], np.arange(100))
    with pytest.raises(NonFiniteOutput, match="document 4600 holds NaN"):
        top.add(broken, np.arange(5000))
    with pytest.raises(NonFiniteOutput, match="query 1 holds NaN"):
        TopK(np.array([[1, 1], [np.inf, 1]], np.float32), 3)
    with pytest.raises(NonFiniteOutput, match="query 0 is too long for float32"):
        streamed(rows[:1] * 1e25, rows, np.arange(5000), 3, "dot")
    assert np.isfinite(streamed(rows[:1] * 9e18, rows * 9e18, np.arange(5000), 3, "dot")[0]).all()
    with pytest.raises(InvalidInput, match=r"\(5, 3\); accepted: \(n, 4\)"):
        top.add(np.ones((5, 3), np.float32), np.arange(5))
    with pytest.raises(InvalidInput, match="k is 0"):
        TopK(rows, 0)
    with pytest.raises(InvalidInput, match="'hamming' is not known"):
        TopK(rows, 1, "hamming")


MEMORY = """
import resource
import numpy as np
from sentvec.evaluate.topk import TopK
random = np.random.default_rng(0)
def block():
    return random.normal(size=(20_000, 64)).astype(np.float32)
top = TopK(random.normal(size=(200, 64)).astype(np.float32), 50)
top.add(block(), np.arange(20_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for place in range(1, 40):
    top.add(block(), np.arange(20_000 * place, 20_000 * (place + 1)))
top.best()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_memory_does_not_grow_with_the_documents():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, env=environment(), check=True)
    assert float(done.stdout) < 30  # MiB; the vectors alone would be 200
