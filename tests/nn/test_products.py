"""Every product gives what torch gives, in every shape that panels and blocks end in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sentvec.nn.passes import passes
from sentvec.nn.products import SLOPES, CompiledProducts, TorchProducts
from sentvec.nn.steps import ACTS

TORCH = TorchProducts()
# 48 columns make a panel, 8 rows a tile, 2048 tokens a part of a sum
SHAPES = [(1, 16, 16), (7, 48, 64), (25, 80, 48), (64, 96, 208), (2051, 32, 96)]
NEAR = {torch.float32: {"atol": 2e-4, "rtol": 1e-5}, torch.bfloat16: {"atol": 4e-2, "rtol": 8e-3}}


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def kind(request):
    return request.param


@pytest.fixture
def own():
    found = passes()
    if found is None:
        pytest.skip("there is no C++ compiler here; the log says what was tried")
    return CompiledProducts(found._library)  # they are right on any processor, and fast on some


def case(rows, inputs, outputs, kind):
    torch.manual_seed(rows)
    linear = nn.Linear(inputs, outputs).requires_grad_(False)
    linear.weight.copy_(linear.weight.to(kind))  # rounded beforehand, the same numbers go into both
    linear.bias.copy_(linear.bias.to(kind))
    return linear, torch.randn(rows, inputs).to(kind), torch.randn(rows, outputs).to(kind)


@pytest.mark.parametrize("shape", SHAPES)
def test_products(own, kind, shape):
    linear, x, d = case(*shape, kind)
    total = torch.randn(x.shape)
    totals = total.clone(), total.clone()
    slopes = torch.randn(x.shape).to(kind)
    results = []
    for products, into in zip((own, TORCH), totals, strict=True):
        products.back_into(d, linear, into)
        results.append((
            products.linear(x, linear), products.back(d, linear), into, products.back_sloped(d, linear, slopes),
        ))  # fmt: skip
    for found, expected in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, **NEAR[kind])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("add", [(False, False), (True, False), (True, True)])
def test_gradients_of_maps(own, kind, shape, add):
    _, x, d = case(*shape, kind)
    before = torch.randn(d.shape[1], x.shape[1]), torch.randn(d.shape[1])
    matrix, bias = (y.clone() for y in before)
    own.outer(d, x, matrix, bias, *add)
    matrix -= add[0] * before[0]
    bias -= add[1] * before[1]
    torch.testing.assert_close(matrix, (d.double().t() @ x.double()).float(), atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(bias, d.double().sum(0).float(), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("products", ["own", "torch"])
def test_activations_and_their_slopes(own, kind, act, products):
    x = torch.zeros(1201, 16).to(kind)
    x[:, 0] = torch.linspace(-12, 12, 1201).to(kind)
    if kind == torch.float32:
        x[0, 0], x[1200, 0] = -1e30, 1e30
    linear = nn.Linear(16, 16).requires_grad_(False)
    linear.weight.zero_()
    linear.weight[:, 0] = 1.0
    linear.bias.zero_()
    found = (own if products == "own" else TORCH).activated(x, linear, act)
    at = x[:, :1].double().expand(-1, 16).contiguous()
    near = {"atol": 1e-6, "rtol": 1e-6} if kind == torch.float32 else {"atol": 1e-4, "rtol": 8e-3}
    torch.testing.assert_close(found[0].double(), ACTS[act](at), **near)
    # torch's own slope of gelu by tanh is not a number where the square of what goes in is none
    middle = slice(1, -1)
    expected = SLOPES[act](torch.ones_like(at), at)[middle]
    torch.testing.assert_close(found[1].double()[middle], expected, **near)
    if products == "own":
        assert found[1][0].abs().max() < 1e-4
        assert (found[1][-1].double() - 1).abs().max() < 1e-2
