"""Every step gives what its statement in torch gives, compiled or not, for every kind of number."""

from __future__ import annotations

import pytest
import torch
from tests.nn.stacks import LENGTHS, batch_of, states_of
from torch.nn import functional

from sentvec.nn.compiled import compiled
from sentvec.nn.kernels import reference
from sentvec.nn.steps import ACTS, EagerSteps, Norm, Product, quantise

EAGER = EagerSteps()
KINDS = ["float32", "bfloat16", "int32"]
# float32 to its own rounding; bfloat16 to one of its steps, for sums come in another order; int32 leaves float32
NEAR = {"float32": {"atol": 3e-6, "rtol": 1e-6}, "bfloat16": {"atol": 1e-2, "rtol": 8e-3}}


@pytest.fixture(scope="module")
def steps():
    found = compiled()
    if found is None:
        pytest.skip("there is no C++ compiler here; the log says what was tried")
    return found


def product_of(kind, rows, width, seed=1, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator) * spread
    if kind != "int32":
        return Product(x.to(getattr(torch, kind)))
    columns = torch.rand(width, generator=generator) * 1e-2 + 1e-3
    scales = torch.rand(rows, generator=generator) + 0.5
    bias = torch.randn(width, generator=generator)
    return Product((x / columns / scales[:, None]).round().int(), scales, columns, bias)


def near(kind):
    return NEAR["bfloat16" if kind == "bfloat16" else "float32"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("heads", "head_dim"), [(2, 32), (3, 16), (1, 64), (2, 48), (1, 128)])
def test_attention(steps, kind, heads, head_dim):
    batch = batch_of()
    product = product_of(kind, sum(LENGTHS), 3 * heads * head_dim)
    expected = EAGER.attend(product, batch, heads)
    found = steps.attend(product, batch, heads)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, **near(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spare", [0, 3])
@pytest.mark.parametrize(("heads", "head_dim"), [(2, 32), (3, 16)])
def test_attention_with_what_distances_add(steps, kind, spare, heads, head_dim):
    batch = batch_of()
    product = product_of(kind, sum(LENGTHS), 3 * heads * head_dim)
    line = torch.randn(heads, 2 * (max(LENGTHS) + spare) - 1, generator=torch.Generator().manual_seed(5))
    line = line.to(torch.bfloat16 if kind == "bfloat16" else torch.float32)
    expected = EAGER.attend(product, batch, heads, line)
    torch.testing.assert_close(steps.attend(product, batch, heads, line), expected, **near(kind))
    assert not torch.allclose(expected, EAGER.attend(product, batch, heads), atol=0.1)


def test_attention_in_float32_is_as_exact_as_torch(steps):
    batch = batch_of()
    product = product_of("float32", sum(LENGTHS), 3 * 64, spread=3.0)
    q, k, v = product.data.double().view(-1, 3, 2, 32).unbind(1)
    exact = reference(q, k, v, batch.lengths).reshape(-1, 64)
    found, torchs = (abs(one.attend(product, batch, 2).double() - exact).max() for one in (steps, EAGER))
    assert found < 1.5 * torchs


def test_attention_of_far_apart_scores_neither_overflows_nor_fades(steps):
    batch = batch_of((40,))
    product = product_of("float32", 40, 3 * 32, spread=60.0)
    torch.testing.assert_close(steps.attend(product, batch, 1), EAGER.attend(product, batch, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [16, 64, 384])
def test_add_and_norm(steps, kind, width):
    rows = 37
    product = product_of(kind, rows, width)
    generator = torch.Generator().manual_seed(3)
    norm = Norm(torch.randn(width, generator=generator), torch.randn(width, generator=generator), 1e-12)
    states = torch.randn(rows, width, generator=generator).to(torch.bfloat16 if kind == "bfloat16" else torch.float32)
    for (found, operand), (expected, wanted) in [
        (steps.add_norm(product, states, norm), EAGER.add_norm(product, states, norm))
    ]:
        torch.testing.assert_close(found, expected, **(near(kind) | {"atol": near(kind)["atol"] * 3}))
        same_operand(operand, wanted, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ACTS)
def test_activations(steps, kind, name):
    product = product_of(kind, 37, 144, spread=3.0)
    same_operand(steps.act(product, name), EAGER.act(product, name), kind)


@pytest.mark.parametrize("name", ACTS)
def test_activations_far_from_zero(steps, name):
    x = torch.cat([torch.linspace(-12, 12, 4096), torch.tensor([1e4, -1e4, 1e30, -1e30, 0.0, -0.0] * 8)]).view(-1, 16)
    expected = ACTS[name](x.double())
    found = steps.act(Product(x), name).data.double()
    assert ((found - expected).abs() <= 1e-6 + 1e-6 * expected.abs()).all()


def same_operand(found, expected, kind):
    if kind != "int32":
        torch.testing.assert_close(found.data, expected.data, **near(kind))
        return
    torch.testing.assert_close(found.rows, expected.rows, atol=0, rtol=1e-5)
    # a number half-way between two steps may fall to either side
    assert (found.data.int() - expected.data.int()).abs().max() <= 1
    assert (found.data != expected.data).float().mean() < 0.01


def test_int8_of_rows(steps):
    x = states_of(batch_of(), 64)
    x[3] = 0
    x[5] *= 1e-30
    same_operand(steps.operand(x, True), quantise(x), "int32")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_what_is_not_finite_stays_so(steps, kind, bad):
    batch = batch_of((20, 3))
    product = product_of(kind, 23, 3 * 32)
    product.data[4, 40] = bad  # a key of the first text
    found = steps.attend(product, batch, 1).float()
    expected = EAGER.attend(product, batch, 1).float()
    assert not torch.isfinite(expected).all()
    assert torch.equal(torch.isfinite(found), torch.isfinite(expected))
    wide = product_of(kind, 3, 32)
    wide.data[1, 7] = bad
    assert not torch.isfinite(steps.act(wide, "gelu_tanh").data[1]).all() or bad < 0
    assert torch.isfinite(steps.act(wide, "gelu").data[[0, 2]].float()).all()


@pytest.mark.parametrize("bits", [0x7FC00001, 0x7F800001, 0x7FFFFFFF, -1])
def test_every_nan_stays_one(steps, bits):
    product = product_of("float32", 23, 3 * 32)
    product.data.view(torch.int32)[4, 40] = bits  # a key of the first text
    found = steps.attend(product, batch_of((20, 3)), 1)
    assert torch.isnan(found[:20]).all()
    assert torch.isfinite(found[20:]).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_int8_of_what_is_not_finite_has_no_scale(steps, bad):
    x = torch.ones(3, 32)
    x[1, 20] = bad
    assert torch.isfinite(steps.operand(x, True).rows).tolist() == [True, False, True]
    assert torch.isfinite(quantise(x).rows).tolist() == [True, False, True]


def test_gelu_follows_the_error_function():
    x = torch.linspace(-3, 3, 64).view(-1, 16)
    torch.testing.assert_close(EAGER.act(Product(x), "gelu").data, functional.gelu(x))
