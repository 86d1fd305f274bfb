"""A teacher by its name: of vectors, of layers, of scores; the pupil's folder loads, and is nearer to the teacher."""

from __future__ import annotations

import pytest
import torch
from tests.builders import tiny_bert
from tests.headed import tiny
from tests.train.runs import sentences

from sentvec import Embedder
from sentvec.errors import InvalidInput
from sentvec.runtime.origin import find
from sentvec.train.batches import Dataset, Example
from sentvec.train.config import TrainConfig
from sentvec.train.pupil import texts_of, train_pupil

TEXTS = list(dict.fromkeys(sentences(80)))[:48]
DATA = Dataset("texts", "texts", [Example((text,)) for text in TEXTS])
TUPLES = Dataset("tuples", "tuples", [Example((a, b, c)) for a, b, c in zip(*[iter(TEXTS)] * 3, strict=True)])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"), num_hidden_layers=4)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("wide"), seed=3, hidden_size=48)


def go(model, out, data=DATA, **settings):
    config = TrainConfig(**{"epochs": 6, "batch_size": 16, "learning_rate": 2e-3} | settings)
    return train_pupil(find(model), [data], out, config, device="cpu", progress=False)


def near(folder, teacher):
    left, right = (
        torch.tensor(Embedder.from_pretrained(one).encode(sentences(30, seed=9))) for one in (folder, teacher)
    )
    return float(torch.cosine_similarity(left, right).mean())


@pytest.mark.parametrize("taught", ["vectors", "layers"])
def test_a_pupil_with_some_layers_learns_from_the_whole(model, tmp_path, taught):
    settings = {"teacher": str(model), "taught": taught, "pupil_layers": [2, 4]}
    go(model, tmp_path / "before", max_steps=1, learning_rate=0.0, **settings)
    go(model, tmp_path / "after", **settings)
    assert Embedder.from_pretrained(tmp_path / "after").encoder.config.layers == 2
    assert near(tmp_path / "after", model) > near(tmp_path / "before", model) + 0.02
    assert f"{taught} of {model}" in (tmp_path / "after" / "README.md").read_text()


@pytest.mark.parametrize("taught", ["vectors", "layers"])
def test_a_teacher_of_another_width(model, wide, tmp_path, taught):
    done = go(model, tmp_path / "out", teacher=str(wide), taught=taught, max_steps=2, pupil_layers=[1, 2])
    assert done.steps == 2
    assert Embedder.from_pretrained(tmp_path / "out").dim == 32


def test_scores_of_a_cross_encoder(model, tmp_path):
    scorer = tmp_path / "scorer"
    tiny(scorer, "bert", "ForSequenceClassification", num_labels=1)
    done = go(model, tmp_path / "out", TUPLES, teacher=str(scorer), taught="scores", max_steps=2)
    assert done.steps == 2
    with pytest.raises(InvalidInput, match="a teacher scores queries with documents, and texts holds texts"):
        go(model, tmp_path / "no", teacher=str(scorer), taught="scores")


def test_texts_of_anything_come_once():
    found = texts_of(Dataset("x", "scored", [Example(("a", "b"), 1.0), Example(("b", "c"), 0.0)]))
    assert (found.kind, [one.texts for one in found.examples]) == ("texts", [("a",), ("b",), ("c",)])


def test_settings(model, tmp_path):
    with pytest.raises(InvalidInput, match="there is no teacher"):
        go(model, tmp_path / "a")
    with pytest.raises(InvalidInput, match="pupil_layers are for a model that has a teacher"):
        TrainConfig(pupil_layers=(1,))
    with pytest.raises(InvalidInput, match="taught is 'logits'; it must be 'vectors' or 'layers' or 'scores'"):
        TrainConfig(taught="logits")
    with pytest.raises(
        InvalidInput, match="loss 'infonce' learns from pairs or tuples, and texts holds taught_vectors"
    ):
        go(model, tmp_path / "c", teacher=str(model), loss="infonce")
    with pytest.raises(InvalidInput, match="layers are learnt with losses of their own"):
        go(model, tmp_path / "d", teacher=str(model), taught="layers", loss="infonce")
    with pytest.raises(InvalidInput, match="mine_every is 3"):
        go(model, tmp_path / "b", teacher=str(model), mine_every=3)
