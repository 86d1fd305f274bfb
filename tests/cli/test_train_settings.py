"""`sentvec train` with what a file of settings can say: data sets with their losses, adapters, teachers, negatives."""

from __future__ import annotations

import pytest
from tests.builders import tiny_bert
from tests.cli.running import inside
from tests.cli.test_train import pairs, written

from sentvec import Embedder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("model"))


@pytest.fixture
def sentvec(monkeypatch, capsys, tmp_path, model):
    monkeypatch.chdir(tmp_path)
    run = inside(monkeypatch, capsys)
    return lambda *arguments: run("train", "-m", model, "--device", "cpu", *arguments)


SETTINGS = """
max_steps = 4
batch_size = 8
lora_rank = 2
mine_every = 2
mine = { negatives = 1, relative_margin = 0.0 }

[[data]]
path = "pairs.jsonl"

[[data]]
path = "scored.csv"
loss = "angle"
loss_options = { temperature = 0.1 }
columns = { sentence1 = "left", sentence2 = "right", score = "how" }
"""


def test_a_file_says_all_of_a_run_and_the_run_writes_it_again(sentvec, tmp_path):
    written("pairs.jsonl", pairs())
    written("scored.csv", ["left,right,how", *(f"a{i},b{i},{i / 24}" for i in range(24))])
    written("corpus.txt", ["a document of its own", "and one more"])
    written("run.toml", [SETTINGS])
    ended = sentvec("--config", "run.toml", "--out", "out", "--documents", "corpus.txt")
    assert ended.code == 0, ended.err
    assert "pairs: 24 pairs" in ended.err and 'first "a0" | second "b0"' in ended.err and "4 steps in" in ended.err
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| 24 | infonce |" in card and "| 24 | angle |" in card
    assert "| unique | true |" in card and "| () |" not in card and "| data |" not in card.partition("## Settings")[2]
    assert "a document of its own" in (tmp_path / "out" / "run" / "mined-2.jsonl").read_text()
    whole, adapter = (
        Embedder.from_pretrained(tmp_path / "out" / place).encode(["a cat"]) for place in (".", "adapter")
    )
    assert abs(whole - adapter).max() < 1e-5
    again = sentvec("--config", "out/run/config.toml", "--out", "again", "--documents", "corpus.txt")
    assert again.code == 0, again.err
    assert abs(Embedder.from_pretrained(tmp_path / "again").encode(["a cat"]) - whole).max() == 0


def test_a_teacher_and_a_pupil_with_one_layer(sentvec, tmp_path, model):
    written("texts.txt", [row["query"] for row in pairs()])
    given = ("--data", "texts.txt", "--set", f"teacher={model}", "--set", "pupil_layers=[2]", "--max-steps", 2)
    ended = sentvec(*given, "--set", "taught=layers", "--out", "out")
    assert ended.code == 0, ended.err
    assert Embedder.from_pretrained(tmp_path / "out").encoder.config.layers == 1
    assert "layers of" in (tmp_path / "out" / "README.md").read_text()


def test_ctrl_c_in_the_middle_of_a_step_says_whether_there_is_a_state(sentvec, monkeypatch):
    def pressed(*_):
        raise KeyboardInterrupt

    given = ("--data", written("pairs.jsonl", pairs()), "--max-steps", 1, "--resume", "--out")
    assert sentvec(*given, "out").code == 0
    monkeypatch.setattr("sentvec.cli.train._datasets", pressed)
    ended = sentvec(*given, "out")
    assert (ended.code, ended.err) == (130, "stopped. The last state was kept: go on from it with --resume\n")
    ended = sentvec(*given, "new")
    assert (ended.code, ended.err) == (130, "stopped\n")


def test_what_does_not_go_together(sentvec):
    data = written("pairs.jsonl", pairs())
    ended = sentvec("--out", "out")
    assert ended.code == 1 and "give --data, or a --config that lists [[data]]" in ended.err
    written("run.toml", ["seed = 1"])
    for more in ((), ("--config", "run.toml")):
        ended = sentvec("--data", data, "--out", "out", "--set", "batchsize=4", *more)
        assert ended.code == 1 and "--set names 'batchsize', which is not known. Known: accumulate" in ended.err
        assert ended.err.endswith("Is it batch_size?\n")
    ended = sentvec("--data", data, "--out", "out", "--set", "loss_options={temperature: 0.02}")
    assert ended.code == 1 and "--set loss_options is '{temperature: 0.02}', which is no JSON" in ended.err
    ended = sentvec("--data", data, "--documents", data, "--out", "out")
    assert ended.code == 1 and "--documents is where mine_every looks" in ended.err
    ended = sentvec("--data", data, "--task", "rerank", "--set", "mine_every=3", "--out", "out")
    assert ended.code == 1 and "mine_every is 3, and is an embedder's" in ended.err
