"""A trained stack gives the states and the gradients of its layers, and drops what it says it drops."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from tests.nn.stacks import batch_of, layers_of, states_of

from sentvec.nn.passes import Dropout, passes
from sentvec.nn.probe import Probe
from sentvec.nn.products import TorchProducts
from sentvec.nn.stack import Layers

LENGTHS = (70, 33, 32, 31, 17, 16, 15, 7, 2, 1)


class WithTorchProducts:
    """The compiled passes, with every product by torch."""

    def __init__(self, of):
        self._of = of

    def products(self, half):
        return TorchProducts()

    def __getattr__(self, name):
        return getattr(self._of, name)


@pytest.fixture(params=["own", "torch"])
def steps(request):
    found = passes()
    if found is None:
        pytest.skip("there is no C++ compiler here; the log says what was tried")
    return found if request.param == "own" else WithTorchProducts(found)


def dropping(layers, share):
    for layer in layers:
        layer.dropout.p = layer.attention.dropout = share
    return layers


def result(layers, batch, states, *, half=False, learn=True):
    """Return states, and the gradients of a sum that is different in every place, of states and parameters."""
    layers.zero_grad()
    states = states.clone().requires_grad_(learn)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = layers(states, batch, "auto", None)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    (out.float() * weights).sum().backward()
    return [out.detach().float(), states.grad, *(p.grad for p in layers.parameters())]


def distance(found, expected):
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize(("hidden", "heads"), [(64, 2), (48, 3), (128, 1), (96, 2)])
def test_float32_is_the_layers_to_rounding(steps, act, hidden, heads):
    layers = layers_of(hidden=hidden, heads=heads, act=act, intermediate=80).train()
    batch = batch_of(LENGTHS)
    states = states_of(batch, hidden)
    expected = result(layers, batch, states)
    layers.fuse_training(steps)
    for found, wanted in zip(result(layers, batch, states), expected, strict=True):
        assert found.dtype == wanted.dtype
        assert distance(found, wanted) < 1e-5


def test_bfloat16_is_as_near_to_float32_as_autocast_is(steps):
    layers = layers_of(6, hidden=96, heads=3, intermediate=192).train()
    batch = batch_of(LENGTHS)
    states = states_of(batch, 96)
    exact = result(layers, batch, states)
    plain = result(layers, batch, states, half=True)
    layers.fuse_training(steps)
    found = result(layers, batch, states, half=True)
    assert not torch.equal(found[0], exact[0])
    one, other, wanted = (torch.cat([x.flatten() for x in many]) for many in (found, plain, exact))
    assert distance(one, wanted) < 1.05 * distance(other, wanted)
    for one, other, wanted in zip(found, plain, exact, strict=True):
        # what is normalised is kept in bfloat16, which the weights of normalisations notice
        assert distance(one, wanted) <= 1.6 * distance(other, wanted)


def test_layers_that_run_more_than_once_add_their_gradients(steps):
    layers = Layers(list(layers_of(2)), order=[0, 1, 0, 0]).train()
    batch = batch_of((9, 5))
    states = states_of(batch, 64)
    expected = result(layers, batch, states)
    layers.fuse_training(steps)
    for found, wanted in zip(result(layers, batch, states), expected, strict=True):
        assert distance(found, wanted) < 1e-5


@pytest.mark.parametrize("learn", [True, False])
def test_what_does_not_learn_gets_no_gradient(steps, learn):
    layers = layers_of(3).train()
    layers[0].requires_grad_(False)
    layers[1].attention.requires_grad_(False)
    layers[2].feed_forward.up.bias.requires_grad_(False)
    batch = batch_of((9, 5))
    states = states_of(batch, 64)
    expected = result(layers, batch, states, learn=learn)
    layers.fuse_training(steps)
    for found, wanted in zip(result(layers, batch, states, learn=learn), expected, strict=True):
        assert (found is None) == (wanted is None)
        assert wanted is None or distance(found, wanted) < 1e-5


@pytest.mark.parametrize("shown", [None, (1,), (0, 2, 3), (3,)])
def test_hidden_states_are_shown_and_learnt_from(steps, shown):
    layers = layers_of(3).train()
    batch = batch_of((9, 5))
    results = []
    for _ in range(2):
        layers.zero_grad()
        states = states_of(batch, 64).requires_grad_()
        probe = Probe(layers=shown)
        last = layers(states, batch, "auto", probe)
        seen = list(probe.hidden_states.items())
        weights = [torch.randn(last.shape, generator=torch.Generator().manual_seed(n)) for n, _ in seen]
        sum((x * w).sum() for (_, x), w in zip(seen, weights, strict=True)).backward()
        results.append((seen, [states.grad, *(p.grad for p in layers.parameters())]))
        layers.fuse_training(steps)
    (expected, wanted), (found, gradients) = results
    assert [n for n, _ in found] == [n for n, _ in expected]
    for (_, x), (_, y) in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, atol=5e-6, rtol=0)
    for x, y in zip(gradients, wanted, strict=True):
        assert (x is None) == (y is None)
        assert x is None or distance(x, y) < 1e-5


@pytest.mark.parametrize("spare", [0, 3])
def test_what_distances_add_is_added_and_learns(steps, spare):
    layers = layers_of(2).train()
    batch = batch_of(LENGTHS)
    states = states_of(batch, 64)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(7))
    line = torch.randn(2, 2 * (max(LENGTHS) + spare) - 1, generator=torch.Generator().manual_seed(5))
    results = []
    for turn in range(3):
        layers.zero_grad()
        relative = line.clone().requires_grad_()
        out = layers(states, batch, "auto", None, relative)
        (out * weights).sum().backward()
        results.append([out.detach(), relative.grad, *(p.grad for p in layers.parameters())])
        if turn == 0:
            layers.fuse_training(steps)
    expected, found, again = results
    assert distance(found[0], layers(states, batch, "auto", None)) > 0.05
    for x, y in zip(found, expected, strict=True):
        assert distance(x, y) < 1e-5
    assert all(torch.equal(x, y) for x, y in zip(found, again, strict=True))


def test_gradients_add_up_over_passes(steps):
    layers = layers_of(2).train()
    layers.fuse_training(steps)
    batch, other = batch_of((9, 5)), batch_of((6, 6, 3))
    one = result(layers, batch, states_of(batch, 64))[2:]
    two = result(layers, other, states_of(other, 64))[2:]
    together = [a + b for a, b in zip(one, two, strict=True)]
    layers.zero_grad()
    outs = [layers(states_of(x, 64), x, "auto", None) for x in (batch, other)]  # both forward before either's way back
    for out in outs:
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
        (out * weights).sum().backward()
    for p, wanted in zip(layers.parameters(), together, strict=True):
        assert distance(p.grad, wanted) < 1e-5


@pytest.mark.parametrize("half", [False, True])
def test_dropout_is_a_matter_of_the_seed(steps, half):
    layers = dropping(layers_of(2), 0.3).train()
    layers.fuse_training(steps)
    batch = batch_of((20, 9, 5))
    states = states_of(batch, 64)
    torch.manual_seed(5)
    first = result(layers, batch, states, half=half)
    second = result(layers, batch, states, half=half)
    torch.manual_seed(5)
    again = result(layers, batch, states, half=half)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert distance(second[0], first[0]) > 0.1
    torch.manual_seed(5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        assert torch.equal(layers(states, batch, "auto", None).float(), first[0])
    plain = layers_of(2).train()
    plain.fuse_training(steps)
    layers.eval()  # without gradients it is the layers that run
    found = result(layers, batch, states, half=half)[0]
    assert torch.equal(found, result(plain, batch, states, half=half)[0])


def test_both_ways_drop_the_same(steps):
    """The gradient is the slope of the function that a seed gives, by finite differences."""
    layers = dropping(layers_of(2, hidden=32, heads=2, intermediate=48), 0.4).train()
    layers.fuse_training(steps)
    batch = batch_of((18, 4))
    states = states_of(batch, 32)

    def value():
        torch.manual_seed(3)
        out = layers(states, batch, "auto", None)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
        return (out.double() * weights).sum()

    layers.zero_grad()
    value().backward()
    for name, parameter in layers.named_parameters():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(11))
        slope = float((parameter.grad.double() * direction).sum())
        step = 1e-3 / float(direction.norm())
        values = []
        with torch.no_grad():
            for by in (step, -2 * step):
                parameter.add_(direction, alpha=by)
                values.append(float(value()))
            parameter.add_(direction, alpha=step)
        measured = (values[0] - values[1]) / (2 * step)
        assert abs(measured - slope) < 0.02 * float(parameter.grad.norm() * direction.norm()) + 0.02, name


def test_what_is_dropped_looks_random(steps):
    ones = torch.ones(4000, 256)
    share = 0.1
    found = [steps.drop(ones, Dropout(share, seed, site)) for seed, site in ((1, 0), (1, 1), (2, 0))]
    for x in found:
        assert x.unique().tolist() == [0.0, pytest.approx(1 / 0.9)]
        for dropped in (x.eq(0).double(), x.eq(0).double().t()):
            count, width = dropped.numel(), dropped.shape[1]
            assert abs(dropped.mean() - share) < 5 * (share * (1 - share) / count) ** 0.5
            # sums of rows spread as a binomial's do, and neighbours know nothing of each other
            spread = dropped.sum(1).var() / (width * share * (1 - share))
            assert abs(spread - 1) < 6 * (2 / len(dropped)) ** 0.5
            together = (dropped[:, 1:] * dropped[:, :-1]).mean() / share**2
            assert abs(together - 1) < 0.05
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs((found[i].eq(0) & found[j].eq(0)).double().mean() / share**2 - 1) < 0.05
    assert torch.equal(steps.drop(ones, Dropout(0.0, 1, 0)), ones)
    assert not steps.drop(ones, Dropout(1.0, 1, 0)).any()


def test_attention_drops_its_share_of_probabilities(steps):
    lengths = (40, 40, 16, 3)
    batch = batch_of(lengths)
    qkv = torch.zeros(sum(lengths), 3 * 32)
    qkv[:, 64:] = 1.0  # equal scores, values of one: what comes out is the share that stayed
    out = torch.stack([steps.attend(qkv, batch, 2, Dropout(0.25, seed, 0))[:, ::16] for seed in range(200)])
    assert abs(out.mean() - 1) < 0.01
    expected = torch.cat([torch.full((n,), 0.25 / 0.75 / n) for n in lengths])
    assert (out.var(0).mean(1) / expected - 1).abs().max() < 0.35
    assert (out[..., 0] - out[..., 1]).abs().max() > 0.1  # heads differ


def test_weights_that_change_between_the_two_ways_are_refused(steps):
    layers = layers_of(2).train()
    layers.fuse_training(steps)
    batch = batch_of((9, 5))
    out = layers(states_of(batch, 64), batch, "auto", None)
    with torch.no_grad():
        layers[0].attention.qkv.weight.add_(1.0)
    with pytest.raises(RuntimeError, match="weights were changed"):
        out.sum().backward()


def test_an_optimiser_is_followed(steps):
    layers, plain = layers_of(2).train(), layers_of(2).train()
    layers.fuse_training(steps)
    batch = batch_of((9, 5))
    states = states_of(batch, 64)
    optimizers = [torch.optim.AdamW(x.parameters(), lr=0.01, fused=True) for x in (layers, plain)]
    for _ in range(3):
        for one, optimizer in zip((layers, plain), optimizers, strict=True):
            result(one, batch, states)
            optimizer.step()
    found, expected = (result(x, batch, states)[0] for x in (layers, plain))
    assert distance(found, expected) < 1e-3


def test_it_runs_where_it_can_and_nowhere_else(steps):
    batch = batch_of((9, 5))
    states = states_of(batch, 64)

    def fused(layers, **changes):
        out = layers(states, batch, changes.get("kernel", "auto"), changes.get("probe"))
        return "_Stack" in str(out.grad_fn)

    layers = layers_of(2).train()
    assert not fused(layers)
    layers.fuse_training(steps)
    assert fused(layers)
    assert fused(layers.eval())
    assert fused(layers, probe=Probe())
    assert not fused(layers, probe=Probe(attention=True))
    assert not fused(layers, kernel="reference")
    assert "_trained" in vars(copy.deepcopy(layers))
    assert not fused(copy.deepcopy(layers))
    assert not fused(pickle.loads(pickle.dumps(layers)))
    handle = layers[1].feed_forward.register_forward_hook(lambda *_: None)
    assert not fused(layers)
    handle.remove()
    assert fused(layers)
    layers[0].feed_forward.dropout.p = 0.1
    assert not fused(layers)
    layers[0].feed_forward.dropout.p = 0.0
    assert fused(layers)
    layers.fuse_training(None)
    assert not fused(layers)
    others = layers_of(1, act="silu").train()
    others.fuse_training(steps)
    assert not fused(others)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shown", [None, (1,)])
def test_layers_that_run_again_give_the_very_same(steps, half, shown):
    """The way back computes what was not kept from the same numbers, and drops the same: no digit changes."""
    batch = batch_of((20, 9, 5))
    line = torch.randn(2, 2 * 20 - 1, generator=torch.Generator().manual_seed(5))
    results = []
    for again in (False, True):
        layers = dropping(layers_of(3), 0.3).train()
        if again:
            layers.recompute()
        layers.fuse_training(steps)
        states, relative = states_of(batch, 64).requires_grad_(), line.clone().requires_grad_()
        torch.manual_seed(5)
        probe = Probe(layers=shown)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = layers(states, batch, "auto", probe, relative)
        sum((x.float() ** 2).sum() for x in (out, *probe.hidden_states.values())).backward()
        results.append([out.detach(), states.grad, relative.grad, *(p.grad for p in layers.parameters())])
    for found, wanted in zip(*results, strict=True):
        assert torch.equal(found, wanted)


def test_layers_that_run_again_keep_little(steps):
    def kept(again):
        layers = layers_of(4).train()
        layers.fuse_training(steps)
        if again:
            layers.recompute()
        out = layers(states_of(batch_of((70,)), 64).requires_grad_(), batch_of((70,)), "auto", None)
        tensors = {x.data_ptr(): x.numel() for layer in out.grad_fn.kept for x in numbers(layer)}
        return sum(tensors.values()) / 70 / 64

    def numbers(of):
        for name in of.__slots__:
            value = getattr(of, name)
            yield from [value] if isinstance(value, torch.Tensor) else numbers(value)

    assert kept(True) == pytest.approx(4)  # what each of four layers began with
    assert kept(False) > 40
