"""GTE gives transformers' numbers, with the published keys and names and with transformers 5's."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from tests.builders import PIECES, write_json
from tests.models.oracle import assert_parity, compare, random_batch, saved_and_loaded, seeded

from sentvec.checkpoint.load import load_encoder
from sentvec.errors import ConfigError
from sentvec.models.registry import architecture

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

# what Snowflake/snowflake-arctic-embed-m-v2.0 has in config.json beyond BERT's keys
PUBLISHED = {
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "pack_qkv": True,
    "position_embedding_type": "rope",
    "rope_scaling": None,
    "rope_theta": 160000,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
}


def gte(kind: str = "GteModel", **changes):
    numbers = {"vocab_size": len(PIECES), "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.GteConfig(**(numbers | {"intermediate_size": 96} | changes), attn_implementation="eager")
    return seeded(getattr(transformers, kind)(config))


def test_published_widths_equal_transformers(tmp_path):
    changes = {"hidden_size": 768, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 3072}
    assert_parity(gte(**changes), tmp_path, lengths=(7, 33, 2, 33, 400), types=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"type_vocab_size": 0},
        {"type_vocab_size": 2},
        {"layer_norm_eps": 0.1},
        {"hidden_act": "silu"},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 20_000.0}},
    ],
    ids=str,
)
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(gte(**changes), tmp_path, types=changes.get("type_vocab_size", 1) or 1)


def test_keys_and_names_as_they_were_published(tmp_path):
    reference = gte(rope_parameters={"rope_type": "default", "rope_theta": 160_000.0})
    reference.save_pretrained(tmp_path)
    assert "encoder.layer.0.attention.qkv_proj.weight" in load_file(tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del config["rope_parameters"]
    write_json(tmp_path / "config.json", config | PUBLISHED)
    encoder = load_encoder(tmp_path, config | PUBLISHED, "gte")[0]
    texts, batch = random_batch(len(PIECES), [7, 33], types=1)
    assert max(compare(reference, encoder, texts, batch).values()) < 5e-5


def test_the_pooler_is_there_where_a_head_needs_it(tmp_path):
    reference = gte("GteForSequenceClassification")
    encoder = saved_and_loaded(reference, tmp_path)
    assert torch.equal(encoder.pooler.dense.weight, reference.gte.pooler.dense.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rope_scaling": {"type": "ntk", "factor": 8.0}}, "rope_scaling .*Supported: rope_type default"),
        ({"logn_attention_scale": True}, "logn_attention_scale True"),
        ({"position_embedding_type": "absolute"}, "position_embedding_type 'absolute' .*Supported: rope"),
        ({"head_dim": 16}, "head_dim 16 .*Supported: 32"),
        ({"type_vocab_size": -1}, "type_vocab_size is -1"),
    ],
)
def test_what_is_not_computed_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        architecture("gte").read(gte().config.to_dict() | change)
