"""A stack in int8 as one call gives what its steps in torch give, and to the last bit the same in every company."""

from __future__ import annotations

import pytest
import torch
from tests.nn.stacks import LENGTHS, batch_of, states_of
from tests.nn.stacks import layers_of as plain_layers_of

from sentvec.nn import int8
from sentvec.nn.compiled import compiled
from sentvec.nn.fused import FusedStack
from sentvec.nn.probe import Probe
from sentvec.nn.steps import EagerSteps

STEPS = compiled()
WIDE = {"hidden": 128, "heads": 4, "intermediate": 1536}
# 16 features in one vector, 64 outputs in a panel: less than one, one and a part, several. Heads of 16 features have
# their attention in float32, heads of 32 in bfloat16 where the processor has it
NARROW = [
    {"hidden": 16, "heads": 1, "intermediate": 16},
    {"hidden": 48, "heads": 3, "intermediate": 144},
    WIDE | {"heads": 8},
]


def name(shape) -> str:
    return f"{shape['hidden']} in {shape['heads']}"


def layers_of(count=3, **changes):
    with torch.inference_mode(False):  # else nobody could tell whether weights have changed
        return plain_layers_of(count, **changes)


def stack_of(layers, steps=STEPS) -> FusedStack:
    if steps is None:
        pytest.skip("there is no C++ compiler here; the log says what was tried")
    made = FusedStack(list(layers), steps, int8=True)
    if steps is STEPS and made._whole is None:
        pytest.skip("this processor has no AVX512-VNNI, or it has AMX, and layers run one by one")
    return made


@pytest.fixture(params=["gelu", "gelu_new", "relu"])
def act(request) -> str:
    return request.param


@torch.inference_mode()
@pytest.mark.parametrize("shape", [*NARROW, WIDE], ids=name)
def test_it_is_as_near_to_float32_as_the_steps_in_torch(shape, act):
    layers = layers_of(act=act, **shape)
    batch = batch_of()
    states = states_of(batch, shape["hidden"])
    found = stack_of(layers)(states, batch)
    expected = stack_of(layers, EagerSteps())(states, batch)
    exact = layers(states, batch, "auto", None)
    lost = (expected - exact).square().mean()
    assert (found - exact).square().mean() < 1.1 * lost
    assert (found - expected).square().mean() < lost  # twice that, if they rounded differently


@torch.inference_mode()
@pytest.mark.parametrize("shape", NARROW, ids=name)
def test_one_layer_has_the_same_int8_and_so_the_same_numbers(shape, act):
    layers = layers_of(1, act=act, **shape)
    batch = batch_of((1, 5, 20))
    states = states_of(batch, shape["hidden"])
    found = stack_of(layers)(states, batch)
    expected = stack_of(layers, EagerSteps())(states, batch)
    near = torch.isclose(found, expected, atol=1e-5, rtol=0).all(1)
    assert near.float().mean() > 0.5  # a row in which one number fell to the other side is as near as int8 is
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


@torch.inference_mode()
def test_bits_of_a_text_are_the_same_in_every_company():
    stack = stack_of(layers_of(**WIDE))
    batch = batch_of((*LENGTHS, 0, 300, *LENGTHS))  # groups of short texts, and one text that is longer than a group
    states = states_of(batch, 128)
    relative = torch.randn(4, 2 * batch.longest - 1, generator=torch.Generator().manual_seed(5))
    for near in (None, relative):
        together = stack(states, batch, None, near)
        for first, last in zip(batch.offsets.tolist(), batch.offsets[1:].tolist(), strict=False):
            alone = stack(states[first:last], batch_of((last - first,)), None, near)
            assert torch.equal(alone, together[first:last])
    assert not torch.equal(stack(states, batch), together)


@torch.inference_mode()
@pytest.mark.parametrize("lengths", [(5,), (300,), LENGTHS * 3])
def test_threads_change_no_bit(lengths):
    stack = stack_of(layers_of(**WIDE))
    batch = batch_of(lengths)
    states = states_of(batch, 128)
    before, expected = states.clone(), stack(states, batch)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 3, 5):
            torch.set_num_threads(number)
            assert torch.equal(stack(states, batch), expected)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(states, before)


@torch.inference_mode()
def test_who_looks_inside_sees_every_layer_and_changes_nothing():
    stack = stack_of(layers_of(**WIDE))
    batch = batch_of((7, 13))
    states = states_of(batch, 128)
    probe = Probe()
    assert torch.equal(stack(states, batch, probe), stack(states, batch))
    assert sorted(probe.hidden_states) == [0, 1, 2, 3]
    assert torch.equal(probe.hidden_states[0], states)


@torch.inference_mode()
def test_a_layer_that_runs_again_is_laid_out_once():
    first, second, _ = layers_of(**WIDE)
    stack = stack_of([first, second, first, first])
    assert len(stack._whole._held) == len(stack_of([first, second])._whole._held)
    batch = batch_of((7, 13))
    states = expected = states_of(batch, 128)
    for layer in (first, second, first, first):
        expected = stack_of([layer])(expected, batch)
    assert torch.equal(stack(states, batch), expected)


@torch.inference_mode()
@pytest.mark.parametrize("steps", [STEPS, EagerSteps()], ids=["whole", "eager"])
def test_states_in_bfloat16_are_read_as_what_they_are(steps):
    stack = stack_of(layers_of(**WIDE), steps)
    batch = batch_of((7, 13))
    states = states_of(batch, 128).bfloat16()
    found = stack(states, batch)
    assert found.dtype == torch.float32
    assert torch.equal(found, stack(states.float(), batch))


@torch.inference_mode()
def test_nothing_gives_nothing():
    stack = stack_of(layers_of(**WIDE))
    for lengths in ((), (0,), (0, 0)):
        assert stack(torch.empty(0, 128), batch_of(lengths)).shape == (0, 128)


@torch.inference_mode()
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_text(bad):
    stack = stack_of(layers_of(**WIDE))
    batch = batch_of((9, 4, 6))
    states = states_of(batch, 128)
    expected = stack(states, batch)
    states[10, 5] = bad
    found = stack(states, batch)
    assert torch.equal(found[:9], expected[:9])
    assert torch.equal(found[13:], expected[13:])
    assert not found[9:13].isfinite().any()


@torch.inference_mode()
def test_other_processors_go_layer_by_layer(monkeypatch):
    layers = layers_of(**WIDE)
    expected = stack_of(layers)
    batch = batch_of((7, 13))
    states = states_of(batch, 128)
    monkeypatch.setattr(type(STEPS), "int8", lambda self, layers: None)
    made = FusedStack(list(layers), STEPS, int8=True)
    assert made._whole is None
    assert torch.cosine_similarity(made(states, batch), expected(states, batch)).min() > 0.999


def test_a_compiler_that_adds_wrongly_is_not_believed():
    stack_of(layers_of(**WIDE))

    class Wrong:
        sentvec_int8_fast = STEPS._library.sentvec_int8_fast

        def sentvec_int8_product(self, states, scale, rows, fields, out):
            STEPS._library.sentvec_int8_product(states, scale, rows - 1, fields, out)

    assert int8.right(STEPS._library)
    assert not int8.right(Wrong())
