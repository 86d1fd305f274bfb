"""DeBERTa 2 and 3 give transformers' numbers: every hidden state, every attention map, over every distance."""

from __future__ import annotations

import pytest
import torch
from tests.builders import PIECES
from tests.models.oracle import assert_parity, compare, random_batch, saved_and_loaded, seeded

from sentvec.errors import ConfigError
from sentvec.models.deberta_v2 import rows
from sentvec.models.registry import architecture
from sentvec.nn import relative

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle

# what microsoft/deberta-v3-base has in config.json
V3 = {
    "relative_attention": True,
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "norm_rel_ebd": "layer_norm",
    "position_buckets": 256,
    "position_biased_input": False,
    "max_relative_positions": -1,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-7,
    "pooler_hidden_act": "gelu",
}
# of heads of 12 features, three terms are divided by 6, a root that the reference does not have to round to float32
TINY = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}


def deberta(kind: str = "DebertaV2Model", **changes):
    numbers = {"vocab_size": len(PIECES)} | TINY | V3 | {"position_buckets": 16}
    config = transformers.DebertaV2Config(**(numbers | changes), attn_implementation="eager")
    return seeded(getattr(transformers, kind)(config))


def test_published_widths_equal_transformers(tmp_path):
    reference = deberta(hidden_size=768, num_attention_heads=12, intermediate_size=3072, **{"position_buckets": 256})
    texts, batch = random_batch(len(PIECES), [7, 33, 2, 33, 400], types=1)
    assert max(compare(reference, saved_and_loaded(reference, tmp_path), texts, batch).values()) < 5e-5


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pos_att_type": ["c2p", "p2c"]},
        {"norm_rel_ebd": "none"},
        {"position_biased_input": True},
        {"type_vocab_size": 2},
        {"position_buckets": -1},
        {"position_buckets": -1, "max_relative_positions": 9},
        {"max_relative_positions": 64},
        {"layer_norm_eps": 0.1},
        {"hidden_act": "relu"},
    ],
    ids=str,
)
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(deberta(**changes), tmp_path, lengths=(3, 9, 1, 9, 70), types=changes.get("type_vocab_size", 1) or 1)


@pytest.mark.parametrize("terms", ["c2p", "p2c"])
def test_one_kind_of_distances_alone_equals_transformers(tmp_path, terms):
    # heads of 8 features, so that two terms are divided by 4
    assert_parity(deberta(pos_att_type=terms, hidden_size=32), tmp_path, lengths=(3, 9, 1, 40), types=1)


def test_blocks_of_queries_give_what_one_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(relative, "BLOCK", 7)
    assert_parity(deberta(), tmp_path, lengths=(3, 7, 8, 40, 40, 14), types=1)


@pytest.mark.parametrize(("buckets", "positions"), [(256, 512), (32, 512), (16, 100), (256, 24_000)])
def test_every_distance_has_the_reference_s_row(buckets, positions):
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    distances = torch.arange(-positions, positions + 1)
    expected = (make_log_bucket_position(distances, buckets, positions).long() + buckets).clamp(0, 2 * buckets - 1)
    assert torch.equal(rows(distances, buckets, positions), expected)


def test_a_table_of_positions_that_is_not_added_may_be_there(tmp_path):
    reference = deberta(position_biased_input=True)
    reference.config.position_biased_input = False
    encoder = saved_and_loaded(reference, tmp_path)
    assert encoder.embeddings.position_table is None
    reference.config.position_biased_input = True
    assert saved_and_loaded(reference, tmp_path).embeddings.position_table.weight.shape == (512, 48)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"relative_attention": False}, "relative_attention False .* Supported: True"),
        ({"share_att_key": None}, "share_att_key"),
        ({"conv_kernel_size": 3}, "conv_kernel_size 3"),
        ({"norm_rel_ebd": "other"}, "norm_rel_ebd 'other'"),
        ({"pos_att_type": "p2p"}, "pos_att_type 'p2p' .* Known: c2p, p2c"),
        ({"position_buckets": 1.5}, "position_buckets is 1.5"),
        ({"position_buckets": 1}, "position_buckets is 1, half of which"),
        ({"position_buckets": 1022}, "below the 512 distances"),
        ({"attention_head_size": 16}, "attention_head_size 16 .* Supported: 12"),
        ({"embedding_size": 16}, "embedding_size 16 .* Supported: 48"),
    ],
)
def test_what_is_not_computed_is_refused(change, said):
    with pytest.raises(ConfigError, match=said):
        architecture("deberta-v2").read(deberta().config.to_dict() | change)
