"""A fused stack of layers gives what its layers give, and follows their weights."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from tests.nn.stacks import LENGTHS, batch_of, layers_of, states_of

from sentvec.nn.compiled import compiled
from sentvec.nn.fused import FusedStack, rounded
from sentvec.nn.probe import Probe
from sentvec.nn.stack import Layers
from sentvec.nn.steps import EagerSteps

STEPS = [EagerSteps(), compiled()]


@pytest.fixture(params=STEPS, ids=["eager", "compiled"])
def steps(request):
    if request.param is None:
        pytest.skip("there is no C++ compiler here; the log says what was tried")
    return request.param


def run(layers, states, batch, probe=None):
    with torch.inference_mode():
        return layers(states, batch, "auto", probe)


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize(("hidden", "heads"), [(64, 2), (48, 3)])
def test_float32_is_the_layers_to_rounding(steps, act, hidden, heads):
    layers = layers_of(hidden=hidden, heads=heads, act=act)
    batch = batch_of()
    states = states_of(batch, hidden)
    expected = run(layers, states, batch)
    layers.fuse(steps)
    torch.testing.assert_close(run(layers, states, batch), expected, atol=5e-6, rtol=0)


def test_layers_run_in_the_order_given(steps):
    layers = layers_of(2)
    turns = Layers(list(layers), order=[0, 0, 1, 0])
    assert len(list(turns.parameters())) == len(list(layers.parameters()))
    batch = batch_of((5, 9))
    states = expected = states_of(batch, 64)
    with torch.inference_mode():
        for number in (0, 0, 1, 0):
            expected = layers[number](expected, batch, "auto", None)
    probe = Probe()
    assert torch.equal(run(turns.eval(), states, batch, probe), expected)
    assert sorted(probe.hidden_states) == [0, 1, 2, 3, 4]
    turns.fuse(steps)
    torch.testing.assert_close(run(turns, states, batch), expected, atol=5e-6, rtol=0)


def test_what_distances_add_is_added_in_every_layer(steps):
    layers = layers_of()
    batch = batch_of()
    states = states_of(batch, 64)
    relative = torch.randn(2, 2 * batch.longest - 1, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected = layers(states, batch, "auto", None, relative)
        assert (expected - layers(states, batch, "auto", None)).abs().max() > 0.1
        layers.fuse(steps)
        torch.testing.assert_close(layers(states, batch, "auto", None, relative), expected, atol=5e-6, rtol=0)
        layers.fuse(steps, int8=True)
        assert torch.cosine_similarity(layers(states, batch, "auto", None, relative), expected).min() > 0.999


def test_bfloat16_is_as_near_to_float32_as_the_layers_are(steps):
    layers = layers_of()
    batch = batch_of()
    states = states_of(batch, 64)
    exact = run(layers, states, batch)
    half = copy.deepcopy(layers).bfloat16()
    plain = (run(half, states.bfloat16(), batch).float() - exact).abs().mean()
    half.fuse(steps)
    fused = (run(half, states.bfloat16(), batch).float() - exact).abs().mean()
    assert 0 < fused <= plain * 1.05


def test_int8_is_near_to_float32(steps):
    layers = layers_of()
    batch = batch_of()
    states = states_of(batch, 64)
    exact = run(layers, states, batch)
    layers.fuse(steps, int8=True)
    found = run(layers, states, batch)
    assert not torch.equal(found, exact)
    assert torch.cosine_similarity(found, exact).min() > 0.999


@pytest.mark.parametrize("int8", [False, True])
def test_a_text_does_not_depend_on_its_batch(steps, int8):
    layers = layers_of()
    layers.fuse(steps, int8=int8)
    batch = batch_of()
    states = states_of(batch, 64)
    together = run(layers, states, batch)
    start = 0
    for length in LENGTHS:
        rows = slice(start, start + length)
        torch.testing.assert_close(run(layers, states[rows], batch_of((length,))), together[rows], atol=2e-6, rtol=0)
        start += length


@pytest.mark.parametrize("int8", [False, True])
def test_changed_weights_are_noticed(steps, int8):
    layers = layers_of()
    layers.fuse(steps, int8=int8)
    batch = batch_of((5, 9))
    states = states_of(batch, 64)
    before = run(layers, states, batch)
    layers.load_state_dict(layers_of(seed=9).state_dict())
    after = run(layers, states, batch)
    assert (after - before).abs().max() > 0.1
    fresh = layers_of(seed=9)
    fresh.fuse(steps, int8=int8)
    assert torch.equal(after, run(fresh, states, batch))
    with torch.no_grad():
        layers[1].feed_forward_norm.bias.add_(1.0)
    assert (run(layers, states, batch) - after).abs().max() > 0.1


def test_hidden_states_are_shown_and_attention_is_asked_of_the_layers(steps):
    layers = layers_of()
    batch = batch_of((5, 9))
    states = states_of(batch, 64)
    expected = Probe(attention=True)
    run(layers, states, batch, expected)
    layers.fuse(steps)
    found, maps = Probe(), Probe(attention=True)
    run(layers, states, batch, found)
    run(layers, states, batch, maps)
    assert sorted(found.hidden_states) == [0, 1, 2, 3]
    for number, hidden in expected.hidden_states.items():
        torch.testing.assert_close(found.hidden_states[number], hidden, atol=5e-6, rtol=0)
    assert all(torch.equal(a, b) for x, y in zip(maps.attentions, expected.attentions, strict=True)
               for a, b in zip(x, y, strict=True))  # fmt: skip


def test_gradients_go_through_the_layers(steps):
    layers = layers_of()
    layers.fuse(steps)
    batch = batch_of((5, 9))
    states = states_of(batch, 64).requires_grad_()
    layers(states, batch, "auto", None).sum().backward()
    assert states.grad is not None
    assert states.grad.abs().sum() > 0


def test_copies_and_pickles_leave_packed_weights_behind(steps):
    layers = layers_of()
    layers.fuse(steps)
    batch = batch_of((5, 9))
    states = states_of(batch, 64)
    expected = run(layers, states, batch)
    for twin in (copy.deepcopy(layers), pickle.loads(pickle.dumps(layers))):
        torch.testing.assert_close(run(twin, states, batch), expected, atol=5e-6, rtol=0)


def test_few_numbers_of_rows_and_little_that_is_added():
    counts = range(1, 4097)
    assert all(0 <= rounded(n) - n <= max(3, n / 8) and rounded(n) >= 4 for n in counts)
    assert len({rounded(n) for n in counts}) < 80  # oneDNN keeps code for each


@pytest.mark.parametrize("changes", [{"hidden": 40, "heads": 5}, {"act": "silu"}, {"intermediate": 100}])
def test_layers_of_other_shapes_run_as_they_are(changes):
    layers = layers_of(**changes)
    layers.fuse(EagerSteps())
    batch = batch_of((5, 9))
    assert not layers.fusible
    assert run(layers, states_of(batch, changes.get("hidden", 64)), batch).isfinite().all()


def test_fused_runs_where_it_can(steps, monkeypatch):
    calls = []
    monkeypatch.setattr(FusedStack, "__call__", lambda self, states, batch, *_: calls.append(1) or states)
    layers = layers_of()
    layers.fuse(steps)
    batch = batch_of((5,))
    run(layers, states_of(batch, 64), batch)
    assert calls == [1]
    layers.train()
    run(layers, states_of(batch, 64), batch)
    assert calls == [1]


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("tokens", [16, 17, 256, 257])
def test_rows_without_meaning_stay_inside(steps, tokens, int8):
    layers = layers_of()
    batch = batch_of((tokens - 9, 9))
    states = states_of(batch, 64)
    expected, probe = run(layers, states, batch), Probe()
    layers.fuse(steps, int8=int8)
    found = run(layers, states, batch, probe)
    assert found.shape == expected.shape
    assert {len(hidden) for hidden in probe.hidden_states.values()} == {tokens}
    assert torch.cosine_similarity(found, expected).min() > 0.999


def test_plain_layers_that_run_again_give_the_very_same():
    """Also what they drop; and nothing runs again where a probe looks inside, or without gradients."""
    batch, results, runs = batch_of((20, 9, 5)), [], []
    relative = torch.randn(2, 2 * batch.longest - 1, generator=torch.Generator().manual_seed(5))
    for again in (False, True):
        layers = layers_of().train()
        for layer in layers:
            layer.dropout.p = layer.attention.dropout = 0.3
        if again:
            layers.recompute()
            layers[0].register_forward_pre_hook(lambda *_: runs.append(1))
        states = states_of(batch, 64).requires_grad_()
        torch.manual_seed(3)
        out = layers(states, batch, "auto", None, relative)
        out.square().sum().backward()
        results.append([out.detach(), states.grad, *(p.grad for p in layers.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert len(runs) == 2
    probe = Probe(attention=True)
    layers(states, batch, "auto", probe).square().sum().backward()
    assert len(runs) == 3
    assert len(probe.attentions) == 3
    with torch.no_grad():
        layers(states, batch, "auto", None)
    assert len(runs) == 4
