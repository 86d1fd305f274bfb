"""MegatronBERT gives transformers' numbers: every hidden state, every attention map, the pooler."""

from __future__ import annotations

import pytest
from tests.builders import PIECES
from tests.models.oracle import assert_parity, seeded

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle


def megatron(kind: str = "MegatronBertModel", **changes):
    numbers = {"vocab_size": len(PIECES), "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.MegatronBertConfig(
        **(numbers | {"intermediate_size": 96} | changes), attn_implementation="eager"
    )
    return seeded(getattr(transformers, kind)(config))


def test_published_widths_equal_transformers(tmp_path):
    changes = {"hidden_size": 1024, "num_hidden_layers": 2, "num_attention_heads": 16, "intermediate_size": 4096}
    assert_parity(megatron(**changes), tmp_path)


@pytest.mark.parametrize(
    "changes", [{"layer_norm_eps": 0.1}, {"hidden_act": "gelu_new"}, {"type_vocab_size": 1}, {"num_attention_heads": 8}]
)
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(megatron(**changes), tmp_path, types=changes.get("type_vocab_size", 2))
