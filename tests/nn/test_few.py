"""A stack of layers in one call gives the bits that it gives product by product."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tests.nn.stacks import batch_of, layers_of, states_of

from sentvec.nn import few
from sentvec.nn.compiled import compiled
from sentvec.nn.fused import FusedStack
from sentvec.nn.probe import Probe

STEPS = compiled()
WIDE = {"hidden": 128, "heads": 4, "intermediate": 1536}


def stack_of(kind: torch.dtype, **changes) -> FusedStack:
    if STEPS is None:
        pytest.skip("there is no C++ compiler here; the log says what was tried")
    return FusedStack(list(layers_of(**WIDE | changes).to(kind)), STEPS)


@pytest.fixture(params=["float32", "bfloat16"])
def kind(request) -> torch.dtype:
    return getattr(torch, request.param)


@pytest.fixture(params=["gelu", "gelu_new", "relu"])
def stack(request, kind) -> FusedStack:
    made = stack_of(kind, act=request.param)
    if made._few is None:
        pytest.skip("oneDNN packs weights or adds up in another way on this processor, and layers run one by one")
    return made


@torch.inference_mode()
@pytest.mark.parametrize("lengths", [(1,), (2,), (6,), (7, 13), (3, 0, 9), (20, 31, 40), (130, 200, 33), (700,)])
def test_bits_are_those_of_products_one_by_one(stack, kind, lengths):
    batch = batch_of(lengths)
    states = states_of(batch, 128).to(kind)
    before = states.clone()
    probe = Probe()
    expected = stack(states, batch, probe)  # what looks inside sees every layer
    assert len(probe.hidden_states) == 4
    assert torch.equal(stack(states, batch), expected)
    assert torch.equal(states, before)


@torch.inference_mode()
def test_threads_change_no_bit(stack, kind):
    batch = batch_of((5, 17))
    states = states_of(batch, 128).to(kind)
    expected = stack(states, batch)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            assert torch.equal(stack(states, batch), expected)
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def test_few_tokens_are_one_call_and_many_are_not(stack, kind):
    run = []
    whole = stack._few
    stack._few = lambda states, batch: run.append(len(states)) or whole(states, batch)
    for lengths in ((few.MOST,), (few.MOST, 1), (0,)):
        batch = batch_of(lengths)
        stack(states_of(batch, 128).to(kind), batch)
    assert run == [few.MOST]


def test_no_stack_where_sums_come_in_an_order_that_is_not_known(stack, monkeypatch):
    layers = [one.together() for one in stack._layers]
    assert few.few_of(STEPS._library, layers) is not None
    other = dataclasses.replace(layers[0].maps[0], multiply=lambda states: layers[0].maps[0].multiply(states) * 2)
    changed = dataclasses.replace(layers[0], maps=(other, *layers[0].maps[1:]))
    assert few.few_of(STEPS._library, [changed]) is None


def test_widths_that_do_not_fill_panels_go_layer_by_layer(kind):
    assert stack_of(kind, hidden=96, heads=3)._few is None
