"""The denoising autoencoder: its decoder sees the past and the vector alone, and the encoder learns by it."""

from __future__ import annotations

import random

import pytest
import torch
from tests.builders import tiny_bert
from tests.train.runs import sentences

from sentvec.batch import TokenIds, pack
from sentvec.checkpoint.load import load
from sentvec.errors import InvalidInput
from sentvec.nn.decoder import Decoder
from sentvec.train.batches import Dataset, Example
from sentvec.train.config import TrainConfig
from sentvec.train.loop import train
from sentvec.train.plot import read_metrics
from sentvec.train.sampling import Sampler
from sentvec.train.tsdae import DenoisingLearner


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"))


def test_the_decoder_sees_the_past_and_its_own_vector(model):
    encoder = load(model).encoder
    torch.manual_seed(0)
    decoder = Decoder(list(encoder.layers), hidden=32, dim=32, norm_eps=1e-12).eval()
    rows = [TokenIds([2, 7, 8, 9, 3], [0] * 5), TokenIds([2, 11, 12, 3], [0] * 4)]
    batch = pack(rows)
    vectors = torch.randn(2, 32)

    def decoded(packed, given):
        with torch.no_grad():
            return decoder(encoder.embeddings(packed), given, packed)

    base = decoded(batch, vectors)
    changed = decoded(pack([TokenIds([2, 7, 8, 20, 3], [0] * 5), rows[1]]), vectors)
    assert torch.allclose(base[:3], changed[:3], atol=1e-6)  # what came before the change
    assert not torch.allclose(base[3:5], changed[3:5], atol=1e-3)
    assert torch.allclose(base[5:], changed[5:], atol=1e-6)  # the other text
    other = decoded(batch, torch.stack([vectors[0], -vectors[1]]))
    assert torch.allclose(base[:5], other[:5], atol=1e-6)
    assert not torch.allclose(base[5:], other[5:], atol=1e-3)


def test_it_learns_and_what_it_learns_is_in_the_encoder(model, tmp_path):
    config = TrainConfig(epochs=15, learning_rate=2e-3, batch_size=8)
    data = Dataset("texts", "texts", [Example((text,)) for text in sentences(48)])
    learner = DenoisingLearner(load(model), config, device="cpu")
    train(learner, Sampler([data], batch_size=8, seed=0), tmp_path / "out", config, progress=False)
    losses = [line["loss"] for line in read_metrics(tmp_path / "out" / "run" / "metrics.jsonl")]
    assert losses[-1] < 0.75 * losses[0]
    before, after = load(model).encoder.state_dict(), load(tmp_path / "out").encoder.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("up.weight"))


def test_parts_give_the_gradient_of_the_whole(tmp_path):
    plain = tiny_bert(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    data = Dataset("texts", "texts", [Example((text,)) for text in sentences(9)])
    _, batch = next(Sampler([data], batch_size=9, seed=0).batches(0))
    found = []
    for tokens in (16_384, 40):
        learner = DenoisingLearner(load(plain), TrainConfig(micro_tokens=tokens), device="cpu")
        loss = learner.run(0, batch, 1.0, 5)
        found.append((loss, {name: p.grad for name, p in learner.encoder.named_parameters() if p.grad is not None}))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-4)
    for name, grad in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], grad, atol=1e-4, rtol=1e-3)


def test_noise_deletes_the_share_and_never_all(model):
    learner = DenoisingLearner(load(model), TrainConfig(), device="cpu")
    draw = random.Random(0)
    long = TokenIds([2, *range(6, 56), 3], [0] * 52)
    left = [len(learner._thinned(long, draw)) - 2 for _ in range(200)]
    assert sum(left) / len(left) == pytest.approx(20, abs=1)
    short = TokenIds([2, 7, 3], [0] * 3)
    assert all(learner._thinned(short, draw).ids == [2, 7, 3] for _ in range(50))
    assert learner._thinned(TokenIds([2, 3], [0, 0]), draw).ids == [2, 3]


def test_what_cannot_be(model):
    with pytest.raises(InvalidInput, match="deleted is 1"):
        DenoisingLearner(load(model), TrainConfig(), deleted=1)
