"""Spearman's correlation equals scipy's, ties included."""

from __future__ import annotations

import math

import pytest
import torch

from sentvec.ops.rank import ranks, spearman

scipy_stats = pytest.importorskip("scipy.stats", reason="scipy is not installed (`make install`)")


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_it_equals_scipy(levels):
    a = torch.randint(0, levels, (3, 200)).double()
    b = torch.randint(0, levels, (200,)).double()
    expected = [scipy_stats.spearmanr(row, b).statistic for row in a]
    torch.testing.assert_close(spearman(a, b), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(ranks(b), torch.from_numpy(scipy_stats.rankdata(b)))


def test_a_row_without_an_order_has_no_correlation():
    assert math.isnan(spearman(torch.ones(4), torch.arange(4.0)))
