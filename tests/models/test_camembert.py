"""CamemBERT is RoBERTa's class under another name: positions begin after padding, pairs have two separators."""

from __future__ import annotations

import pytest
import torch
from tests.builders import tiny_xlm_roberta
from tests.models.oracle import assert_embeds_alike, assert_fast_is_near, assert_parity, saved_and_loaded, seeded

from sentvec import Embedder

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle


def camembert(kind: str = "CamembertModel", **changes):
    numbers = {"vocab_size": 60, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    numbers |= {"intermediate_size": 96, "max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    config = transformers.CamembertConfig(**(numbers | changes), attn_implementation="eager")
    return seeded(getattr(transformers, kind)(config))


def with_tokeniser(folder):
    """A Unigram tokeniser with CamemBERT's layout, and weights to fit it."""
    tiny_xlm_roberta(folder)
    camembert().save_pretrained(folder)
    return folder


def test_the_published_widths_equal_transformers(tmp_path):
    changes = {"vocab_size": 999, "hidden_size": 768, "num_hidden_layers": 4, "num_attention_heads": 12}
    assert_parity(camembert(**changes, intermediate_size=3072, max_position_embeddings=514), tmp_path, types=1)


@pytest.mark.parametrize(
    "changes",
    [{"layer_norm_eps": 0.1}, {"hidden_act": "relu"}, {"type_vocab_size": 2}, {"pad_token_id": 3}, {"pad_token_id": 7}],
)
def test_variants_equal_transformers(tmp_path, changes):
    # token 7 stands in the texts themselves: the reference gives it padding's position, and does not count it
    reference = camembert(**changes)
    encoder = saved_and_loaded(reference, tmp_path)
    assert encoder.config.position_offset == changes.get("pad_token_id", 1) + 1
    assert_parity(reference, tmp_path, types=changes.get("type_vocab_size", 1))


def test_heads_are_left_out(tmp_path):
    whole = camembert("CamembertForMaskedLM")
    found = saved_and_loaded(whole, tmp_path).state_dict()["embeddings.token_table.weight"]
    assert torch.equal(found, whole.roberta.embeddings.word_embeddings.weight)


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    assert_embeds_alike(with_tokeniser(tmp_path / "a"), tmp_path / "b")
    ids = Embedder.from_pretrained(str(tmp_path / "a"), device="cpu").tokenizer.encode([("cat", "the")])[0].ids
    assert ids[0] == 0
    assert ids.count(2) == 3  # <s> A </s></s> B </s>


def test_every_precision_is_near(tmp_path):
    assert_fast_is_near(with_tokeniser(tmp_path))
