"""Codes say what they say of themselves, and a search in them finds nearly what a search in floats finds."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.index.compact import CompactIndex, as_bits, as_int8, from_int8
from sentvec.index.flat import FlatIndex


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def corpus():
    """Two thousand vectors around three hundred places, and queries near some of them."""
    random = np.random.default_rng(5)
    places = random.normal(size=(300, 64))
    rows = unit(places[random.integers(0, 300, 2000)] + 0.7 * random.normal(size=(2000, 64)))
    return rows, unit(rows[::40] + 0.05 * random.normal(size=(50, 64)))


def test_int8_codes_stand_for_nearly_the_same_vector(corpus):
    rows, queries = corpus
    codes = as_int8(rows)
    assert codes.dtype == np.int8 and codes.shape == rows.shape
    assert np.abs(from_int8(codes) - rows)[np.abs(codes) < 127].max() <= 4 / 8 / 127 / 2 + 1e-6  # half a step
    np.testing.assert_allclose(queries @ from_int8(codes).T, queries @ rows.T, atol=0.01)


def test_large_features_end_where_int8_does():
    assert as_int8(np.array([[1.0] + [0.0] * 63, [-1.0] + [0.0] * 63], np.float32))[:, 0].tolist() == [127, -127]


def test_bytes_are_refused_for_vectors_of_another_length(corpus):
    with pytest.raises(InvalidInput, match="vector 1 has length 3.000, but one scale for all needs length 1. Encode"):
        as_int8(corpus[0][:2] * np.array([[1], [3]], np.float32))
    assert not as_int8(np.zeros((1, 8), np.float32)).any()
    as_int8(corpus[0].astype(np.float16).astype(np.float32))


@pytest.mark.oracle
def test_bits_are_those_of_sentence_transformers(corpus):
    from sentence_transformers.util.quantization import quantize_embeddings

    assert np.array_equal(as_bits(corpus[0]), quantize_embeddings(corpus[0], "ubinary"))


@pytest.mark.parametrize(("keep", "least"), [("int8", 0.97), ("bits", 0.6)])
def test_a_search_in_codes_finds_nearly_the_same(corpus, keep, least):
    rows, queries = corpus
    exact, compact = FlatIndex(64), CompactIndex(64, keep=keep, candidates=32)
    exact.add(np.arange(2000), rows)
    for part in np.split(rows * 3, [1, 700]):  # of any length, in several goes
        compact.add(part)
    assert len(compact) == 2000
    wanted, (scores, found) = exact.search(queries, 5)[1], compact.search(queries, 5)
    recall = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(wanted, found, strict=True)])
    assert recall >= least
    assert (np.diff(scores, axis=1) <= 0).all()
    if keep == "int8":
        np.testing.assert_allclose(scores, np.take_along_axis(queries @ rows.T, found, 1), atol=0.01)


def test_scoring_candidates_beats_signs_alone(corpus):
    """What the codes are for: with as many candidates as answers, nothing is left but the order of signs."""
    rows, queries = corpus
    wanted = np.argsort(-(queries @ rows.T), axis=1)[:, :5]

    def recall(candidates):
        index = CompactIndex(64, candidates=candidates)
        index.add(rows)
        return np.mean([len(set(a) & set(b)) for a, b in zip(wanted, index.search(queries, 5)[1], strict=True)]) / 5

    assert recall(8) > recall(1) + 0.1


def test_fewer_vectors_than_asked_for_and_none():
    index = CompactIndex(8)
    assert [part.shape for part in index.search(np.ones((2, 8), np.float32), 3)] == [(2, 0), (2, 0)]
    index.add(np.eye(8, dtype=np.float32)[:2])
    assert index.search(np.eye(8, dtype=np.float32)[1:2], 3)[1].tolist() == [[1, 0]]


def test_equal_scores_come_in_the_order_of_places():
    index = CompactIndex(8)
    index.add(np.ones((6, 8), np.float32))
    assert index.search(np.ones((1, 8), np.float32), 3)[1].tolist() == [[0, 1, 2]]


def test_equal_scores_come_in_the_order_of_places_whatever_their_signs():
    index = CompactIndex(8)
    index.add(np.array([[1.0] * 8, [1.0] + [-1.0] * 7], np.float32))
    assert index.search(np.eye(8, dtype=np.float32)[:1], 2)[1].tolist() == [[0, 1]]


def test_what_cannot_be_is_refused():
    with pytest.raises(InvalidInput, match="dim is 12; accepted: multiples of 8"):
        CompactIndex(12)
    with pytest.raises(InvalidInput, match="keep is 'int4'; accepted: 'int8', 'bits'"):
        CompactIndex(8, keep="int4")
    with pytest.raises(InvalidInput, match="candidates is 0"):
        CompactIndex(8, candidates=0)
    index = CompactIndex(8)
    with pytest.raises(InvalidInput, match=r"vectors are float32 \(2, 4\); accepted: float32 \(n, 8\)"):
        index.add(np.ones((2, 4), np.float32))
    with pytest.raises(NonFiniteOutput, match="vector 1 of 2 holds NaN"):
        index.add(np.array([[1.0] * 8, [np.nan] * 8], np.float32))
    with pytest.raises(InvalidInput, match="k is 0"):
        index.search(np.ones((1, 8), np.float32), 0)
