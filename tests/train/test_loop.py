"""Runs: they learn, resume exactly, survive kills, keep the best, and refuse what cannot be."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.builders import bert_config, bert_weights, tiny_bert
from tests.train.runs import Pairs, go, length_score, same, weights

from sentvec import Embedder, progress
from sentvec.checkpoint.load import load
from sentvec.errors import InvalidInput, NonFiniteOutput, OutputError
from sentvec.train import loop
from sentvec.train.config import TrainConfig
from sentvec.train.loop import METRICS, RUN, STATE, train
from sentvec.train.objectives import Objective
from sentvec.train.state import save_state
from sentvec.train.step import EmbedderLearner

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"))


def lines(out):
    return [json.loads(line) for line in (out / RUN / METRICS).read_text().splitlines()]


class Stops(Exception):
    pass


class Interrupted(Pairs):
    """A source that breaks at some batch, as a machine does."""

    def __init__(self, at):
        super().__init__()
        self.left = at

    def batches(self, epoch, start=0):
        for found in super().batches(epoch, start):
            self.left -= 1
            if self.left < 0:
                raise Stops
            yield found


def test_it_learns_and_the_folder_loads(model, tmp_path):
    done = go(model, tmp_path / "out", epochs=20)
    losses = [line["loss"] for line in lines(tmp_path / "out") if "loss" in line]
    assert done.steps == 120
    assert losses[-1] < 0.6 * losses[0]
    assert Embedder.from_pretrained(tmp_path / "out").encode(["a cat"]).shape == (1, 32)


def test_same_seed_same_numbers(model, tmp_path):
    go(model, tmp_path / "a")
    go(model, tmp_path / "b")
    go(model, tmp_path / "c", seed=1)
    same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert any(not torch.equal(x, weights(tmp_path / "c")[name]) for name, x in weights(tmp_path / "a").items())


@pytest.mark.parametrize("at", [1, 4, 7, 13])
def test_a_resumed_run_ends_as_an_unbroken_one(model, tmp_path, at):
    go(model, tmp_path / "whole", judge=length_score)
    with pytest.raises(Stops):
        go(model, tmp_path / "broken", judge=length_score, source=Interrupted(at))
    done = go(model, tmp_path / "broken", judge=length_score, resume=True)
    same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "broken")
    assert done.steps == 18


def test_killed_at_random_moments_it_ends_with_the_same_weights(model, tmp_path):
    """Kill -9 a real process at random moments, and resume it, until it is through."""
    epochs, out = 12, tmp_path / "killed"
    command = [sys.executable, "-m", "tests.train.runs", str(model), str(out), str(epochs)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    moments = random.Random(1)
    kills = 0
    while kills < 4:
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0.05, 0.6))
            kills += child.poll() is None
            child.send_signal(signal.SIGKILL)
            if child.wait() == 0:
                break
    assert subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL).returncode == 0
    assert kills >= 2, "the run must be longer than the time before a kill"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the process
    try:
        go(model, tmp_path / "whole", epochs=epochs, save_every=1)
    finally:
        torch.set_num_threads(threads)
    same(weights(tmp_path / "whole"), weights(out))


def test_a_folder_with_a_run_is_not_written_over(model, tmp_path):
    go(model, tmp_path / "out", epochs=1)
    with pytest.raises(OutputError, match="holds a run already.*--resume"):
        go(model, tmp_path / "out", epochs=1)
    with pytest.raises(OutputError, match="other settings"):
        go(model, tmp_path / "out", epochs=1, seed=4, resume=True)
    (tmp_path / "out" / RUN / STATE).write_bytes(b"no state")
    with pytest.raises(OutputError, match="damaged"):
        go(model, tmp_path / "out", epochs=1, resume=True)


def test_a_loss_that_is_no_number_ends_the_run(model, tmp_path):
    tensors = bert_weights(bert_config())
    tensors["embeddings.LayerNorm.bias"][0] = float("nan")
    with pytest.raises(
        NonFiniteOutput, match=r"the loss at step 0 \(epoch 0, batch 0, of data set 0\) is nan. Lower the learning rate"
    ):
        go(tiny_bert(tmp_path / "broken", tensors=tensors), tmp_path / "out")


class Steep(torch.nn.Module):
    """A loss that is 0, and whose slope is no number."""

    def forward(self, vectors, batch):
        return (vectors[0] * 0).sum().sqrt()


def test_weights_that_are_no_numbers_stay_out_of_the_state(model, tmp_path):
    config = TrainConfig(save_every=1)
    steep = Objective(Steep(), name="steep", kinds=frozenset({"pairs"}))
    taught = EmbedderLearner(load(model), [steep], config, device="cpu")
    with pytest.raises(NonFiniteOutput, match=r"after step 1 the weights encoder\..* hold NaN or infinity. Lower the"):
        train(taught, Pairs(), tmp_path / "out", config, progress=False)
    assert not (tmp_path / "out" / RUN / STATE).exists()


def test_a_run_that_ended_early_stays_ended(model, tmp_path):
    def judged(resume=False):
        scores = iter([0.5, 0.4, 0.3, 0.2, 0.1])
        return go(model, tmp_path / "out", judge=lambda _: {"s": next(scores)}, patience=1, epochs=5, resume=resume)

    first, again = judged(), judged(resume=True)
    assert (first.steps, again.steps) == (12, 12)
    assert first.scores == again.scores == {"s": 0.5}


def test_a_score_that_is_no_number_is_not_the_best(model, tmp_path):
    scores = iter([float("nan"), 0.1, float("nan")])
    assert go(model, tmp_path / "out", judge=lambda _: {"s": next(scores)}).scores == {"s": 0.1}


def test_the_best_model_is_what_the_folder_gets(model, tmp_path):
    seen = []

    def judge(checkpoint):
        seen.append(checkpoint)
        return {"score": [0.1, 0.9, 0.5][len(seen) - 1]}

    done = go(model, tmp_path / "out", judge=judge)
    assert done.scores == {"score": 0.9}
    same(weights(tmp_path / "out"), dict(seen[1].encoder.state_dict()))
    assert [line["score/score"] for line in lines(tmp_path / "out") if "score/score" in line] == [0.1, 0.9, 0.5]


def test_it_stops_when_nothing_gets_better(model, tmp_path):
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    done = go(model, tmp_path / "out", judge=lambda _: {"s": next(scores)}, patience=2, epochs=5)
    assert done.steps == 18
    assert done.scores == {"s": 0.5}


def test_accumulated_batches_make_one_step(model, tmp_path):
    done = go(model, tmp_path / "out", epochs=2, accumulate=4)
    assert done.steps == 4  # of 4 and of 2 batches, in each epoch


def test_two_runs_do_not_write_to_one_folder(model, tmp_path):
    refused = []

    class Second(Pairs):
        def batches(self, epoch, start=0):
            for found in super().batches(epoch, start):
                if not refused:
                    with pytest.raises(OutputError, match="another run is writing to") as error:
                        go(model, tmp_path / "out", resume=True)
                    refused.append(error)
                yield found

    done = go(model, tmp_path / "out", source=Second())
    go(model, tmp_path / "alone")
    assert refused
    assert not list((tmp_path / "out" / RUN).glob(".*"))
    assert done.loss == [line["loss"] for line in lines(tmp_path / "out") if "loss" in line][-1] > 0
    same(weights(tmp_path / "out"), weights(tmp_path / "alone"))


@pytest.mark.parametrize(("steps", "logged"), [(3, [1, 2, 3]), (12, [2, 4, 6, 8, 10, 12])])
def test_a_short_run_has_a_curve_too(model, tmp_path, steps, logged):
    go(model, tmp_path, epochs=steps, max_steps=steps)
    assert [line["step"] for line in lines(tmp_path) if "loss" in line] == logged


def test_the_last_state_is_written_once(model, tmp_path, monkeypatch):
    written = []

    def counted(path, state, position):
        written.append(position.step)
        save_state(path, state, position)

    monkeypatch.setattr(loop, "save_state", counted)
    done = go(model, tmp_path / "out", epochs=2)
    assert done.steps % 2 == 0
    assert written == list(range(2, done.steps + 1, 2))


def test_progress_tells_loss_rate_and_speed(model, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    caplog.set_level("INFO", logger="sentvec")
    go(model, tmp_path / "out", progress=None, learning_rate=2e-3, warmup=0.0)
    told = [line for line in caplog.messages if line.startswith("Training: ")]
    assert re.match(r"Training: 1 of \d+, loss [\d.]+, rate 2.0e-03, \d+ texts/s, \d+ s left$", told[1])
    logged = [line["loss"] for line in lines(tmp_path / "out") if "loss" in line]
    assert f"loss {logged[-1]:.3g}, " in told[-1]


def test_frozen_layers_stay(model, tmp_path):
    before = weights(model)
    go(model, tmp_path / "out", freeze=1)
    after = weights(tmp_path / "out")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("layers.1.") for name in changed)
    go(model, tmp_path / "thawed", freeze=1, unfreeze_every=6)
    thawed = weights(tmp_path / "thawed")
    assert not torch.equal(before["layers.0.attention.qkv.weight"], thawed["layers.0.attention.qkv.weight"])
    assert not torch.equal(before["embeddings.token_table.weight"], thawed["embeddings.token_table.weight"])
    with pytest.raises(InvalidInput, match="freeze is 2, .* leaves nothing that could learn"):
        go(model, tmp_path / "still", freeze=2)
    with pytest.raises(InvalidInput, match="freeze is 3, but the encoder has 2 layers"):
        go(model, tmp_path / "no", freeze=3)


def test_the_average_is_what_is_saved(model, tmp_path):
    go(model, tmp_path / "plain")
    go(model, tmp_path / "still", ema=1.0)
    go(model, tmp_path / "half", ema=0.5)
    same(weights(model), weights(tmp_path / "still"))  # an average that keeps all of itself
    name = "layers.0.attention.qkv.weight"
    begun, ended, half = (weights(folder)[name] for folder in (model, tmp_path / "plain", tmp_path / "half"))
    assert 0 < (half - ended).norm() < (begun - ended).norm()
    with pytest.raises(Stops):
        go(model, tmp_path / "broken", source=Interrupted(9), ema=0.5)
    go(model, tmp_path / "broken", resume=True, ema=0.5)
    same(weights(tmp_path / "half"), weights(tmp_path / "broken"))


def test_an_adversary_changes_what_is_learnt_and_leaves_the_table(model, tmp_path):
    go(model, tmp_path / "plain", epochs=1)
    go(model, tmp_path / "attacked", epochs=1, adversary=1.0)
    go(model, tmp_path / "nearly", epochs=1, adversary=1e-7)
    name = "layers.0.attention.qkv.weight"
    plain, attacked, nearly = (weights(tmp_path / one)[name] for one in ("plain", "attacked", "nearly"))
    assert not torch.allclose(plain, attacked, atol=1e-6)
    # twice the same gradient, clipped to the same length, is the same step
    torch.testing.assert_close(plain, nearly, atol=1e-4, rtol=1e-3)
