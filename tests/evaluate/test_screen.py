"""No exact similarity is further from the rough one than the error that is stated, whatever the vectors are like."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sentvec.evaluate.screen import Pairs, asked, distances, fastest, products


def vectors(kind, count, dim, seed):
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, dim, generator=random)
    if kind == "one cone":  # as of an encoder that was not trained for vectors: all cosines are near 1
        rows = rows * 0.05 + 1
    elif kind == "few large":
        rows = torch.where(torch.rand(count, dim, generator=random) < 0.05, rows * 1e4, rows * 1e-4)
    elif kind == "between":  # as far as can be from the numbers that bfloat16 has
        rows = torch.sign(rows) * (1 + 2.0**-8 - 2.0**-20)
    return rows


def everything(rough):
    queries, documents = rough.values.shape
    row, column = np.divmod(np.arange(queries * documents), documents)
    return torch.from_numpy(rough.exact(Pairs(row, column, np.full(queries, documents)))).view(queries, documents)


@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["even", "one cone", "few large", "between"])
@pytest.mark.parametrize("dim", [1, 3, 384, 1024])
def test_products_are_as_near_as_is_said(low, kind, dim):
    queries, documents = vectors(kind, 23, dim, 0), vectors(kind, 301, dim, 1)
    rough = products(asked(queries, low), documents)
    exact = queries.double() @ documents.double().T
    # rounding the result to its format is not part of the error: it keeps the order
    rounding = exact.abs() * (2.0**-8 if low == torch.bfloat16 else 2.0**-24)
    assert ((rough.values.double() - exact).abs() <= rough.error + rounding).all()
    assert ((everything(rough).double() - exact).abs() <= rough.error).all()


@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16])
def test_no_pair_that_reaches_a_bar_is_missed(low):
    for kind in ("even", "one cone", "between"):
        queries, documents = vectors(kind, 20, 64, 2), vectors(kind, 500, 64, 3)
        rough = products(asked(queries, low), documents)
        exact = everything(rough)
        for bar in (exact.sort(dim=1).values[:, -7:-6], exact.sort(dim=1).values[:, 7:8], torch.zeros(20, 1)):
            pairs = rough.reaching(bar)
            found = torch.zeros_like(exact, dtype=torch.bool)
            found[pairs.row, pairs.column] = True
            assert (found | (exact < bar)).all()
            assert (np.diff(pairs.row) >= 0).all()
            assert np.array_equal(pairs.counts, np.bincount(pairs.row, minlength=20))


def test_bars_above_zero_let_few_others_through():
    queries, documents = (torch.nn.functional.normalize(vectors("even", n, 384, n)) for n in (50, 4000))
    rough = products(asked(queries, torch.bfloat16), documents)
    bar = everything(rough).topk(100).values[:, -1:]
    assert (bar > 0).all()
    assert 5000 <= len(rough.reaching(bar).row) <= 10_000


def test_exact_products_of_equal_vectors_are_equal_wherever_they_stand():
    queries = vectors("even", 9, 100, 4)
    for count in (1, 2, 5, 17, 1001):
        documents = vectors("even", 1, 100, 5).expand(count, 100).contiguous()
        for some in (asked(queries, torch.float32), asked(queries[:1], torch.float32)):
            exact = everything(products(some, documents))
            alone = everything(products(some, documents[:1]))
            assert (exact == alone).all()


def test_distances_are_exact_at_once():
    queries, documents = vectors("even", 5, 16, 6), vectors("even", 40, 16, 7)
    rough = distances(queries, documents, "manhattan")
    assert (rough.error == 0).all()
    assert torch.equal(everything(rough), rough.values)
    torch.testing.assert_close(rough.values, -(queries[:, None] - documents).abs().sum(-1))


def test_the_fastest_format_is_one_of_two():
    assert fastest() in (torch.float32, torch.bfloat16)
