"""Settings: what is not possible is refused by name, and what is written can be read."""

from __future__ import annotations

import pytest

from sentvec.errors import ConfigError, InvalidInput
from sentvec.train.config import TrainConfig, read_config


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 0), ("batch_size", True), ("batch_size", 2.5), ("accumulate", -1), ("max_steps", 0), ("freeze", -1),
        ("schedule", "exponential"), ("precision", "int8"), ("warmup", 1.5), ("layer_decay", "a"),
        ("learning_rate", float("nan")), ("weight_decay", -0.1), ("micro_tokens", 0), ("patience", 0),
    ],
)  # fmt: skip
def test_what_is_not_possible_is_named(setting, value):
    with pytest.raises(InvalidInput, match=setting):
        TrainConfig(**{setting: value})


def test_written_and_read_again(tmp_path):
    config = TrainConfig(
        loss="infonce", loss_options={"temperature": 0.02, "both": True}, prompts={"query": 'say "这": '}, max_steps=7
    )
    (tmp_path / "run.toml").write_text(config.to_toml(), encoding="utf-8")
    assert read_config(tmp_path / "run.toml") == config
    assert read_config(tmp_path / "run.toml", seed=3).seed == 3


def test_files_that_cannot_be_used(tmp_path):
    (tmp_path / "bad.toml").write_text("epochs = ", encoding="utf-8")
    (tmp_path / "unknown.toml").write_text("epoch = 3", encoding="utf-8")
    for name, message in (
        ("bad", "cannot be read as TOML"),
        ("unknown", "'epoch', which is not known.* Is it epochs"),
        ("no", "No such"),
        ("absent", r"cannot be read as TOML \(No such file or directory\)\. Give settings as run/config.toml"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_config(tmp_path / f"{name}.toml")


def test_each_data_set_may_have_a_loss_of_its_own(tmp_path):
    (tmp_path / "run.toml").write_text(
        """
loss = "cosent"

[[data]]
path = "a.jsonl"

[[data]]
path = "b.tsv"
loss = "infonce"
loss_options = { temperature = 0.02 }
kind = "pairs"
columns = { query = "question", positive = 2 }
""",
        encoding="utf-8",
    )
    config = read_config(tmp_path / "run.toml", loss_options={"scale": 10.0})
    assert [one.path for one in config.data] == ["a.jsonl", "b.tsv"]
    assert config.losses(2) == [("cosent", {"scale": 10.0}), ("infonce", {"temperature": 0.02})]
    assert config.data[1].columns == {"query": "question", "positive": 2}
    (tmp_path / "again.toml").write_text(config.to_toml(), encoding="utf-8")
    assert read_config(tmp_path / "again.toml") == config
    assert TrainConfig(loss="angle").losses(3) == [("angle", {})] * 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([{"loss": "infonce"}], "give tables with path, loss"),
        ([{"path": "a", "los": "infonce"}], "data sets 'los', which is not known. Known: path, loss"),
        ([{"path": 3}], "path is 3; it must be a text"),
        ([{"path": "a", "loss_options": {"scale": 3}}], "data a has loss_options and no loss"),
        ("a.jsonl", "data is 'a.jsonl'; it must be a list"),
        ({"path": "a.jsonl"}, r"data is one table; .*write \[\[data\]\], not \[data\]"),
    ],
)
def test_data_that_is_not_possible_is_named(data, message):
    with pytest.raises(InvalidInput, match=message):
        TrainConfig(data=data)
