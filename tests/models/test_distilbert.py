"""DistilBERT gives transformers' numbers, under its own names and keys."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.builders import PIECES, write_vocab
from tests.models.oracle import assert_embeds_alike, assert_fast_is_near, assert_parity, saved_and_loaded, seeded

from sentvec.errors import ConfigError, WeightsError
from sentvec.models.registry import architecture

transformers = pytest.importorskip("transformers", reason="the dev extra is not installed: pip install '.[dev]'")
pytestmark = pytest.mark.oracle


def distilbert(kind: str = "DistilBertModel", **changes):
    numbers = {"vocab_size": len(PIECES), "dim": 64, "n_layers": 3, "n_heads": 2, "hidden_dim": 96}
    config = transformers.DistilBertConfig(**(numbers | changes), attn_implementation="eager")
    return seeded(getattr(transformers, kind)(config))


def test_the_published_shape_equals_transformers(tmp_path):
    reference = distilbert(vocab_size=999, dim=768, n_layers=6, n_heads=12, hidden_dim=3072)
    assert_parity(reference, tmp_path)


@pytest.mark.parametrize("changes", [{"activation": "relu"}, {"activation": "gelu_new"}, {"n_heads": 4, "dim": 32}])
def test_variants_equal_transformers(tmp_path, changes):
    assert_parity(distilbert(**changes), tmp_path)


def test_sines_for_positions_are_read_from_the_file(tmp_path):
    assert_parity(distilbert(sinusoidal_pos_embds=True), tmp_path)


@pytest.mark.parametrize("kind", ["MaskedLM", "SequenceClassification", "QuestionAnswering", "TokenClassification"])
def test_heads_are_left_out(tmp_path, kind):
    whole = distilbert(f"DistilBertFor{kind}")
    encoder = saved_and_loaded(whole, tmp_path)
    found = encoder.state_dict()["embeddings.token_table.weight"]
    assert torch.equal(found, whole.distilbert.embeddings.word_embeddings.weight)


def test_vectors_of_texts_and_pairs_equal_the_reference(tmp_path):
    distilbert().save_pretrained(tmp_path / "a")
    write_vocab(tmp_path / "a", tokenizer_class="DistilBertTokenizer")
    assert_embeds_alike(tmp_path / "a", tmp_path / "b")


def test_every_precision_is_near(tmp_path):
    distilbert().save_pretrained(tmp_path)
    write_vocab(tmp_path)
    assert_fast_is_near(tmp_path)


def test_a_missing_weight_is_named_as_the_file_would(tmp_path):
    reference = distilbert()
    reference.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["transformer.layer.1.ffn.lin1.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"Missing \(1\): transformer\.layer\.1\.ffn\.lin1\.bias"):
        from sentvec.checkpoint.load import load_encoder

        load_encoder(tmp_path, reference.config.to_dict(), "distilbert")


@pytest.mark.parametrize(
    ("key", "value"), [("dim", None), ("activation", "swirl"), ("n_layers", 0), ("is_decoder", True)]
)
def test_what_is_not_computed_is_refused_by_its_key(key, value):
    with pytest.raises(ConfigError, match=key):
        architecture("distilbert").read(distilbert().config.to_dict() | {key: value})
