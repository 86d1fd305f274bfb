"""Each data set is learnt with its own loss, and what a file can say of a loss becomes what the loss takes."""

from __future__ import annotations

import logging

import pytest
import torch
from tests.builders import tiny_bert
from tests.train.runs import sentences

from sentvec import Embedder
from sentvec.errors import InvalidInput, ModelNotFound
from sentvec.ops.losses.classes import adaptive_margins
from sentvec.runtime.origin import find
from sentvec.train.batches import Batch, Dataset, Example
from sentvec.train.chosen import losses_for, objective_for
from sentvec.train.config import TrainConfig
from sentvec.train.loop import RUN
from sentvec.train.run import train_embedder

TEXTS = list(dict.fromkeys(sentences(60)))[:24]
PAIRS = Dataset("pairs", "pairs", [Example((text, " ".join(reversed(text.split())) + " x")) for text in TEXTS])
SCORED = Dataset("scored", "scored", [Example((text, "a cat"), i / 24) for i, text in enumerate(TEXTS)])
CLASSES = Dataset("kinds", "classes", [Example((t,), int(i > 18)) for i, t in enumerate(TEXTS)], labels=("a", "b", "c"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"))


def go(model, out, datasets, **settings):
    config = TrainConfig(**{"batch_size": 8, "epochs": 1} | settings)
    return train_embedder(find(model), datasets, out, config, device="cpu", progress=False)


def test_every_data_set_has_its_loss(model, tmp_path):
    data = [{"path": "a"}, {"path": "b", "loss": "angle", "loss_options": {"temperature": 0.2}}]
    assert losses_for([PAIRS, SCORED], TrainConfig(data=data)) == [("infonce", {}), ("angle", {"temperature": 0.2})]
    assert losses_for([SCORED, SCORED], TrainConfig(loss="cosine_mse")) == [("cosine_mse", {})] * 2
    with pytest.raises(InvalidInput, match="settings are of 2 data sets, and there are 1"):
        losses_for([PAIRS], TrainConfig(data=data))
    done = go(model, tmp_path / "out", [PAIRS, SCORED], data=data)
    assert done.steps == 6
    told = (tmp_path / "out" / "README.md").read_text()
    assert "| pairs | pairs | 24 | infonce |" in told
    assert "| scored | scored | 24 | angle |" in told
    with pytest.raises(InvalidInput, match="loss 'angle' learns from .*, and pairs holds pairs. Losses for pairs"):
        go(model, tmp_path / "no", [PAIRS, SCORED], loss="angle")


def test_a_run_goes_on_with_the_same_losses_alone(model, tmp_path):
    data = [{"path": "b", "loss": "angle"}]
    go(model, tmp_path / "out", [SCORED], data=data)
    config = TrainConfig(batch_size=8, data=[{"path": "elsewhere/b", "loss": "angle"}])
    train_embedder(find(model), [SCORED], tmp_path / "out", config, resume=True, device="cpu", progress=False)
    with pytest.raises(Exception, match="losses"):
        config = TrainConfig(batch_size=8, data=[{"path": "b", "loss": "cosent"}])
        train_embedder(find(model), [SCORED], tmp_path / "out", config, resume=True, device="cpu", progress=False)


def test_counts_of_classes_are_those_of_the_data():
    made = objective_for("arcface", {"counts": "data"}, CLASSES, TrainConfig(), 32)
    torch.testing.assert_close(made.body.margins, adaptive_margins(torch.tensor([19, 5, 1])))
    assert objective_for("arcface", {}, CLASSES, TrainConfig(), 32).body.margins is None


def test_a_guide_is_called_by_its_name(model):
    made = objective_for("gist", {"guide": str(model)}, PAIRS, TrainConfig(), 32, device="cpu")
    wanted = Embedder.from_pretrained(model, device="cpu")
    assert abs(made.body.guide(("a cat", "dogs")) - wanted.encode(["a cat", "dogs"])).max() < 1e-6
    queries = torch.randn(2, 32)
    batch = Batch("pairs", (("a cat", "dogs"), ("the cat", "dogs sat")))
    assert torch.isfinite(made((queries, queries + 0.1), batch))
    with pytest.raises(ModelNotFound):
        objective_for("gist", {"guide": "./not/there"}, PAIRS, TrainConfig(), 32)
    with pytest.raises(InvalidInput, match="objective 'gist' needs guide"):
        objective_for("gist", {}, PAIRS, TrainConfig(), 32)


def test_negatives_are_found_anew_where_a_run_asks_for_it(model, tmp_path):
    settings = {"mine_every": 2, "mine": {"negatives": 1}, "data": [{"path": "a"}, {"path": "b"}]}
    go(model, tmp_path / "out", [PAIRS, SCORED], **settings)
    assert sorted(path.name for path in (tmp_path / "out" / RUN).glob("mined*")) == [
        "mined-0.jsonl", "mined-2.jsonl", "mined-4.jsonl",
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="mine_every finds negatives for pairs, and no data set holds any"):
        go(model, tmp_path / "no", [SCORED], mine_every=2)
    documents = ["a document of its own", "and another one"]
    config = TrainConfig(batch_size=8, max_steps=1, mine_every=2, mine={"relative_margin": None, "last": 5})
    train_embedder(find(model), [PAIRS], tmp_path / "other", config, documents=documents, device="cpu", progress=False)
    found = (tmp_path / "other" / RUN / "mined-0.jsonl").read_text()
    assert all(document in found for document in documents)
    assert found.count("\n") == 24


def test_what_is_to_be_known_of_batches_is_told(model, tmp_path, caplog):
    crowd = Dataset("crowd", "pairs", [Example(("the same", text)) for text in TEXTS])
    with caplog.at_level(logging.WARNING, "sentvec"):
        go(model, tmp_path / "out", [crowd], max_steps=1)
    assert "crowd: one text is in 24 examples, as in 'the same'" in caplog.text
