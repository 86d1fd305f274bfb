"""What is near in a set, held to all scores at once and to sentence-transformers; memory does not hold all scores."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.index import mining
from sentvec.index.mining import Novelty, communities, near_pairs


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(mining, "BLOCK", 16)


@pytest.fixture
def vectors():
    """Seventy vectors around ten places, of different lengths."""
    random = np.random.default_rng(3)
    places = random.normal(size=(10, 24))
    rows = places[random.integers(0, 10, 70)] + 0.45 * random.normal(size=(70, 24))
    return (rows * random.uniform(0.1, 9, size=(70, 1))).astype(np.float32)


def cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("most", [1, 7, 100, 10_000])
def test_pairs_are_the_nearest_of_all(vectors, most):
    scores = cosines(vectors)
    left, right = np.triu_indices(70, 1)
    order = np.lexsort((right, left, -scores[left, right]))[:most]
    found = near_pairs(vectors, most=most)
    assert len(found) == min(most, 70 * 69 // 2)
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == set(
        zip(left[order].tolist(), right[order].tolist(), strict=True)
    )
    np.testing.assert_allclose(found.scores, scores[left, right][order], atol=1e-6)


def test_pairs_below_the_threshold_are_left_out(vectors):
    found = near_pairs(vectors, threshold=0.6)
    assert len(found) == int(np.triu(cosines(vectors) >= 0.6, 1).sum()) > 0
    assert found.scores.min() >= 0.6 and (np.diff(found.scores) <= 0).all()
    assert (found.left < found.right).all()


def test_equal_scores_come_in_the_order_of_rows():
    found = near_pairs(np.ones((5, 3), np.float32), most=4)
    assert list(zip(found.left, found.right, strict=True)) == [(0, 1), (0, 2), (0, 3), (0, 4)]


@pytest.mark.oracle
@pytest.mark.parametrize(("threshold", "least"), [(0.75, 2), (0.6, 3), (0.3, 5), (0.9, 1)])
def test_communities_are_those_of_sentence_transformers(vectors, threshold, least):
    from sentence_transformers.util import community_detection

    theirs = community_detection(vectors, threshold=threshold, min_community_size=least)
    ours = communities(vectors, threshold=threshold, least=least)
    assert sorted(map(sorted, theirs)) == sorted(sorted(group.tolist()) for group in ours)
    assert [len(group) for group in ours] == sorted(map(len, theirs), reverse=True)


def test_a_community_begins_with_its_centre(vectors):
    scores = cosines(vectors)
    first = communities(vectors, threshold=0.7, least=4)[0]
    assert (scores[first[0], first] >= 0.7).all()
    assert (np.diff(scores[first[0], first]) <= 1e-6).all()


def by_hand(vectors, threshold):
    """Keep each vector that is not near one that was kept before it."""
    scores, kept, like = cosines(vectors), [], []
    for row in range(len(vectors)):
        best = max(kept, key=lambda other: scores[row, other], default=None)
        repeated = best is not None and scores[row, best] >= threshold
        like.append(best if repeated else -1)
        kept += [] if repeated else [row]
    return like


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.75, 0.95])
@pytest.mark.parametrize("parts", [[70], [1, 0, 30, 39]])
def test_new_vectors_are_far_from_all_that_were_new_before(vectors, threshold, parts):
    novelty = Novelty(24, threshold)
    found = [novelty.look(part) for part in np.split(vectors, np.cumsum(parts)[:-1])]
    assert np.concatenate([like for like, _ in found]).tolist() == by_hand(vectors, threshold)


def test_the_cosine_to_what_is_repeated_is_told(vectors):
    like, nearest = Novelty(24, 0.75).look(vectors)
    scores = cosines(vectors)
    repeats = np.flatnonzero(like >= 0)
    assert len(repeats)
    np.testing.assert_allclose(nearest[repeats], scores[repeats, like[repeats]], atol=1e-6)
    assert nearest[0] == -1 and (nearest[like < 0] < 0.75).all()


def test_a_cosine_of_one_is_reached_by_equal_vectors():
    # of many widths, as it is by rounding that a vector is not quite as near itself as it could be
    for width in range(3, 60):
        rows = np.random.default_rng(width).normal(size=(3, width)).astype(np.float32).repeat(2, axis=0)
        assert sorted(near_pairs(rows, threshold=1).left.tolist()) == [0, 2, 4]
        assert sorted(map(sorted, communities(rows, threshold=1, least=2))) == [[0, 1], [2, 3], [4, 5]]
        assert Novelty(width, 1).look(rows)[0].tolist() == [-1, 0, -1, 2, -1, 4]


def test_nothing_in_nothing_out():
    none = np.zeros((0, 4), np.float32)
    assert len(near_pairs(none)) == 0
    assert communities(none) == []
    assert len(Novelty(4, 0.9).look(none)[0]) == 0


def test_zero_vectors_are_near_nothing():
    assert len(near_pairs(np.zeros((3, 4), np.float32), threshold=0.5)) == 0


def test_many_equal_vectors_do_not_fill_the_memory(monkeypatch):
    """Of 4950 pairs of equal score, no more than a few times as many are held as are asked for."""
    sizes = []
    best = mining._best
    monkeypatch.setattr(mining, "_best", lambda found, most: sizes.append(sum(map(len, found))) or best(found, most))
    assert len(near_pairs(np.ones((100, 4), np.float32), most=50)) == 50
    assert max(sizes) <= 2 * 50 + 16 * 16


@pytest.mark.parametrize("call", [near_pairs, communities, lambda v, **o: Novelty(4, **o).look(v)])
def test_what_cannot_be_is_refused(call):
    good = np.ones((3, 4), np.float32)
    with pytest.raises(InvalidInput, match="threshold is 2, which should be a cosine"):
        call(good, threshold=2)
    with pytest.raises(NonFiniteOutput, match="vector 1 of 3 holds NaN"):
        call(np.where([[0], [1], [0]], np.nan, good).astype(np.float32), threshold=0.5)
    with pytest.raises(InvalidInput, match=r"vectors are float64 \(3, 4\)"):
        call(good.astype(np.float64), threshold=0.5)


def test_impossible_numbers_are_refused():
    with pytest.raises(InvalidInput, match="most is 0"):
        near_pairs(np.ones((3, 4), np.float32), most=0)
    with pytest.raises(InvalidInput, match=r"vectors are float32 \(3, 4\); accepted: float32 \(n, 5\)"):
        Novelty(5, 0.9).look(np.ones((3, 4), np.float32))
    with pytest.raises(InvalidInput, match="least is 0"):
        communities(np.ones((3, 4), np.float32), least=0)
