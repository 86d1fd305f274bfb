"""Vectors are checked, and scaled to length one, however long or short they are."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.errors import InvalidInput, NonFiniteOutput
from sentvec.index.compact import CODES, CompactIndex
from sentvec.index.flat import FlatIndex
from sentvec.index.mining import Novelty, communities, near_pairs
from sentvec.index.rows import checked, unit


@pytest.fixture
def rows():
    return np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 1e30])
def test_the_length_has_no_say(rows, size):
    np.testing.assert_allclose(unit(rows * np.float32(size)), unit(rows), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(unit(rows * np.float32(size)), axis=1), 1, rtol=1e-6)


def test_cosines_of_huge_vectors_are_those_of_small_ones(rows):
    huge = rows * np.float32(1e30)
    np.testing.assert_allclose(near_pairs(huge).scores, near_pairs(rows).scores, atol=1e-6)
    assert len(communities(np.concatenate([huge, rows]), threshold=0.999, least=2)) == 6
    assert (Novelty(8, 0.999).look(np.concatenate([huge, rows]))[0][6:] == np.arange(6)).all()
    for index in (CompactIndex(8), CompactIndex(8, keep="bits")):
        index.add(huge)
        assert (index.search(rows, 1)[1][:, 0] == np.arange(6)).all()


def test_what_is_no_row_of_numbers_is_refused(rows):
    with pytest.raises(InvalidInput, match=r"vectors are float32 \(8,\); accepted: float32 \(n, dim\)"):
        checked(rows[0])
    with pytest.raises(InvalidInput, match=r"vectors are float64 \(6, 8\)"):
        checked(rows.astype(np.float64))
    with pytest.raises(InvalidInput, match=r"accepted: float32 \(n, 4\)"):
        checked(rows, 4)


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("code", ["int8", "bits", "float16"])
def test_no_code_hides_a_number_that_is_none(rows, code, number):
    rows[4, 3] = number
    with pytest.raises(NonFiniteOutput, match="vector 4 of 6 holds NaN or infinity"):
        CODES[code](rows)
    with pytest.raises(NonFiniteOutput, match="vector 4 of 6"):
        FlatIndex(8).add(np.arange(6), rows)


def test_float16_does_not_make_infinities(rows):
    assert np.isfinite(CODES["float16"](np.full((1, 8), 65519, np.float32))).all()
    with pytest.raises(InvalidInput, match="vector 2 holds 70000, but float16 ends at 65504. Encode with normalize"):
        CODES["float16"](np.where(np.arange(6)[:, None] == 2, 70000, rows).astype(np.float32))
