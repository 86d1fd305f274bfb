"""config.json becomes plain numbers, and what would give other numbers than the reference is refused by name."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.builders import bert_config
from tests.headed import KIN, Kin

from sentvec.errors import ConfigError
from sentvec.models.config import BERT_KEYS, read_config, write_config
from sentvec.models.registry import ARCHITECTURES


@dataclass(frozen=True, kw_only=True)
class Own:
    groups: int
    gated: bool = False


KEYS = BERT_KEYS | {"groups": ("num_groups", int), "gated": ("use_gate", bool)}


def test_an_architectures_own_numbers_go_there_and_back():
    numbers = read_config(bert_config(num_groups=3, use_gate=True), KEYS, own=Own)
    assert numbers.own == Own(groups=3, gated=True)
    assert write_config(numbers, KEYS).items() >= {"num_groups": 3, "use_gate": True, "hidden_size": 32}.items()
    assert read_config(bert_config(num_groups=3), KEYS, own=Own).own == Own(groups=3)


def test_own_numbers_are_checked_with_the_others():
    with pytest.raises(
        ConfigError, match="vocab_size is missing; num_groups is missing; use_gate is 1, which should be"
    ):
        read_config(bert_config(vocab_size=None, use_gate=1), KEYS, own=Own)


def test_defaults_count_only_where_the_file_is_silent():
    assert read_config(bert_config(hidden_act=None), defaults={"act": "relu"}).act == "relu"
    assert read_config(bert_config(), defaults={"act": "relu"}).act == "gelu"


@pytest.mark.parametrize(
    ("key", "value"),
    [("position_embedding_type", "relative_key"), ("is_decoder", True), ("add_cross_attention", True)],
)
@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_options_that_change_the_numbers_are_refused(model_type, key, value):
    row = ARCHITECTURES[model_type]
    config = write_config(read_config(bert_config()), {f: k for f, k in row.keys.items() if f in BERT_KEYS})
    config |= KIN.get(model_type, Kin()).config
    row.read(config | {"pad_token_id": 1})
    with pytest.raises(ConfigError, match=f"{key} {value!r} in config.json is not supported"):
        row.read(config | {"pad_token_id": 1, key: value})


def test_an_unknown_activation_is_named_by_its_key():
    with pytest.raises(ConfigError, match="hidden_act is 'swirl', which should be one of gelu, "):
        read_config(bert_config(hidden_act="swirl"))
