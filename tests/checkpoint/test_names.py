"""Names go to ours and back without loss, and all that is wrong is said at once."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.builders import bert_config, bert_weights
from tests.headed import KIN, Kin

from sentvec.checkpoint.names import expand, has_pooler, to_ours, to_theirs
from sentvec.errors import WeightsError
from sentvec.models.architecture import build_empty
from sentvec.models.config import write_config
from sentvec.models.registry import ARCHITECTURES

CONFIG = bert_config(hidden_size=8, intermediate_size=12, num_attention_heads=2, vocab_size=11)


def shapes_of(config, pooler=True):
    row = ARCHITECTURES["bert"]
    with torch.device("meta"):
        module = row.build(row.read(config), add_pooling_layer=pooler)
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def config_for(row, **changes):
    """A small config.json with the keys of any architecture."""
    numbers = ARCHITECTURES["bert"].read(CONFIG | changes)
    (name,) = (name for name, known in ARCHITECTURES.items() if known is row)
    own = {key: value for key, value in KIN.get(name, Kin()).config.items() if key not in CONFIG}
    return CONFIG | own | write_config(numbers, {ours: key for ours, key in row.keys.items() if hasattr(numbers, ours)})


def read(raw, pooler=True, config=CONFIG):
    row = ARCHITECTURES["bert"]
    return to_ours(raw, row, row.places(row.read(config)), shapes_of(config, pooler), "file")


@pytest.mark.parametrize("model_type", ARCHITECTURES)
@given(layers=st.integers(1, 3), pooler=st.booleans(), seed=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_round_trip(model_type, layers, pooler, seed):
    """Numbers under the checkpoint's names come back under the same names: drawn from the row, for any row."""
    row = ARCHITECTURES[model_type]
    numbers = row.read(config_for(row, num_hidden_layers=layers) | {"pad_token_id": 1})
    places = row.places(numbers)
    pooler = pooler and "pooler.dense.weight" in expand(row.names, ())  # some architectures have none
    module = build_empty(row, numbers, pooler=pooler)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    raw = to_theirs(state, expand(row.names, places))
    assert sum(tensor.numel() for tensor in raw.values()) == sum(shape.numel() for shape in shapes.values())
    ours = to_ours(raw, row, places, shapes, "file")
    assert ours.ignored == ()
    assert ours.tensors.keys() == state.keys()
    assert all(torch.equal(ours.tensors[name], state[name]) for name in state)
    assert has_pooler(raw, row) == pooler


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_no_name_stands_twice_in_a_table(model_type):
    row = ARCHITECTURES[model_type]
    numbers = row.read(config_for(row, num_hidden_layers=3) | {"pad_token_id": 1})
    theirs = [name for names in expand(row.names, row.places(numbers)).values() for name in names]
    assert len(theirs) == len(set(theirs))


def old_endings(name):
    if "LayerNorm" not in name:
        return name
    return name.replace(".weight", ".gamma").replace(".bias", ".beta")


@pytest.mark.parametrize(
    "rename",
    [
        old_endings,
        lambda name: f"bert.{name}",
        lambda name: f"roberta.{name}",
        lambda name: f"module.{name}",
        lambda name: f"module.bert.{old_endings(name)}",
        lambda name: f"_orig_mod.{name}",
    ],
)
def test_what_writers_add_to_names_is_undone(rename):
    raw = bert_weights(CONFIG)
    renamed = {rename(name): tensor for name, tensor in raw.items()}
    assert renamed.keys() != raw.keys()
    assert has_pooler(renamed, ARCHITECTURES["bert"])
    expected, got = read(raw).tensors, read(renamed).tensors
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_heads_and_buffers_are_left_out_and_listed():
    raw = {f"bert.{name}": tensor for name, tensor in bert_weights(CONFIG).items()}
    heads = (
        "cls.predictions.bias",
        "cls.seq_relationship.weight",
        "classifier.weight",
        "qa_outputs.bias",
        "bert.embeddings.position_ids",
        "lm_head.dense.weight",
    )
    ours = read(raw | {name: torch.zeros(3, dtype=torch.int64) for name in heads})
    assert ours.ignored == tuple(sorted(heads))


def test_all_faults_are_reported_together():
    raw = bert_weights(CONFIG)
    del raw["encoder.layer.1.output.dense.bias"]
    raw["encoder.layer.0.attention.self.key.weight"] = torch.zeros(3, 8)
    raw["embeddings.word_embeddings.weight"] = torch.zeros(9, 8)
    raw["encoder.layer.7.output.dense.bias"] = torch.zeros(8)
    raw["adapter.weight"] = torch.zeros(8)
    with pytest.raises(WeightsError) as caught:
        read(raw)
    said = str(caught.value)
    assert "Wrong (2): embeddings.word_embeddings.weight is (9, 8), config.json asks for (11, 8)" in said
    assert "encoder.layer.0.attention.self.key.weight is (3, 8), config.json asks for (8, 8)" in said
    assert "Missing (1): encoder.layer.1.output.dense.bias" in said
    assert "Unexpected (2): adapter.weight, encoder.layer.7.output.dense.bias" in said


def test_a_long_list_is_cut_and_counted():
    with pytest.raises(WeightsError, match=r"Missing \(\d+\): .*, and \d+ more"):
        read({})


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_numbers_that_are_no_fractions_are_refused(dtype):
    raw = bert_weights(CONFIG)
    name = "encoder.layer.0.output.dense.weight"
    raw[name] = raw[name].to(dtype)
    with pytest.raises(WeightsError, match=re.escape(f"{name} holds {str(dtype)[6:]}, not floating-point")):
        read(raw)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats_become_float32(dtype):
    raw = {name: tensor.to(dtype) for name, tensor in bert_weights(CONFIG).items()}
    ours = read(raw).tensors
    assert {tensor.dtype for tensor in ours.values()} == {torch.float32}
    assert torch.equal(ours["embeddings.token_table.weight"], raw["embeddings.word_embeddings.weight"].float())


def test_two_names_for_one_tensor_are_refused():
    raw = bert_weights(CONFIG)
    with pytest.raises(WeightsError, match="are both 'embeddings.LayerNorm.weight'"):
        read(raw | {"embeddings.LayerNorm.gamma": raw["embeddings.LayerNorm.weight"]})


def test_only_a_real_prefix_is_taken_off():
    raw = bert_weights(CONFIG)
    with pytest.raises(WeightsError, match=r"Unexpected \(1\): bert\.extra"):
        read(raw | {"bert.extra": torch.zeros(1)})
