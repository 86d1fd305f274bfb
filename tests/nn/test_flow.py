"""A flow can be run backwards, knows how it changes volumes, and begins by standardising every step."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from sentvec.nn.flow import Flow


@pytest.fixture(params=[6, 7, 2])
def flow(request):
    """Every weight by chance, so that no part is the identity."""
    flow = Flow(dim=request.param, depth=3, width=16)
    flow.begin(torch.randn(50, request.param) * 3 + 5, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return flow


def test_backwards_is_what_went_in(flow):
    vectors = torch.randn(40, flow.in_dim) * 4 - 3
    with torch.no_grad():
        out = flow(vectors)
        assert (out - vectors).abs().max() > 1
        torch.testing.assert_close(flow.inverse(out), vectors, atol=1e-4, rtol=0)


def test_the_log_determinant_is_that_of_the_derivative(flow):
    flow = flow.double()
    for vector in torch.randn(4, flow.in_dim, dtype=torch.float64) * 5:
        derivative = torch.autograd.functional.jacobian(flow, vector)
        torch.testing.assert_close(flow.log_determinant(), torch.linalg.slogdet(derivative).logabsdet)


def test_a_likelihood_is_a_density():
    """With couplings that move nothing the flow is linear, and what it takes for likely is a normal distribution."""
    flow = Flow(dim=5, depth=2, width=4).double()
    flow.begin(torch.randn(99, 5, dtype=torch.float64) * 2 + 1, torch.Generator().manual_seed(0))
    vectors = torch.randn(8, 5, dtype=torch.float64)
    with torch.no_grad():
        turned = torch.autograd.functional.jacobian(flow, vectors[0])
        back = torch.linalg.inv(turned)
        normal = MultivariateNormal(flow.inverse(torch.zeros(1, 5, dtype=torch.float64))[0], back @ back.T)
        torch.testing.assert_close(flow.log_likelihood(vectors), normal.log_prob(vectors))


def test_as_it_is_made_it_changes_nothing():
    vectors = torch.randn(3, 8)
    flow = Flow(dim=8, depth=2, width=4)
    torch.testing.assert_close(flow(vectors), vectors)
    assert flow.log_determinant().item() == 0
    assert flow.log_likelihood(torch.zeros(1, 8)).item() == pytest.approx(-4 * math.log(2 * math.pi))


def test_making_one_takes_none_of_the_users_random_numbers():
    before = torch.random.get_rng_state()
    Flow(dim=8, depth=2, width=4).begin(torch.randn(20, 8, generator=torch.Generator()), torch.Generator())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_begins_with_features_of_mean_zero_and_variance_one_for_every_step():
    vectors = torch.randn(300, 6) @ torch.randn(6, 6) + 9
    flow = Flow(dim=6, depth=3, width=4)
    flow.begin(vectors, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for step in flow.steps:
            scaled = vectors * step.log_scale.exp() + step.shift
            torch.testing.assert_close(scaled.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
            torch.testing.assert_close(scaled.var(0), torch.ones(6), atol=1e-4, rtol=0)
            vectors = step(vectors)
