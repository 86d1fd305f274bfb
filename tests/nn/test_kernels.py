"""Every attention kernel gives what the equation gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentvec.errors import InvalidInput
from sentvec.nn.kernels import KERNELS, _offsets, attention, probabilities, reference


def by_hand(q, k, v, lengths, window=None):
    """softmax(q k^T / sqrt(d)) v, one number at a time."""
    out = torch.zeros_like(q)
    start = 0
    for length in lengths:
        for head in range(q.shape[1]):
            for i in range(length):
                scores = torch.stack([q[start + i, head] @ k[start + j, head] for j in range(length)])
                weights = torch.exp(scores / q.shape[2] ** 0.5)
                if window is not None:
                    weights = weights * torch.tensor([float(abs(i - j) <= window) for j in range(length)])
                weights = weights / weights.sum()
                out[start + i, head] = sum(weights[j] * v[start + j, head] for j in range(length))
        start += length
    return out


def qkv(lengths, heads=2, head_dim=4):
    generator = torch.Generator().manual_seed(sum(lengths))
    return torch.randn(3, sum(lengths), heads, head_dim, generator=generator).unbind(0)


def test_reference_is_the_equation():
    lengths = [3, 1, 4]
    q, k, v = qkv(lengths)
    for window in (None, 0, 1, 3):
        expected = by_hand(q, k, v, lengths, window)
        torch.testing.assert_close(reference(q, k, v, lengths, window=window), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kernel", [*sorted(set(KERNELS) - {"reference"}), "auto"])
@given(lengths=st.lists(st.integers(1, 20) | st.sampled_from([64, 65, 128, 129]), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_kernels_equal_the_reference(kernel, lengths):
    q, k, v = qkv(lengths)
    expected = attention(q, k, v, lengths, kernel="reference")
    torch.testing.assert_close(attention(q, k, v, lengths, kernel=kernel), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kernel", [*sorted(set(KERNELS) - {"reference"}), "auto"])
@given(
    lengths=st.lists(st.integers(1, 20) | st.sampled_from([64, 65, 255, 256, 257, 600]), min_size=1, max_size=6),
    window=st.sampled_from([0, 1, 7, 64, 200]),
)
@settings(deadline=None, max_examples=40)
def test_kernels_with_a_window_equal_the_reference(kernel, lengths, window):
    q, k, v = qkv(lengths)
    expected = attention(q, k, v, lengths, window=window, kernel="reference")
    got = attention(q, k, v, lengths, window=window, kernel=kernel)
    torch.testing.assert_close(got, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kernel", sorted(KERNELS))
@pytest.mark.parametrize("window", [None, 1])
def test_no_text_sees_another(kernel, window):
    lengths = [2, 2, 5]
    q, k, v = qkv(lengths)
    before = attention(q, k, v, lengths, window=window, kernel=kernel)
    k[:2], v[:2] = 1e3, -1e3
    after = attention(q, k, v, lengths, window=window, kernel=kernel)
    torch.testing.assert_close(after[2:], before[2:], atol=1e-6, rtol=0)
    assert not torch.allclose(after[:2], before[:2])


def distances(longest, heads=2):
    return torch.randn(heads, 2 * longest - 1, generator=torch.Generator().manual_seed(longest))


def test_what_distances_add_is_the_equation():
    lengths, reach = [3, 1, 4], 6
    q, k, v = qkv(lengths)
    near = distances(reach)
    out = torch.zeros_like(q)
    start = 0
    for length in lengths:
        for head in range(2):
            for i in range(length):
                scores = [
                    q[start + i, head] @ k[start + j, head] / 2 + near[head, reach - 1 + i - j] for j in range(length)
                ]
                weights = torch.softmax(torch.stack(scores), dim=0)
                out[start + i, head] = weights @ v[start : start + length, head]
        start += length
    torch.testing.assert_close(reference(q, k, v, lengths, relative=near), out, atol=1e-6, rtol=0)


@pytest.mark.parametrize("spare", [0, 5])
@pytest.mark.parametrize("kernel", [*sorted(set(KERNELS) - {"reference"}), "auto"])
@given(lengths=st.lists(st.integers(1, 20) | st.sampled_from([64, 65, 128, 129]), min_size=1, max_size=8))
@settings(deadline=None, max_examples=20)
def test_kernels_add_what_distances_add(kernel, spare, lengths):
    q, k, v = qkv(lengths)
    near = distances(max(lengths) + spare)
    expected = attention(q, k, v, lengths, relative=near, kernel="reference")
    torch.testing.assert_close(attention(q, k, v, lengths, relative=near, kernel=kernel), expected, atol=3e-6, rtol=0)


def test_probabilities_sum_to_one_over_the_text():
    q, k, _ = qkv([3, 5])
    first, second = probabilities(q, k, [3, 5])
    assert first.shape == (2, 3, 3)
    assert second.shape == (2, 5, 5)
    torch.testing.assert_close(second.sum(-1), torch.ones(2, 5))


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_dropout_changes_the_result_and_keeps_its_mean(kernel):
    q, k, _ = qkv([64])
    v = torch.ones_like(q)
    dropped = attention(q, k, v, [64], dropout=0.5, kernel=kernel)
    assert dropped.std() > 0.01
    assert abs(float(dropped.mean()) - 1) < 0.1


@pytest.mark.parametrize("length", [8, 64, 65, 128, 129])
def test_half_precision_kernels_stay_near_float32(length):
    lengths = [length, length]
    q, k, v = qkv(lengths)
    half = [x.bfloat16() for x in (q, k, v)]
    expected = attention(*(x.float() for x in half), lengths, kernel="reference")
    got = attention(*half, lengths, kernel="runs")
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected, atol=2e-2, rtol=0)


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("kernel", sorted(set(KERNELS) - {"reference"}))
def test_gradients_equal_the_references(kernel, window):
    lengths = [3, 3, 70]
    grads = []
    for name in (kernel, "reference"):
        leaves = [x.clone().requires_grad_() for x in qkv(lengths)]
        attention(*leaves, lengths, window=window, kernel=name).square().sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    for got, expected in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", ["runs", "padded"])
def test_gradients_of_what_distances_add_equal_the_references(kernel):
    lengths = [3, 3, 70]
    grads = []
    for name in (kernel, "reference"):
        leaves = [x.clone().requires_grad_() for x in (*qkv(lengths), distances(70))]
        q, k, v, near = leaves
        attention(q, k, v, lengths, relative=near, kernel=name).square().sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    for got, expected in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_an_unknown_kernel_is_named():
    q, k, v = qkv([2])
    with pytest.raises(InvalidInput, match="'flash' is not known. Known: auto, reference"):
        attention(q, k, v, [2], kernel="flash")


@pytest.mark.parametrize("window", [None, 2])
def test_the_kernel_without_padding_gets_what_it_needs(window):
    """Shapes and offsets only: torch computes this kernel on GPUs alone, and checks its arguments everywhere."""
    lengths = (3, 1, 4)
    q, k, v = (x.half().to("meta") for x in qkv(lengths, head_dim=8))
    out = attention(q, k, v, lengths, window=window, kernel="varlen")
    assert out.shape == q.shape
    assert _offsets(lengths, torch.device("cpu")).tolist() == [0, 3, 4, 8]
    assert _offsets(lengths, torch.device("cpu")).dtype == torch.int32


def test_offsets_of_a_batch_are_made_once_and_serve_training_too():
    with torch.inference_mode():
        first = _offsets((2, 5), torch.device("cpu"))
    assert _offsets((2, 5), torch.device("cpu")) is first
    assert not first.is_inference()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kernel_without_padding_on_a_gpu(dtype, window):
    lengths = [3, 1, 40, 130]
    q, k, v = (x.to("cuda", dtype) for x in qkv(lengths, head_dim=32))
    expected = reference(q.float(), k.float(), v.float(), lengths, window=window)
    for kernel in ("varlen", "auto"):
        found = attention(q, k, v, lengths, window=window, kernel=kernel)
        torch.testing.assert_close(found.float(), expected, atol=2e-2, rtol=2e-2)
