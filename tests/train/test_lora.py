"""Adapters in training: the gradient of the equation, only they learn, and what is saved is merged to the digit."""

from __future__ import annotations

import pytest
import torch
from tests.builders import TEXTS, tiny_bert
from tests.train.runs import Pairs, go, learner, pairs, same, weights
from tests.train.test_loop import Interrupted, Stops, lines
from torch.func import functional_call

from sentvec import Embedder
from sentvec.batch import pack
from sentvec.checkpoint.adapters import merge, read_adapter
from sentvec.checkpoint.load import load
from sentvec.errors import InvalidInput
from sentvec.runtime.embedder import Embedder as Model
from sentvec.train.config import TrainConfig
from sentvec.train.heads import HeadLearner, new_headed
from sentvec.train.loop import train
from sentvec.train.lora import ADAPTERS, FOLDER


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("targets", [("attention", "feed_forward"), ("query", "value")])
def test_the_gradient_is_that_of_the_equation(tmp_path, targets):
    still = tiny_bert(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    config = TrainConfig(lora_rank=3, lora_alpha=6, lora_targets=targets)
    taught = learner(still, config)
    adapters = taught.extra[ADAPTERS]
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapters.parameters():
            parameter.normal_(0, 0.1, generator=draw)
    adapters.push()
    batch = pairs(5)
    value = taught.run(0, batch, 1.0, 1)
    adapters.pull()

    plain = load(still)
    rows = Model(load(still), name="x", device="cpu")._engine.tokenize([*batch.columns[0], *batch.columns[1]])
    base = {name: tensor.detach() for name, tensor in plain.encoder.named_parameters()}
    named = {name: p.detach().clone().requires_grad_() for name, p in adapters.named_parameters()}
    changed = dict(base)
    for name in adapters.targets:
        stem = name.removesuffix(".weight")
        found = list(base[name].chunk(3 if stem.endswith("qkv") else 1))
        for i in range(len(found)):
            if f"{stem}.{i}.up" in named:
                found[i] = found[i] + 2 * named[f"{stem}.{i}.up"] @ named[f"{stem}.{i}.down"]
        changed[name] = torch.cat(found)
    plain.encoder.train()
    pooled = [
        functional_call(plain.encoder, changed, (pack([row]),)).mean(0) for row in rows
    ]  # mean pooling, text by text
    first, second = torch.nn.functional.normalize(torch.stack(pooled)).chunk(2)
    loss = torch.nn.functional.cross_entropy(first @ second.T / 0.05, torch.arange(5))
    loss.backward()
    assert value == pytest.approx(float(loss.detach()), abs=1e-4)
    assert len(named) == 2 * 2 * (len(targets) if targets[0] == "query" else 6)
    for name, parameter in adapters.named_parameters():
        torch.testing.assert_close(parameter.grad, named[name].grad, atol=1e-5, rtol=1e-3, msg=name)


def test_a_model_is_its_base_and_its_adapter_to_the_digit(model, tmp_path):
    done = go(model, tmp_path / "out", lora_rank=2, epochs=10, learning_rate=1e-2)
    losses = [line["loss"] for line in lines(tmp_path / "out") if "loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    before, after = weights(model), weights(tmp_path / "out")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    parts = ("attention.qkv", "attention.output", "feed_forward.up", "feed_forward.down")
    assert changed == {f"layers.{i}.{part}.weight" for i in (0, 1) for part in parts}
    checkpoint = load(model)
    merge(checkpoint, read_adapter(done.folder / FOLDER))
    same(dict(checkpoint.encoder.state_dict()), after)
    for part in parts[1:]:
        moved = after[f"layers.0.{part}.weight"] - before[f"layers.0.{part}.weight"]
        assert torch.linalg.matrix_rank(moved, rtol=1e-3) == 2
    assert abs(Embedder.from_pretrained(done.folder).encode(TEXTS)).max() > 0


@pytest.mark.parametrize("ema", [None, 0.5])
def test_a_resumed_run_ends_as_an_unbroken_one(model, tmp_path, ema):
    settings = {"lora_rank": 2, "ema": ema}
    go(model, tmp_path / "whole", **settings)
    with pytest.raises(Stops):
        go(model, tmp_path / "broken", source=Interrupted(7), **settings)
    go(model, tmp_path / "broken", resume=True, **settings)
    same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "broken")
    checkpoint = load(model)
    merge(checkpoint, read_adapter(tmp_path / "broken" / FOLDER))
    same(dict(checkpoint.encoder.state_dict()), weights(tmp_path / "broken"))


def test_frozen_layers_keep_their_maps(model, tmp_path):
    go(model, tmp_path / "out", lora_rank=2, freeze=1)
    before, after = weights(model), weights(tmp_path / "out")
    changed = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"1"}
    with pytest.raises(InvalidInput, match="leaves nothing that could learn"):
        go(model, tmp_path / "still", lora_rank=2, freeze=2)


def test_what_cannot_be(model, tmp_path):
    with pytest.raises(InvalidInput, match=r"lora_targets are \['dense_'\], which are no linear maps. Known: .*query"):
        go(model, tmp_path / "a", lora_rank=2, lora_targets=["dense_"])
    with pytest.raises(InvalidInput, match="adversary moves word embeddings"):
        TrainConfig(lora_rank=2, adversary=1.0)
    config = TrainConfig(lora_rank=2)
    heads = HeadLearner(new_headed(model, "sequence-classification", ["a", "b"]), config, device="cpu")
    with pytest.raises(InvalidInput, match="lora_rank is for embeddings"):
        train(heads, Pairs(), tmp_path / "b", config)
    with pytest.raises(InvalidInput, match="lora_rank is for one encoder"):
        learner(model, config, "contrastive_tension")
