"""A step in one pass is AdamW's, with torch's state, and shortens gradients as torch does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sentvec.nn.descent import descend
from sentvec.nn.passes import passes


@pytest.fixture
def steps():
    found = passes()
    if found is None:
        pytest.skip("there is no C++ compiler here; the log says what was tried")
    return found


def made(seed=0, **changes):
    """Return a module with weights of odd and large sizes, one of which never gets a gradient, and its optimiser."""
    torch.manual_seed(seed)
    module = nn.ParameterList([torch.randn(*shape) for shape in ((300, 77), (5,), (1,), (70_000,), (8, 8))])
    several = list(module)
    groups = [
        {"params": several[:2], "lr": 0.01, "weight_decay": 0.1},
        {"params": several[2:], "lr": 0.003, "weight_decay": 0.0},
    ]
    return module, torch.optim.AdamW(groups, **changes)


def give(module, turn, size=1.0):
    generator = torch.Generator().manual_seed(turn)
    for number, p in enumerate(list(module)[:-1]):
        p.grad = torch.randn(p.shape, generator=generator) * size
        if number == 0:
            p.grad[100:] = 0  # words that no text has
            p.grad[turn * 10 : turn * 10 + 5] = 0


def same(one, other):
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=2e-6)


@pytest.mark.parametrize("longest", [None, 1.0, 1e6])
def test_a_step_is_adamws(steps, longest):
    (module, optimizer), (other, plain) = made(), made()
    for turn in range(5):
        give(module, turn)
        give(other, turn)
        versions = [p._version for p in module if p.grad is not None]
        optimizer.param_groups[0]["lr"] = plain.param_groups[0]["lr"] = 0.01 / (turn + 1)
        descend(optimizer, steps, longest=longest)
        descend(plain, None, longest=longest)
        assert all(p.grad is None for p in (*module, *other))
        assert all(p._version > before for p, before in zip(module, versions, strict=False))
    same(module, other)
    assert optimizer.state.keys() == set(module) - {module[4]}
    for p, q in zip(module, other, strict=True):
        assert optimizer.state[p].keys() == plain.state[q].keys()
        for key, value in plain.state[q].items():
            torch.testing.assert_close(optimizer.state[p][key], value, atol=1e-7, rtol=2e-6)


def test_its_state_goes_on_under_torch_and_back(steps):
    (module, optimizer), (other, plain) = made(), made()
    for turn in range(6):
        give(module, turn)
        give(other, turn)
        descend(optimizer, steps if turn % 2 else None)
        descend(plain, None)
        fresh = made()[1] if turn == 3 else None
        if fresh is not None:
            content = copy.deepcopy(optimizer.state_dict())
            optimizer = torch.optim.AdamW([{"params": g["params"]} for g in optimizer.param_groups])
            optimizer.load_state_dict(content)
    same(module, other)


def test_the_same_gradients_give_the_same_numbers(steps):
    results = []
    for _ in range(2):
        module, optimizer = made()
        for turn in range(3):
            give(module, turn, size=30.0)
            descend(optimizer, steps, longest=1.0)
        results.append(list(module))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_what_is_not_a_number_is_not_passed_over(steps):
    for longest in (None, 1.0):
        module, optimizer = made()
        give(module, 0)
        module[0].grad.zero_()
        module[0].grad[200, 5] = float("nan")
        descend(optimizer, steps, longest=longest)
        assert module[0][200, 5].isnan()
        assert module[3].isnan().all() == (longest is not None)


def test_variants_and_other_formats_go_through_torch(steps):
    for changes in ({"amsgrad": True}, {"maximize": True}):
        (module, optimizer), (other, plain) = made(**changes), made(**changes)
        for turn in range(2):
            give(module, turn)
            give(other, turn)
            descend(optimizer, steps, longest=1.0)
            descend(plain, None, longest=1.0)
        assert all(torch.equal(a, b) for a, b in zip(module, other, strict=True))
    double = nn.Parameter(torch.ones(3, dtype=torch.float64))
    double.grad = torch.ones(3, dtype=torch.float64)
    descend(torch.optim.AdamW([double], lr=0.5, weight_decay=0.0), steps)
    torch.testing.assert_close(double.detach(), torch.full((3,), 0.5, dtype=torch.float64))
    descend(torch.optim.AdamW([nn.Parameter(torch.ones(2))]), steps)
