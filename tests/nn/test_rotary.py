"""Rotary positions: products depend on distance alone, and layers with them are never run as others."""

from __future__ import annotations

import math

import pytest
import torch

from sentvec.errors import ConfigError
from sentvec.nn.attention import SelfAttention
from sentvec.nn.feedforward import FeedForward, GatedFeedForward
from sentvec.nn.fused import fusible
from sentvec.nn.layer import PostNormLayer
from sentvec.nn.rotary import Rotary, sines


def test_each_pair_turns_by_its_own_angle():
    turned = Rotary(base=100.0)(torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 2), torch.tensor([0, 3]))
    # pair 0 is features 0 and 2 and turns by 1 a token; pair 1 is features 1 and 3 and turns by 100 ** -0.5
    expected = [[1.0, 1.0, 0.0, 0.0], [math.cos(3), math.cos(0.3), math.sin(3), math.sin(0.3)]]
    torch.testing.assert_close(turned, torch.tensor(expected))


def test_neighbours_turn_together_where_they_are_the_pairs():
    turned = Rotary(base=100.0, neighbours=True)(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.tensor([3]))
    expected = [[math.cos(3), math.sin(3), math.cos(0.3), math.sin(0.3)]]
    torch.testing.assert_close(turned, torch.tensor(expected))


def test_exact_angles_are_those_of_a_table_made_in_float64():
    place, head_dim, base = 1999, 64, 1e4
    states = torch.zeros(1, head_dim)
    states[0, ::2] = 1
    turned = Rotary(base, neighbours=True, exact=True)(states, torch.tensor([place]))[0].view(-1, 2)
    angles = [place / base ** (2 * i / head_dim) for i in range(head_dim // 2)]
    expected = torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles])
    torch.testing.assert_close(turned, expected, atol=6e-8, rtol=0)
    torch.testing.assert_close(
        sines(place + 1, head_dim, base)[-1].view(2, -1), expected.t().flip(0), atol=6e-8, rtol=0
    )


@pytest.mark.parametrize("rotary", [Rotary(base=1e4), Rotary(base=1e4, neighbours=True)])
def test_products_depend_on_the_distance_only(rotary):
    q, k = torch.randn(2, 1, 3, 8).double()

    def product(i, j):
        return (rotary(q, torch.tensor([i])) * rotary(k, torch.tensor([j]))).sum(-1)

    torch.testing.assert_close(product(7, 2), product(105, 100), atol=1e-4, rtol=0)
    assert (product(7, 2) - product(7, 3)).abs().max() > 0.01


def test_far_places_differ_in_half_precision():
    states = torch.ones(2, 1, 64, dtype=torch.bfloat16)
    near, far = Rotary(base=1e4)(states, torch.tensor([8000, 8001]))
    assert near.dtype == torch.bfloat16
    assert (near - far).abs().max() > 0.5


def test_odd_heads_cannot_turn():
    with pytest.raises(ConfigError, match="heads of width 3 cannot have rotary positions: it must be even"):
        SelfAttention(hidden=6, heads=2, rotary=Rotary(1e4))


@pytest.mark.parametrize(
    ("options", "gated", "expected"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"rotary": Rotary(1e4)}, False, False),
        ({"window": 8}, False, False),
        ({"bias": False}, False, False),
    ],
)
def test_only_bert_s_layers_run_fused(options, gated, expected):
    made = GatedFeedForward if gated else FeedForward
    feed_forward = made(hidden=32, intermediate=32, act="gelu")
    layer = PostNormLayer(SelfAttention(hidden=32, heads=2, **options), feed_forward, hidden=32, norm_eps=1e-5)
    assert fusible([layer]) == expected
