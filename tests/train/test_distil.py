"""Teachers and pupils: what a teacher says stands beside its texts, and a shallow pupil comes nearer to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.builders import tiny_bert
from tests.train.runs import sentences

from sentvec import Embedder
from sentvec.checkpoint.load import load
from sentvec.checkpoint.save import save_checkpoint
from sentvec.errors import InvalidInput
from sentvec.train.batches import Dataset, Example
from sentvec.train.config import TrainConfig
from sentvec.train.distil import TaughtScores, TaughtVectors, shallow
from sentvec.train.loop import train
from sentvec.train.objectives import objective
from sentvec.train.sampling import Sampler
from sentvec.train.step import EmbedderLearner


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"), num_hidden_layers=4)


def texts(count=64):
    return Dataset("texts", "texts", [Example((text,)) for text in dict.fromkeys(sentences(count))])


def near(folder, teacher):
    asked = sentences(40, seed=9)
    left, right = Embedder.from_pretrained(folder).encode(asked), teacher.encode(asked)
    return float(torch.cosine_similarity(torch.tensor(left), torch.tensor(right)).mean())


def test_a_shallow_copy_has_the_chosen_layers(model, tmp_path):
    whole = load(model)
    pupil = shallow(whole, (2, 4))
    save_checkpoint(tmp_path / "pupil", pupil)
    again = load(tmp_path / "pupil").encoder
    assert again.config.layers == 2
    for ours, theirs in ((0, 1), (1, 3)):
        for name, weight in again.layers[ours].state_dict().items():
            assert torch.equal(weight, whole.encoder.layers[theirs].state_dict()[name])
    assert len(whole.encoder.layers) == 4
    for layers in ((), (0, 1), (2, 1), (1, 1), (5,)):
        with pytest.raises(InvalidInput, match="numbers from 1 to 4, in rising order"):
            shallow(whole, layers)


def test_a_pupil_comes_nearer_to_its_teacher(model, tmp_path):
    teacher = Embedder.from_pretrained(model)
    pupil = shallow(load(model), (2, 4))
    save_checkpoint(tmp_path / "before", pupil)
    config = TrainConfig(epochs=12, learning_rate=2e-3, batch_size=16)
    learner = EmbedderLearner(pupil, [objective("taught_vectors")], config, device="cpu")
    source = TaughtVectors(Sampler([texts()], batch_size=16, seed=0), teacher)
    train(learner, source, tmp_path / "after", config, progress=False)
    assert near(tmp_path / "after", teacher) > near(tmp_path / "before", teacher) + 0.1


def test_a_teachers_vectors_stand_beside_their_texts(model):
    teacher = Embedder.from_pretrained(model)
    source = TaughtVectors(Sampler([texts()], batch_size=16, seed=0), teacher, dim=8)
    _, batch = next(source.batches(0, start=1))
    assert batch.kind == "taught_vectors"
    np.testing.assert_allclose(batch.values.numpy(), teacher.encode(batch.columns[0])[:, :8], atol=1e-6)


class Lengths:
    """A cross-encoder to which long documents are good ones."""

    def score(self, pairs, *, raw=False, progress=None):
        return np.array([len(query) * 100 + len(document) for query, document in pairs], np.float32)


def test_a_teachers_scores_stand_beside_their_documents():
    rows = [
        Example(("q", "pos", "n1", "other n")),
        Example(("qq", "positive", "n")),
        Example(("qqq", "p", "nn", "nnn")),
    ]
    source = TaughtScores(Sampler([Dataset("x", "tuples", rows)], batch_size=3, seed=0), Lengths())
    _, batch = next(source.batches(0))
    found = {
        (batch.columns[0][owner], text): value
        for owner, text, value in zip(batch.owners.tolist(), batch.columns[1], batch.values.tolist(), strict=True)
    }
    assert found == {
        (one.texts[0], text): len(one.texts[0]) * 100 + len(text) for one in rows for text in one.texts[1:]
    }
    assert batch.owners.tolist() == sorted(batch.owners.tolist())
    assert torch.isfinite(objective("kl")((torch.randn(3, 4), torch.randn(8, 4)), batch))


def test_what_a_teacher_cannot_say(model):
    pairs = Sampler([Dataset("x", "pairs", [Example(("a", "b"))])], batch_size=1, seed=0)
    with pytest.raises(InvalidInput, match="is asked about texts, and this batch is pairs"):
        next(TaughtVectors(pairs, Embedder.from_pretrained(model)).batches(0))
    with pytest.raises(InvalidInput, match="is asked about tuples, and this batch is pairs"):
        next(TaughtScores(pairs, Lengths()).batches(0))
