"""Groups of parameters, and how rates go."""

from __future__ import annotations

import pytest
import torch
from tests.builders import tiny_bert

from sentvec.checkpoint.load import load
from sentvec.train.optim import SCHEDULES, adamw, depth_of, groups, layer_count, rate_factor, set_rates


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return load(tiny_bert(tmp_path_factory.mktemp("model"))).encoder


def made(encoder, **changes):
    given = {"rate": 1e-3, "head_rate": 5e-3, "decay": 0.01, "layer_decay": 1.0} | changes
    return groups(encoder, [torch.nn.Linear(4, 2)], **given)


def test_every_parameter_is_in_one_group(encoder):
    found = [p for group in made(encoder, layer_decay=0.5) for p in group["params"]]
    assert len(found) == len({id(p) for p in found}) == len(list(encoder.parameters())) + 2


def test_biases_and_norms_are_not_decayed(encoder):
    decay = {id(p): group["weight_decay"] for group in made(encoder) for p in group["params"]}
    for name, parameter in encoder.named_parameters():
        plain = name.endswith("bias") or "norm" in name
        assert decay[id(parameter)] == (0.0 if plain else 0.01), name


def test_rates_fall_with_the_distance_from_the_output(encoder):
    highest = {id(p): group["highest"] for group in made(encoder, layer_decay=0.5) for p in group["params"]}
    named = dict(encoder.named_parameters())
    assert highest[id(named["layers.1.attention.qkv.weight"])] == 1e-3
    assert highest[id(named["layers.0.attention.qkv.weight"])] == 5e-4
    assert highest[id(named["embeddings.token_table.weight"])] == 2.5e-4
    assert layer_count(named) == 2
    assert depth_of("pooler.dense.weight", 2) == 3


def test_rates_are_those_of_transformers():
    scheduling = pytest.importorskip("transformers.optimization")
    ours = {
        "constant": scheduling.get_constant_schedule_with_warmup,
        "linear": scheduling.get_linear_schedule_with_warmup,
        "cosine": scheduling.get_cosine_schedule_with_warmup,
        "cosine_with_restarts": scheduling.get_cosine_with_hard_restarts_schedule_with_warmup,
    }
    for name, theirs in ours.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        more = {} if name == "constant" else {"num_training_steps": 50}
        more |= {"num_cycles": 2} if name == "cosine_with_restarts" else {}
        schedule = theirs(optimizer, num_warmup_steps=5, **more)
        for step in range(50):
            assert rate_factor(name, step, 50, 5) == pytest.approx(schedule.get_last_lr()[0], abs=1e-9), (name, step)
            optimizer.step()
            schedule.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_begin_at_zero_and_never_pass_the_highest(name):
    values = [rate_factor(name, step, 40, 8) for step in range(41)]
    assert values[0] == 0.0
    assert values[8] == 1.0
    assert all(0.0 <= value <= 1.0 for value in values)
    assert rate_factor(name, 0, 40, 0) == 1.0


def test_set_rates(encoder):
    optimizer = adamw(made(encoder))
    set_rates(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {5e-4, 2.5e-3}
