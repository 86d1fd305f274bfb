"""Alignment, uniformity and anisotropy are what their formulas say, written out pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from sentvec.errors import InvalidInput
from sentvec.evaluate import geometry as module
from sentvec.evaluate.geometry import alignment, geometry


def unit(rows):
    return rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)


@pytest.fixture(params=[(2, 3), (37, 5), (1500, 8)])
def rows(request):
    random = np.random.default_rng(0)
    return (random.normal(size=request.param) + 0.5).astype(np.float32)


def test_formulas(rows):
    there = unit(rows)
    first, second = np.triu_indices(len(rows), 1)
    squares = ((there[first] - there[second]) ** 2).sum(axis=1)
    found = geometry(rows)
    assert found.uniformity == pytest.approx(np.log(np.exp(-2 * squares).mean()), abs=1e-9)
    assert found.anisotropy == pytest.approx((there[first] * there[second]).sum(axis=1).mean(), abs=1e-9)
    other = rows[::-1]
    wanted = np.mean([np.linalg.norm(a - b) ** 2 for a, b in zip(there, unit(other), strict=True)])
    assert alignment(rows, other) == pytest.approx(wanted, abs=1e-9)


def test_ends_of_the_scales():
    assert geometry(np.ones((9, 4), np.float32)).anisotropy == pytest.approx(1)
    assert geometry(np.ones((9, 4), np.float32)).uniformity == pytest.approx(0, abs=1e-12)
    even = np.concatenate([np.eye(64), -np.eye(64)]).astype(np.float32)
    assert geometry(even).anisotropy == pytest.approx(-1 / 127)
    assert geometry(even).uniformity < -3.9
    assert alignment(even, even) == 0
    assert alignment(even, -even) == pytest.approx(4)


def test_a_zero_vector_is_near_to_nothing():
    assert geometry(np.array([[0, 0], [1, 0]], np.float32)).anisotropy == 0


def test_of_many_a_seeded_part_is_taken(monkeypatch):
    rows = (np.random.default_rng(1).normal(size=(3000, 6)) + 0.3).astype(np.float32)
    whole = geometry(rows)
    monkeypatch.setattr(module, "MOST", 1000)
    part = geometry(rows)
    assert part == geometry(rows)
    assert part.anisotropy == whole.anisotropy
    assert part.uniformity == pytest.approx(whole.uniformity, abs=0.03)
    assert part.uniformity != geometry(rows, seed=1).uniformity


def test_one_vector_has_no_distances():
    with pytest.raises(InvalidInput, match="1 vectors have no distances"):
        geometry(np.ones((1, 3), np.float32))
