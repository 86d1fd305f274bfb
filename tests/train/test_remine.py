"""Negatives of the moment: found by the model as it is, kept in files, and the same for a run that goes on."""

from __future__ import annotations

import json
import logging

import pytest
from tests.builders import tiny_bert
from tests.train.runs import learner, same, sentences, weights
from tests.train.test_loop import Stops, lines

from sentvec import Embedder
from sentvec.errors import InvalidInput, OutputError
from sentvec.train.batches import Dataset, Example
from sentvec.train.config import TrainConfig
from sentvec.train.loop import RUN, train
from sentvec.train.mine import MineConfig, mine
from sentvec.train.remine import Remined, without_negatives
from sentvec.train.sampling import Sampler

SETTINGS = {"mine_every": 4, "mine": {"negatives": 2, "relative_margin": 0.0}, "batch_size": 4, "epochs": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"))


def data():
    texts = list(dict.fromkeys(sentences(40)))[:24]
    return Dataset("x", "pairs", [Example((text, " ".join(reversed(text.split())) + " x")) for text in texts])


def go(model, out, *, resume=False, breaks=None, at=None, **settings):
    config = TrainConfig(**{"learning_rate": 1e-2, "save_every": 3} | SETTINGS | settings)
    taught = learner(model, config)
    sampler = Sampler([data()], batch_size=config.batch_size, seed=0)
    source = Remined(sampler, config, out / RUN, taught.team, device="cpu")
    seen = []

    class Watched:
        def batches(self, epoch, start=0):
            for found in source.batches(epoch, start):
                if len(seen) == breaks:
                    raise Stops
                seen.append(found[1])
                yield found

        steps = staticmethod(source.steps)

    train(taught, Watched(), out, config, renew=source.renew, resume=resume, progress=False)
    return seen


def files(out):
    return {path.name: path.read_text() for path in (out / RUN).glob("mined-*.jsonl")}


def test_batches_carry_what_the_model_finds(model, tmp_path):
    seen = go(model, tmp_path / "out")
    assert len(seen) == 18
    found = files(tmp_path / "out")
    assert sorted(found) == sorted(f"mined-{step}.jsonl" for step in (0, 4, 8, 12, 16))
    expected = mine(Embedder.from_pretrained(model), data(), None, MineConfig(negatives=2, relative_margin=0.0))
    rows = {row["query"]: row["neg"] for row in map(json.loads, found["mined-0.jsonl"].splitlines())}
    assert rows == {one.texts[0]: list(one.texts[2:]) for one in expected.dataset.examples}
    assert found["mined-0.jsonl"] != found["mined-16.jsonl"]
    for step, batch in enumerate(seen):
        rows = {
            row["query"]: row["neg"] for row in map(json.loads, found[f"mined-{step - step % 4}.jsonl"].splitlines())
        }
        assert batch.kind == "tuples"
        for number, query in enumerate(batch.columns[0]):
            own = [text for text, owner in zip(batch.columns[2], batch.owners.tolist(), strict=True) if owner == number]
            assert own == rows.get(query, [])
    assert sum(len(batch.columns[2]) for batch in seen) > 18


@pytest.mark.parametrize("breaks", [4, 6, 11])
def test_a_run_that_goes_on_has_the_negatives_that_it_had(model, tmp_path, breaks):
    whole = go(model, tmp_path / "whole")
    with pytest.raises(Stops):
        go(model, tmp_path / "broken", breaks=breaks)
    rest = go(model, tmp_path / "broken", resume=True)
    done = breaks - breaks % 3  # states are written every third step
    assert [batch.columns for batch in rest] == [batch.columns for batch in whole[done:]]
    same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "broken")
    assert files(tmp_path / "whole") == files(tmp_path / "broken")


def test_a_run_does_not_go_on_without_its_negatives(model, tmp_path):
    with pytest.raises(Stops):
        go(model, tmp_path / "out", breaks=6)  # the state is that of step 6, the negatives those of step 4
    path = tmp_path / "out" / RUN / "mined-4.jsonl"
    for damage in (lambda: path.write_text('{"query": "half'), path.unlink):
        damage()
        with pytest.raises(OutputError, match="holds the negatives that the run goes on with, and cannot be read"):
            go(model, tmp_path / "out", resume=True)


def test_where_nothing_is_found(model, tmp_path, caplog):
    with pytest.raises(InvalidInput, match="no pair of x has a negative"):
        go(model, tmp_path / "none", mine={"highest": -1.0})
    source = Remined(
        Sampler([data()], batch_size=4, seed=0), TrainConfig(**SETTINGS), tmp_path, learner(model, TrainConfig()).team
    )
    source._config = TrainConfig(**SETTINGS | {"mine": {"highest": -1.0}})
    with caplog.at_level(logging.WARNING, "sentvec"):
        source.renew(4, learner(model, TrainConfig()).copy)
    assert "step 4: no pair of x has a negative" in caplog.text
    _, batch = next(source.batches(0))
    assert batch.columns[2] == ()
    assert len(batch.owners) == 0


def test_tuples_are_taken_as_pairs():
    given = Dataset("x", "tuples", [Example(("a", "b", "c")), Example(("d", "e"))])
    assert [one.texts for one in without_negatives(given).examples] == [("a", "b"), ("d", "e")]
    assert without_negatives(data()).kind == "pairs"
    scored = Dataset("x", "scored", [Example(("a", "b"), 0.5)])
    assert without_negatives(scored) is scored


def test_settings():
    with pytest.raises(InvalidInput, match="mine sets 'negative', which is not known. Known: negatives, first"):
        TrainConfig(mine={"negative": 3})
    with pytest.raises(InvalidInput, match="negatives is 0"):
        TrainConfig(mine={"negatives": 0})
    with pytest.raises(InvalidInput, match="mine_every is 0"):
        TrainConfig(mine_every=0)
