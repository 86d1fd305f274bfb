"""Layer to layer: the loss is the sum written out, and a pupil's layers come nearer to its teacher's."""

from __future__ import annotations

import pytest
import torch
from tests.builders import tiny_bert
from tests.train.runs import sentences, weights
from tests.train.test_loop import lines

from sentvec.batch import pack
from sentvec.checkpoint.load import load
from sentvec.errors import InvalidInput
from sentvec.nn.probe import Probe
from sentvec.train.batches import Batch, Dataset, Example
from sentvec.train.config import TrainConfig
from sentvec.train.distil import shallow
from sentvec.train.imitate import LayerLearner
from sentvec.train.loop import train
from sentvec.train.sampling import Sampler

STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"), num_hidden_layers=4, **STILL)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("other"), seed=3, hidden_size=48, num_attention_heads=6, **STILL)


def probed(checkpoint, rows):
    probe = Probe(attention=True)
    checkpoint.encoder(pack(rows), probe=probe)
    return probe


@pytest.mark.parametrize("tokens", [16_384, 30])
def test_the_loss_is_the_sum_written_out(model, tokens):
    teacher, batch = load(model), Batch("texts", (tuple(sentences(7)),))
    taught = LayerLearner(
        shallow(teacher, (1, 3)), load(model), TrainConfig(micro_tokens=tokens), hidden=2.0, attention=0.5, device="cpu"
    )
    value = taught.run(0, batch, 1.0, 1)
    rows = taught._engine.tokenize(batch.columns[0])
    pupil = shallow(teacher, (1, 3))
    with torch.no_grad():
        ours, theirs = probed(pupil, rows), probed(teacher, rows)
    wanted, count = 0.0, sum(map(len, rows))
    for mine, its in ((0, 0), (1, 2), (2, 4)):
        wanted += 2.0 * float((ours.hidden_states[mine] - theirs.hidden_states[its]).square().mean())
        if mine:
            for one, two in zip(ours.attentions[mine - 1], theirs.attentions[its - 1], strict=True):
                wanted += 0.5 * float((two * (two.log() - one.log())).sum(-1).mean(0).sum()) / count
    assert value == pytest.approx(wanted, rel=1e-4)


def test_the_written_out_layers_give_the_same_gradient(model):
    """With attention the plain layers run, which show it; its weight here is next to nothing."""
    found = []
    for attention in (0.0, 1e-9):
        taught = LayerLearner(
            shallow(load(model), (1, 3)), load(model), TrainConfig(), attention=attention, device="cpu"
        )
        taught.run(0, Batch("texts", (tuple(sentences(7)),)), 1.0, 1)
        found.append({name: p.grad for name, p in taught.encoder.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-5, rtol=1e-3, msg=name)


def run(pupil, teacher, out, **options):
    config = TrainConfig(epochs=8, learning_rate=2e-3, batch_size=16)
    data = Dataset("texts", "texts", [Example((text,)) for text in dict.fromkeys(sentences(64))])
    taught = LayerLearner(pupil, teacher, config, device="cpu", **options)
    train(taught, Sampler([data], batch_size=16, seed=0), out, config, progress=False)
    return [line["loss"] for line in lines(out) if "loss" in line]


def test_a_pupil_comes_nearer_layer_by_layer(model, tmp_path):
    before = weights(model)
    losses = run(shallow(load(model), (1, 3)), load(model), tmp_path / "out")
    assert losses[-1] < 0.7 * losses[0]
    assert load(tmp_path / "out").encoder.config.layers == 2
    assert not torch.equal(
        weights(tmp_path / "out")["layers.0.attention.qkv.weight"], before["layers.0.attention.qkv.weight"]
    )


def test_another_width_is_mapped_and_the_map_learns(model, other, tmp_path):
    pupil, teacher = load(other), load(model)
    taught = LayerLearner(pupil, teacher, TrainConfig(), device="cpu")
    assert [m.weight.shape for m in taught.extra.values()] == [(32, 48)] * 3
    taught.run(0, Batch("texts", (tuple(sentences(7)),)), 1.0, 1)
    assert all(m.weight.grad.norm() > 0 for m in taught.extra.values())
    assert all(p.grad is None for p in teacher.encoder.parameters())
    losses = run(load(other), load(model), tmp_path / "out", layers=[(2, 4)])
    assert losses[-1] < 0.7 * losses[0]


def test_what_cannot_be_compared(model, tmp_path):
    pupil, teacher, config = shallow(load(model), (1, 3)), load(model), TrainConfig()
    for layers in ([(3, 1)], [(1, 5)], [(-1, 0)], []):
        with pytest.raises(InvalidInput, match="pairs of 0 to 2 and 0 to 4"):
            LayerLearner(pupil, teacher, config, layers=layers, device="cpu")
    with pytest.raises(InvalidInput, match=r"weights are 0.0 and 0.0"):
        LayerLearner(pupil, teacher, config, hidden=0.0, attention=0.0, device="cpu")
    with pytest.raises(InvalidInput, match="embeddings have no attention"):
        LayerLearner(pupil, teacher, config, hidden=0.0, layers=[(0, 0)], device="cpu")
    with pytest.raises(InvalidInput, match="4 layers cannot learn from 2"):
        LayerLearner(load(model), pupil, config, device="cpu")
