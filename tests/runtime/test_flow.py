"""A flow that was trained makes new vectors of the same kind likelier, and twice the same seed gives the same flow."""

from __future__ import annotations

import pytest
import torch

from sentvec.errors import InvalidInput
from sentvec.nn.flow import Flow
from sentvec.runtime import flow as module
from sentvec.runtime.flow import fit_flow, likelihood


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(module, "_WIDTH", 32)
    monkeypatch.setattr(module, "_DEPTH", 3)
    monkeypatch.setattr(module, "_UPDATES", 250)


def bent(count, seed=0):
    """Vectors on a bow, which no linear map makes normal."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 6, generator=random)
    rows[:, 1] = 0.1 * rows[:, 1] + rows[:, 0].square()
    return rows


def test_new_vectors_get_likelier():
    rows, new = bent(2000), bent(500, seed=1)
    untrained = Flow(dim=6, depth=3, width=32)
    untrained.begin(rows, torch.Generator().manual_seed(0))
    normal = torch.distributions.MultivariateNormal(rows.mean(0), rows.T.cov())
    fitted = fit_flow(rows)
    assert likelihood(fitted, new) > likelihood(untrained, new) + 0.5
    assert likelihood(fitted, new) > float(normal.log_prob(new).mean()) + 0.5  # whitening is blind to the bow


def test_the_same_seed_gives_the_same_flow():
    rows = bent(110)
    first, again, other = fit_flow(rows), fit_flow(rows), fit_flow(rows, seed=1)
    same = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(first(rows), other(rows))


def test_training_takes_none_of_the_users_random_numbers():
    before = torch.random.get_rng_state()
    fit_flow(bent(100))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_it_trains_where_the_caller_needs_no_gradients(off):
    with off():
        flow = fit_flow(bent(100))
    assert all(bool(step.move.weight.any()) for step in flow.steps)


def test_it_stops_before_it_learns_places_by_heart(monkeypatch):
    """Of few vectors a flow could make spikes; those that were held out stop it, and it stays as it was best."""
    few, new = torch.randn(120, 6), torch.randn(500, 6)
    monkeypatch.setattr(module, "_UPDATES", 3000)
    assert likelihood(fit_flow(few), new) > -10  # a standard normal has -8.5; a flow that is not stopped, -90


def test_a_feature_that_never_changes_is_not_blown_up():
    rows = bent(200)
    rows[:, 3] = 7.0
    out = fit_flow(rows)(rows).detach()
    assert bool(torch.isfinite(out).all()) and float(out.abs().max()) < 30


def test_what_cannot_be_trained_on_is_told():
    with pytest.raises(InvalidInput, match="99 texts are too few for a flow, which has to see 100"):
        fit_flow(torch.randn(99, 4))
    with pytest.raises(InvalidInput, match="vectors of one feature cannot go through a flow"):
        fit_flow(torch.randn(200, 1))
    with pytest.raises(InvalidInput, match="200 texts have the same vector"):
        fit_flow(torch.ones(200, 4))
